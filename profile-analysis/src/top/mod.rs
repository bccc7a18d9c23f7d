//! Where the most is: functions, files, callers or whole stacks, by what falls on them.

mod rank;
mod render;
#[cfg(test)]
mod tests;

use profile_format::profile::{Profile, Stacks, ValueType};
use serde::Serialize;

use crate::folding::Folding;
use crate::frames::FrameTable;
use crate::{Error, Result};

pub use render::render;

pub(crate) use rank::{RankQuery, RankedRow, rank, saturate};

/// The kinds of things that a row of a ranking can stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum By {
    /// A function, told by its name and its file. Flat is what falls on its own code, cum on that
    /// and all it called.
    #[default]
    Function,
    /// A whole stack with all its inlined frames; flat and cum are the same.
    Site,
    /// A line of a function.
    Line,
    /// A source file, or an object file in brackets where there is no other name.
    File,
    /// A function, with the frames of the standard library, of allocators, of locks and of runtimes
    /// charged to who called them (see [`FrameOwner`](profile_format::owner::FrameOwner)): the way to
    /// look at allocations.
    Caller,
}

/// Options of a ranking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopOptions {
    /// The sample type, as `kind` or `kind/unit`; where `None` the profile's default, else its
    /// last one.
    pub sample_type: Option<String>,
    /// The kind of thing that a row stands for.
    pub by: By,
    /// Ranks by cum instead of flat where true.
    pub cum: bool,
    /// Charges the frames of all libraries to the program's function that called them where true.
    pub only_mine: bool,
    /// The most rows; `None` for all.
    pub limit: Option<usize>,
}

/// A ranking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Top {
    /// The quantity that is counted, such as `inuse_space`.
    #[serde(rename = "type")]
    pub sample_type: String,
    /// Unit of the values, such as `bytes`.
    pub unit: String,
    /// The sum over all samples, at the ends of `i64` where it is past them.
    pub total: i64,
    /// The sum over all stacks without their signs: what shares are of. The same as `total` where
    /// nothing is below zero.
    pub absolute: i64,
    /// The rows, the largest first; equal ones by name, file and line. Rows of nothing are left
    /// out.
    pub rows: Vec<TopRow>,
}

/// One row of a ranking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopRow {
    /// The function; the file for [`By::File`]. A place without a name is written as
    /// `[object+0xoffset]`, or as its address, and samples without a stack fall on `[no stack]`.
    pub name: String,
    /// The source file, empty where unknown.
    pub file: String,
    /// For [`By::Site`] the leaf's line. For a function its line on which most of cum falls. 0
    /// where unknown.
    pub line: i64,
    /// The amount that falls on the row itself.
    pub flat: i64,
    /// The amount that falls on the row and on what it called; a stack that holds a function more
    /// than once counts once.
    pub cum: i64,
    /// For [`By::Site`] the frames as `function file:line`, the leaf first; else empty. Of a stack
    /// of more than a thousand the two ends, with a line between them that says how many are left
    /// out.
    pub stack: Vec<String>,
}

/// Ranks what falls on a profile's functions, lines, files, callers or stacks.
///
/// The same profile always gives the same rows in the same order. Takes one pass over the stacks,
/// and memory for one number a row and place, not for the stacks.
///
/// # Errors
///
/// Where the profile has no such sample type.
pub fn top(stacks: &Stacks<'_>, options: &TopOptions) -> Result<Top> {
    let profile = stacks.profile();
    let index = sample_type(profile, options.sample_type.as_deref())?;
    let TopOptions { by, cum, only_mine, limit, .. } = *options;
    let mut query =
        RankQuery { cum, limit: limit.unwrap_or(usize::MAX), ..RankQuery::new(index, by) };
    if only_mine {
        query.folding = Folding::Libraries;
    }
    let ranking = rank(stacks, &FrameTable::new(profile), &query);
    let ValueType { kind, unit } = profile.sample_types[index];
    Ok(Top {
        sample_type: profile.str(kind).to_owned(),
        unit: profile.str(unit).to_owned(),
        total: ranking.total,
        absolute: ranking.absolute,
        rows: ranking.rows.into_iter().map(|ranked| ranked.row).collect(),
    })
}

/// Returns the index of a sample type named as `kind` or `kind/unit`; without a name the profile's
/// default one, else its last.
///
/// # Errors
///
/// Where there is none of that name.
pub fn sample_type(profile: &Profile, wanted: Option<&str>) -> Result<usize> {
    let named = |wanted: &str| {
        profile.sample_types.iter().position(|&value_type| {
            profile.str(value_type.kind) == wanted || profile.type_name(value_type) == wanted
        })
    };
    let found = match wanted {
        Some(wanted) => named(wanted),
        None => match profile.str(profile.default_sample_type) {
            "" => None,
            default => named(default),
        }
        .or_else(|| profile.sample_types.len().checked_sub(1)),
    };
    found.ok_or_else(|| Error::NoSampleType {
        wanted: wanted.unwrap_or_default().to_owned(),
        known: profile.sample_types.iter().map(|&kind| profile.type_name(kind)).collect(),
    })
}
