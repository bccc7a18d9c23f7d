//! Keeping the part of a profile that is asked for.

use profile_format::profile::{Line, Location, Mapping, Profile, Samples};
use regex::Regex;

use crate::frames::FrameTable;
use crate::open::MOST_TEXT;
use crate::pattern::compile;
use crate::prune::{FrameDrops, drop_frames};
use crate::tags::TagMatch;
use crate::{Opened, Read, Result, open, read};

/// A choice of a part of a profile; its fields mean what the options of these names of `go tool
/// pprof` mean.
///
/// Expressions for frames are searched for in the names of functions, source files and object
/// files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter<'a> {
    /// Keeps only stacks with a frame that this regular expression matches.
    pub focus: Option<&'a str>,
    /// Drops stacks with a frame that this regular expression matches.
    pub ignore: Option<&'a str>,
    /// Drops frames that this regular expression matches.
    pub hide: Option<&'a str>,
    /// Keeps only samples with such a label: `KEY=REGEX`, a `REGEX` for `name:value`, or a range of
    /// numbers such as `bytes=4kb:64kb`.
    pub tag_focus: Option<&'a str>,
    /// Drops samples with such a label, written as `tag_focus` is.
    pub tag_ignore: Option<&'a str>,
}

/// Reads a profile as [`read`] does, and keeps the part that the filter chooses; totals are of that
/// part. Frames that the profile itself wants dropped (`drop_frames`) are dropped, as `go tool
/// pprof` does.
///
/// With a filter on labels, or frames to drop, the samples are read one by one, which takes more
/// memory.
///
/// # Errors
///
/// Where the bytes are no profile, or a text of the filter is no regular expression or too large a
/// one.
pub fn read_part<'a>(bytes: &'a [u8], filter: &Filter<'_>) -> Result<Read<'a>> {
    let mut read = read(bytes)?;
    let profile = read.stacks.profile();
    let drops = !profile.str(profile.drop_frames).is_empty();
    let Filter { focus, ignore, hide, tag_focus, tag_ignore } = *filter;
    if drops || hide.is_some() || tag_focus.is_some() || tag_ignore.is_some() {
        // Stacks have no labels, and are not changed.
        drop(read);
        return read_part_by_sample(bytes, filter);
    }
    for (pattern, keep) in [(focus, true), (ignore, false)] {
        let Some(pattern) = pattern else { continue };
        let stacks = &mut read.stacks;
        let found = match_locations(stacks.profile(), &compile(pattern)?);
        let hits: Vec<bool> = (0..stacks.len())
            .map(|stack| stacks.locations(stack).any(|location| found[location as usize]))
            .collect();
        stacks.retain(|stack| hits[stack] == keep);
    }
    Ok(read)
}

