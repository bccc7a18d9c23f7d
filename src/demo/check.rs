//! The demo's own truth beside what its profiles say.

use std::fmt::Write as _;

use profilez::analysis::top::{By, TopOptions, top};
use profilez::analysis::units::percent;
use profilez::archive::Bundle;
use serde::Serialize;

use super::workload::KnownShare;
use crate::output::CommandFailure;

/// A known share beside the measured one.
#[derive(Serialize)]
pub(super) struct ShareCheck {
    entry: &'static str,
    sample_type: &'static str,
    function: &'static str,
    /// The function whose calls are the whole; `None` where the total is.
    of: Option<&'static str>,
    known_percent: f64,
    /// `None` where the profile doesn't show the function.
    measured_percent: Option<f64>,
}

/// Compares the profiles of a bundle with the known shares.
pub(super) fn compare(
    bundle: &Bundle,
    known: &[KnownShare],
) -> Result<Vec<ShareCheck>, CommandFailure> {
    known
        .iter()
        .map(|known| {
            Ok(ShareCheck {
                entry: known.entry,
                sample_type: known.sample_type,
                function: known.function,
                of: known.of,
                known_percent: known.percent,
                measured_percent: measure(bundle, known)?,
            })
        })
        .collect()
}

fn measure(bundle: &Bundle, known: &KnownShare) -> Result<Option<f64>, CommandFailure> {
    let Some(entry) = bundle.entry(known.entry) else { return Ok(None) };
    let read = profilez::analysis::read(&entry.data)?;
    let sample_type = Some(known.sample_type.to_owned());
    let options = TopOptions { sample_type, by: By::Caller, ..TopOptions::default() };
    let top = top(&read.stacks, &options)?;
    let row = |function: &str| {
        let suffix = format!("::{function}");
        top.rows.iter().find(|row| row.name.ends_with(&suffix))
    };
    let whole = match known.of {
        Some(function) => row(function).map_or(0, |row| row.cum),
        None => top.total,
    };
    Ok(row(known.function).map(|row| percent(row.flat, whole)))
}

pub(super) fn render_checks(checks: &[ShareCheck]) -> String {
    let mut text = String::from("What the demo really does, and what its profiles say:\n");
    for check in checks {
        let of = check.of.map(|function| format!(" of {function}")).unwrap_or_default();
        let measured = check
            .measured_percent
            .map_or("not seen".to_owned(), |percent| format!("{percent:5.1}%"));
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "  {:<12} {:<12} {:<14} known {:5.1}%{of}  measured {measured}",
            check.entry, check.sample_type, check.function, check.known_percent
        );
    }
    text
}
