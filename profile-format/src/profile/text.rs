//! Writing a profile as the text that Go answers to `?debug=1`, and that older readers of pprof
//! read.
//!
//! A row has values and the return addresses of a stack; below it, for people, each frame with its
//! function and line. Readers take one from every address, so that they get back ours.

#[cfg(test)]
mod tests;

use std::fmt::{self, Write};

use super::{Label, Profile, Sample};

/// The form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    /// `heap profile:`, of the four types of a heap profile. The values are as they were sampled,
    /// not scaled up, because readers scale them.
    Heap,
    /// `--- contention:`, of contentions and nanoseconds.
    Contention,
    /// `--- mutex:`, the same.
    Mutex,
    /// `NAME profile: total N`, of a single type.
    Count,
}

impl Profile {
    /// Writes the profile as text, the largest samples first, and its comments at the end.
    ///
    /// `start_of` gives where the function at an address begins; without an answer an offset is
    /// counted from the address itself.
    pub fn text(&self, form: TextForm, start_of: &dyn Fn(u64) -> Option<u64>) -> String {
        let mut out = String::new();
        let text = TextWriter { profile: self, start_of };
        // Writing to a string can't fail.
        let _ = match form {
            TextForm::Heap => text.write_heap(&mut out),
            TextForm::Contention => text.write_delays(&mut out, "--- contention:"),
            TextForm::Mutex => text.write_delays(&mut out, "--- mutex:"),
            TextForm::Count => text.write_counts(&mut out),
        };
        for &comment in &self.comments {
            let _ = writeln!(out, "# {}", on_one_line(self.str(comment)));
        }
        out
    }
}

struct TextWriter<'a> {
    profile: &'a Profile,
    start_of: &'a dyn Fn(u64) -> Option<u64>,
}