/// Reads a profile sample by sample, and keeps the part that the filter chooses.
fn read_part_by_sample(bytes: &[u8], filter: &Filter<'_>) -> Result<Read<'static>> {
    let Opened { format, mut profile, mut warnings } = open(bytes)?;
    let drops = FrameDrops::of(&profile);
    profile.shorten_texts(MOST_TEXT);
    if let Some(Err(error)) = drops.map(|drops| drop_frames(&mut profile, &drops)) {
        warnings.push(format!("frames are not dropped: {}", error.chain()));
    }
    filter.apply(&mut profile)?;
    Ok(Read { format, stacks: profile.into(), warnings })
}

impl Filter<'_> {
    /// Cuts a profile down to the part that the filter chooses. Locations and functions that only
    /// dropped samples refer to stay, as with [`Profile::retain`].
    ///
    /// ```
    /// use profile_analysis::Filter;
    /// use profile_format::profile::Builder;
    ///
    /// let mut builder = Builder::new(&[("requests", "count")]);
    /// for (tenant, count) in [("acme", 7), ("other", 5)] {
    ///     let label = builder.text_label("tenant", tenant);
    ///     builder.sample(&[], &[count], &[label]);
    /// }
    /// let mut profile = builder.finish();
    /// let filter = Filter { tag_focus: Some("tenant=acme"), ..Filter::default() };
    /// filter.apply(&mut profile)?;
    /// assert_eq!((profile.samples.len(), profile.samples.get(0).values), (1, &[7][..]));
    /// # Ok::<(), profile_analysis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Where a text is no regular expression or too large a one; then nothing is changed.
    pub fn apply(&self, profile: &mut Profile) -> Result<()> {
        let locations_of = |pattern: &str| Ok(match_locations(profile, &compile(pattern)?));
        let focus = self.focus.map(locations_of).transpose()?;
        let ignore = self.ignore.map(locations_of).transpose()?;
        let tag_focus = self.tag_focus.map(TagMatch::parse).transpose()?;
        let tag_ignore = self.tag_ignore.map(TagMatch::parse).transpose()?;
        let hidden = match self.hide.map(compile).transpose()? {
            Some(regex) => hide_lines(profile, &regex),
            None => vec![false; profile.locations.len()],
        };
        let mut samples = Samples::new(profile.sample_types.len());
        let mut stack = Vec::new();
        for sample in profile.samples.iter() {
            let goes_through =
                |places: &[bool]| sample.stack.iter().any(|&location| places[location as usize]);
            let keep = focus.as_deref().is_none_or(goes_through)
                && !ignore.as_deref().is_some_and(goes_through)
                && tag_focus.as_ref().is_none_or(|tag| tag.matches(profile, &sample))
                && !tag_ignore.as_ref().is_some_and(|tag| tag.matches(profile, &sample));
            stack.clear();
            stack.extend(sample.stack.iter().filter(|&&location| !hidden[location as usize]));
            if keep && (!stack.is_empty() || sample.stack.is_empty()) {
                samples.push(&stack, sample.values, sample.labels);
            }
        }
        profile.samples = samples;
        Ok(())
    }
}

/// Removes the lines that the expression matches from their locations. Returns for each location
/// whether nothing is left of it.
fn hide_lines(profile: &mut Profile, regex: &Regex) -> Vec<bool> {
    let found = |text| regex.is_match(profile.str(text));
    let of_function: Vec<bool> = profile
        .functions
        .iter()
        .map(|function| found(function.name) || found(function.filename))
        .collect();
    let objects = match_objects(profile, regex);
    let mut hidden = Vec::with_capacity(profile.locations.len());
    let mut lines = Vec::with_capacity(profile.lines.len());
    for location in &mut profile.locations {
        let before = location.lines.start as usize..location.lines.end as usize;
        let start = lines.len() as u32;
        if !is_in_object(location, &objects) {
            let stays = |line: &&Line| !of_function[line.function as usize];
            lines.extend(profile.lines[before.clone()].iter().filter(stays));
        }
        location.lines = start..lines.len() as u32;
        hidden.push(
            location.lines.is_empty() && (!before.is_empty() || is_in_object(location, &objects)),
        );
    }
    profile.lines = lines;
    hidden
}

/// Returns for each mapping whether the expression matches the name of its file.
fn match_objects(profile: &Profile, regex: &Regex) -> Vec<bool> {
    let file = |mapping: &Mapping| regex.is_match(profile.str(mapping.filename));
    profile.mappings.iter().map(file).collect()
}

fn is_in_object(location: &Location, objects: &[bool]) -> bool {
    location.mapping.is_some_and(|mapping| objects[mapping as usize])
}

