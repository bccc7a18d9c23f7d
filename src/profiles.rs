//! The profiles of a `FILE`: the one that it is, or those of a bundle, one after the other.

use std::io::Read as _;
use std::ops::ControlFlow;

use profilez::analysis::{self, Error, Filter, Format, Read as Profile, read_part, sniff};

use crate::args::SelectArgs;
use crate::dumps;
use crate::input::{self, FileStream};
use crate::output::{CommandFailure, chain, note, printable};

/// The outcome of a walk over the entries of a bundle.
pub(crate) struct BundleWalk {
    /// True if something of the bundle is lost.
    pub(crate) truncated: bool,
}

/// Calls `visit` with name and bytes of each entry of a bundle, as it is read, or once for what is
/// no bundle. Only one entry is in memory at a time.
pub(crate) fn each(
    spec: &str,
    mut visit: impl FnMut(&str, Vec<u8>) -> Result<ControlFlow<()>, CommandFailure>,
) -> Result<BundleWalk, CommandFailure> {
    let mut reader = match input::stream(spec)? {
        FileStream::Bundle(reader) => reader,
        FileStream::Bytes(bytes) => {
            let _ = visit(spec, bytes)?;
            return Ok(BundleWalk { truncated: false });
        }
    };
    while let Some(mut entry) = reader.next_entry() {
        let name = entry.name().to_string();
        let mut bytes = Vec::new();
        if entry.read_to_end(&mut bytes).is_err() {
            let what = format!("only {} bytes of {name} are in {spec}", bytes.len());
            note(&format!("warning: {}", printable(&what)));
            continue;
        }
        if visit(&name, bytes)?.is_break() {
            break;
        }
    }
    // What is not looked at is read, too: whether the bundle is whole is known at its end.
    let contents = reader.finish();
    input::warn(&contents.warnings);
    Ok(BundleWalk { truncated: contents.truncated })
}

/// Returns whether bytes may be a profile; what is unknown may be a broken one.
pub(crate) fn is_profile(bytes: &[u8]) -> bool {
    matches!(sniff(bytes), Format::Pprof | Format::HeapV2 | Format::LegacyText)
}

/// Reads a profile and keeps the part that is meant. Warnings go to standard error.
pub(crate) fn read<'a>(
    name: &str,
    bytes: &'a [u8],
    select: &SelectArgs,
) -> Result<Profile<'a>, CommandFailure> {
    let filter = Filter {
        focus: select.focus.as_deref(),
        ignore: select.ignore.as_deref(),
        hide: select.hide.as_deref(),
        tag_focus: select.tagfocus.as_deref(),
        tag_ignore: select.tagignore.as_deref(),
    };
    let profile = read_part(bytes, &filter).map_err(|error| match error {
        Error::Pattern { .. } => CommandFailure::Usage(chain(&error)),
        error => format!("{name}: {}{}", chain(&error), dumps::hint(bytes)).into(),
    })?;
    if profile.stacks.is_empty() && filter != Filter::default() {
        note(&format!("{}: no stack matches", printable(name)));
    }
    for warning in &profile.warnings {
        note(&format!("warning: {}: {}", printable(name), printable(warning)));
    }
    Ok(profile)
}

/// Chooses the profile that is meant, and returns its name and bytes: the file itself, or the first
/// entry of a bundle that has the sample type.
pub(crate) fn choose(spec: &str, select: &SelectArgs) -> Result<(String, Vec<u8>), CommandFailure> {
    let mut chosen = None;
    let mut seen = Vec::new();
    let mut is_bundle = false;
    let BundleWalk { truncated } = each(spec, |name, bytes| {
        is_bundle = name != spec;
        if is_bundle && !is_profile(&bytes) {
            return Ok(ControlFlow::Continue(()));
        }
        if is_bundle && let Some(wanted) = &select.sample_type {
            // Whether it is broken is said when it is wanted.
            let has = analysis::read(&bytes).is_ok_and(|profile| {
                analysis::top::sample_type(profile.stacks.profile(), Some(wanted)).is_ok()
            });
            seen.push(name.to_owned());
            if !has {
                return Ok(ControlFlow::Continue(()));
            }
        }
        chosen = Some((name.to_owned(), bytes));
        Ok(ControlFlow::Break(()))
    })?;
    match (chosen, &select.sample_type) {
        (Some((name, bytes)), _) => {
            if is_bundle {
                note(&format!("{} of {}", printable(&name), printable(spec)));
            }
            Ok((name, bytes))
        }
        (None, Some(wanted)) if !seen.is_empty() => {
            Err(format!("{spec}: no sample type {wanted:?} in {}", seen.join(", ")).into())
        }
        (None, _) if truncated => {
            Err(format!("{spec} holds no whole profile: the bundle is not whole").into())
        }
        (None, _) => Err(format!("{spec} holds no profile").into()),
    }
}
