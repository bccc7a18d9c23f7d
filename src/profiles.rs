//! The profiles of a `FILE`: the one that it is, or those of a bundle, one after the other.

use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use profilez::analysis::{self, Error, Filter, Format, Read as Profile, read_part, sniff};

use crate::archives;
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
        let bytes = archives::unpack_entry(bytes, &name);
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
    matches!(
        sniff(bytes),
        Format::Pprof
            | Format::HeapV2
            | Format::LegacyText
            | Format::Folded
            | Format::Speedscope
            | Format::PerfScript
    )
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

/// Chooses the profiles that several `FILE` arguments mean, and returns a name and the bytes of
/// their sum: of a single one those that it has.
pub(crate) fn choose_sum(
    specs: &[String],
    select: &SelectArgs,
) -> Result<(String, Vec<u8>), CommandFailure> {
    if specs.iter().filter(|spec| input::is_stdin(spec)).count() > 1 {
        return Err(CommandFailure::Usage("standard input can be read only once".to_owned()));
    }
    let mut chosen = Vec::new();
    for spec in specs {
        let (name, bytes) = choose(spec, select)?;
        if Path::new(spec).is_dir() {
            let alike = |other: &str| stem(other) == stem(&name) && *other != *name;
            let _ = each(spec, |other, bytes| {
                if alike(other) && is_profile(&bytes) {
                    chosen.push((format!("{spec}/{other}"), bytes));
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        chosen.push((if specs.len() > 1 { spec.clone() } else { name }, bytes));
    }
    if chosen.len() == 1 {
        return Ok(chosen.remove(0));
    }
    let open = |(name, bytes): &(String, Vec<u8>)| {
        let opened = analysis::open(bytes);
        opened.map(|opened| opened.profile).map_err(|error| format!("{name}: {}", chain(&error)))
    };
    let parts = chosen.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<_> = parts.iter().map(|profile| (profile, 1)).collect();
    let sum = profilez::core::profile::Profile::merge(&parts)
        .map_err(|error| format!("the files can't be added up: {}", chain(&error)))?;
    note(&format!("{} profiles added up", parts.len()));
    Ok((format!("{} profiles", parts.len()), sum.encode()))
}

/// Returns the name of a file without its folders and digits, which tell those apart that are of
/// one kind.
fn stem(name: &str) -> String {
    let base = name.rsplit('/').next().unwrap_or(name);
    base.chars().filter(|c| !c.is_ascii_digit()).collect()
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