/// Returns for each location whether the expression matches a function, source file or object file
/// of it.
fn match_locations(profile: &Profile, regex: &Regex) -> Vec<bool> {
    let frames = FrameTable::new(profile);
    let functions: Vec<bool> = frames
        .functions
        .iter()
        .map(|named| regex.is_match(&named.name) || regex.is_match(named.file))
        .collect();
    let objects = match_objects(profile, regex);
    (0..profile.locations.len() as u32)
        .map(|location| {
            let mut of_location = frames.location_frames(location);
            of_location.any(|frame| functions[frames.frames[frame].function as usize])
                || is_in_object(&profile.locations[location as usize], &objects)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// The bytes that are left of 5120.
    #[track_caller]
    fn check(filter: &Filter<'_>, expected: i128) {
        let bytes = testing::heap().encode();
        assert_eq!(read_part(&bytes, filter).unwrap().stacks.total(1), expected, "{filter:?}");
        // The other way leads to the same.
        let also = Filter { hide: filter.hide.or(Some("^$^")), ..*filter };
        assert_eq!(read_part(&bytes, &also).unwrap().stacks.total(1), expected, "{also:?}");
    }

    #[test]
    fn keeps_what_goes_through_a_place() {
        let all = Filter::default();
        check(&all, 5120);
        check(&Filter { focus: Some("service::build"), ..all }, 4096);
        check(&Filter { focus: Some("build.rs$"), ..all }, 4096);
        check(&Filter { focus: Some("/usr/bin/service"), ..all }, 5120);
        check(&Filter { ignore: Some("service::build"), ..all }, 1024);
        let both = Filter { focus: Some("main"), ignore: Some("^service::build$"), ..all };
        check(&both, 1024);
        check(&Filter { focus: Some("nowhere"), ..all }, 0);
        // What is hidden is still found.
        check(&Filter { focus: Some("build"), hide: Some("build"), ..all }, 4096);
        check(&Filter { hide: Some("."), ..all }, 0);
    }

    #[test]
    fn keeps_what_has_a_label() {
        // Blocks of 128, 768 and 256 bytes.
        for (text, expected) in [
            ("128b", 1024),
            ("bytes=128", 0),
            ("bytes=256b:", 4096),
            ("bytes=:1kb", 5120),
            ("200b:768b", 4096),
            ("other=128b", 0),
            ("1ms:", 0),
            ("bytes", 0),
        ] {
            check(&Filter { tag_focus: Some(text), ..Filter::default() }, expected);
            check(&Filter { tag_ignore: Some(text), ..Filter::default() }, 5120 - expected);
        }
    }

    #[test]
    fn hides_frames() {
        let bytes = testing::heap().encode();
        let filter = Filter { hide: Some("service::build|main.rs"), ..Filter::default() };
        let stacks = read_part(&bytes, &filter).unwrap().stacks;
        let frames = FrameTable::new(stacks.profile());
        for stack in 0..stacks.len() {
            let names: Vec<_> = frames
                .stack_frames(stacks.locations(stack))
                .map(|frame| frames.function(frame).name.to_string())
                .collect();
            assert_eq!(names, ["alloc::raw_vec::finish_grow"]);
        }
    }

    #[test]
    fn an_expression_of_the_profile_has_a_limit() {
        let mut profile = testing::heap();
        profile.drop_frames = profile.strings.push(&"a|".repeat(40_000));
        let bytes = profile.encode();
        let read = read_part(&bytes, &Filter::default()).unwrap();
        assert_eq!(read.stacks.total(1), 5120);
        let why = "frames are not dropped: the expression has more than 65536 bytes";
        assert_eq!(read.warnings, [why]);
    }

    #[test]
    fn says_what_is_no_expression() {
        let bytes = testing::heap().encode();
        let error = |filter: Filter<'_>| read_part(&bytes, &filter).unwrap_err().to_string();
        let all = Filter::default();
        for filter in [
            Filter { focus: Some("("), ..all },
            Filter { hide: Some("("), ..all },
            Filter { tag_focus: Some("key=("), ..all },
        ] {
            assert!(error(filter).starts_with("\"(\" is no regular expression"), "{filter:?}");
        }
        let large = "(\\w{100}){1000}";
        error(Filter { focus: Some(large), ..all });
    }
}