impl TextWriter<'_> {
    fn write_heap(&self, out: &mut String) -> fmt::Result {
        let profile = self.profile;
        let column = |name: &str| {
            profile.sample_types.iter().position(|&value_type| profile.str(value_type.kind) == name)
        };
        let columns = [["inuse_objects", "inuse_space"], ["alloc_objects", "alloc_space"]]
            .map(|pair| pair.map(column));
        let value = |sample: Sample<'_>, column: Option<usize>| {
            column.map_or(0, |column| sample.values[column])
        };
        let as_sampled = |sample: Sample<'_>| {
            columns.map(|[objects, bytes]| {
                unscale(value(sample, objects), value(sample, bytes), profile.period)
            })
        };
        let mut totals = [(0i64, 0i64); 2];
        for sample in profile.samples.iter() {
            for (total, (objects, bytes)) in totals.iter_mut().zip(as_sampled(sample)) {
                *total = (total.0.saturating_add(objects), total.1.saturating_add(bytes));
            }
        }
        let [(inuse_objects, inuse_bytes), (alloc_objects, mut alloc_bytes)] = totals;
        if inuse_bytes == alloc_bytes {
            // Readers take equal sums for a profile that does not tell the two apart.
            alloc_bytes = alloc_bytes.saturating_add(1);
        }
        // Twice the rate, as the first heap profiler of this form had it.
        let rate = profile.period.saturating_mul(2);
        writeln!(
            out,
            "heap profile: {inuse_objects}: {inuse_bytes} [{alloc_objects}: {alloc_bytes}] @ heap/{rate}"
        )?;
        for sample in self.largest_first(columns[0][1].unwrap_or(0)) {
            let [(inuse_objects, inuse_bytes), (alloc_objects, alloc_bytes)] = as_sampled(sample);
            write!(out, "{inuse_objects}: {inuse_bytes} [{alloc_objects}: {alloc_bytes}] @")?;
            self.write_stack(out, sample)?;
        }
        Ok(())
    }

    fn write_delays(&self, out: &mut String, title: &str) -> fmt::Result {
        // What Go counts in cycles are nanoseconds here, and nothing is scaled.
        writeln!(out, "{title}\ncycles/second=1000000000")?;
        if title == "--- mutex:" {
            writeln!(out, "sampling period=1")?;
        }
        for sample in self.largest_first(1) {
            let &[count, nanoseconds, ..] = sample.values else { continue };
            write!(out, "{nanoseconds} {count} @")?;
            self.write_stack(out, sample)?;
        }
        Ok(())
    }

    fn write_counts(&self, out: &mut String) -> fmt::Result {
        let profile = self.profile;
        let name = profile.sample_types.first().map_or("", |&first| profile.str(first.kind));
        let total =
            profile.samples.iter().map(|sample| sample.values[0]).fold(0, i64::saturating_add);
        writeln!(out, "{name} profile: total {total}")?;
        for sample in self.largest_first(0) {
            write!(out, "{} @", sample.values[0])?;
            self.write_stack(out, sample)?;
        }
        Ok(())
    }

    fn largest_first(&self, column: usize) -> impl Iterator<Item = Sample<'_>> {
        let samples = &self.profile.samples;
        let mut order: Vec<usize> = (0..samples.len()).collect();
        let value = |index: usize| samples.get(index).values.get(column).copied().unwrap_or(0);
        order.sort_by_key(|&index| std::cmp::Reverse(value(index)));
        order.into_iter().map(|index| samples.get(index))
    }

    /// Writes the rest of a row, the sample's labels, and its frames.
    fn write_stack(&self, out: &mut String, sample: Sample<'_>) -> fmt::Result {
        let locations = || sample.stack.iter().map(|&at| &self.profile.locations[at as usize]);
        for location in locations() {
            write!(out, " {:#x}", location.address.saturating_add(1))?;
        }
        out.push('\n');
        if !sample.labels.is_empty() {
            let mut labels: Vec<String> =
                sample.labels.iter().map(|label| self.format_label(label)).collect();
            labels.sort();
            writeln!(out, "# labels: {{{}}}", labels.join(", "))?;
        }
        let mut frames = Vec::new();
        for location in locations() {
            let address = location.address;
            let start = (self.start_of)(address).unwrap_or(address);
            for line in self.profile.lines_of(location) {
                let function = self.profile.functions[line.function as usize];
                let file = match self.profile.str(function.filename) {
                    "" => "?",
                    file => file,
                };
                let name = on_one_line(self.profile.str(function.name));
                frames.push([
                    format!("{address:#x}"),
                    format!("{name}+{:#x}", address.saturating_sub(start)),
                    format!("{}:{}", on_one_line(file), line.line),
                ]);
            }
            if self.profile.lines_of(location).is_empty() {
                frames.push([format!("{address:#x}"), String::new(), String::new()]);
            }
        }
        write_columns(out, &frames)?;
        out.push('\n');
        Ok(())
    }

    fn format_label(&self, label: &Label) -> String {
        let key = quote(self.profile.str(label.key));
        let value = match self.profile.str(label.str) {
            "" if label.num != 0 => {
                format!("{} {}", label.num, self.profile.str(label.num_unit)).trim_end().to_owned()
            }
            text => text.to_owned(),
        };
        format!("{key}:{}", quote(&value))
    }
}

/// Returns the sampled counts of those that were scaled up by the mean size of blocks. Readers do
/// the reverse.
fn unscale(objects: i64, bytes: i64, rate: i64) -> (i64, i64) {
    if objects <= 0 || bytes <= 0 || rate <= 1 {
        return (objects, bytes);
    }
    let mean = bytes as f64 / objects as f64;
    let sampled = -(-mean / rate as f64).exp_m1();
    let count = (objects as f64 * sampled).round().max(1.0);
    // As many bytes that scaling up gives the right sum, although there are no parts of a block.
    (count as i64, (count * mean).round() as i64)
}

/// Writes lines of tab-separated cells that stand below each other where a tab is eight wide.
fn write_columns(out: &mut String, rows: &[[String; 3]]) -> fmt::Result {
    const TAB: usize = 8;
    let stop = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        (widest + 1).next_multiple_of(TAB)
    };
    let stops = [stop(0), stop(1)];
    for [address, name, place] in rows {
        write!(out, "#\t{address}")?;
        if !name.is_empty() {
            for (cell, next) in [(address, name), (name, place)].into_iter().zip(stops) {
                let (before, after) = cell;
                let tabs = (next - before.chars().count()).div_ceil(TAB);
                out.extend(std::iter::repeat_n('\t', tabs));
                out.push_str(after);
            }
        }
        out.push('\n');
    }
    Ok(())
}

fn on_one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

/// Writes a text in quotes, as Go does.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
