//! Folded stacks: a line for each, `root;caller;leaf value`, as many tools read them.

use std::fmt;
use std::io;

use super::Flame;
use crate::{Error, Result};

/// The most bytes of all lines. A stack is written in full, however often its names are repeated.
const MOST_BYTES: u64 = 1 << 30;

/// The lines of a picture's stacks, which are written one by one.
#[derive(Debug)]
pub struct FoldedLines<'a> {
    flame: &'a Flame,
    /// The names, without what would part frames.
    names: Vec<String>,
    /// The stacks in the order of their lines.
    order: Vec<usize>,
}

/// Makes a line for each stack, in the order of their names. Of two profiles a line has the base's
/// value before the new one, as tools for differential flame graphs read them.
///
/// A semicolon in a name becomes a comma, and a line break a blank, since they would part frames.
///
/// # Errors
///
/// Where no stack has a value above zero, or the lines have more than 1 GiB.
pub fn folded(flame: &Flame) -> Result<FoldedLines<'_>> {
    super::check_not_empty(flame)?;
    let names: Vec<String> = flame.names.iter().map(|name| clean_name(name)).collect();
    let mut order: Vec<usize> = (0..flame.len())
        .filter(|&stack| flame.values[stack] != 0 || flame.base_value(stack) != 0)
        .collect();
    let length = |stack: &usize| {
        let of_name = |&name: &u32| names[name as usize].len() as u64 + 1;
        flame.stack(*stack).iter().map(of_name).sum::<u64>()
    };
    let bytes = order.iter().map(length).sum();
    if bytes > MOST_BYTES {
        return Err(Error::FoldedTooLarge { bytes, limit: MOST_BYTES });
    }
    let ranks = rank_names(&names);
    let path = |stack: usize| flame.stack(stack).iter().map(|&name| ranks[name as usize]);
    order.sort_by(|&left, &right| path(left).cmp(path(right)));
    Ok(FoldedLines { flame, names, order })
}

impl FoldedLines<'_> {
    /// Writes the lines.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        (0..self.order.len()).try_for_each(|line| {
            self.parts(line).try_for_each(|part| out.write_all(part.as_bytes()))?;
            writeln!(out, " {}", self.value(line))
        })
    }

    /// Returns the names of a line with semicolons between.
    fn parts(&self, line: usize) -> impl Iterator<Item = &str> {
        let names = self.flame.stack(self.order[line]).iter().enumerate();
        names.flat_map(|(index, &name)| {
            let gap = if index > 0 { ";" } else { "" };
            [gap, self.names[name as usize].as_str()]
        })
    }

    fn value(&self, line: usize) -> String {
        let stack = self.order[line];
        match &self.flame.base {
            Some(base) => format!("{} {}", base[stack], self.flame.values[stack]),
            None => self.flame.values[stack].to_string(),
        }
    }
}

impl fmt::Display for FoldedLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.order.len()).try_for_each(|line| {
            self.parts(line).try_for_each(|part| f.write_str(part))?;
            writeln!(f, " {}", self.value(line))
        })
    }
}

/// Returns the place of each name among all of them, the same for equal ones: deep stacks are
/// compared by thousands of names.
fn rank_names(names: &[String]) -> Vec<u32> {
    let mut sorted: Vec<usize> = (0..names.len()).collect();
    sorted.sort_unstable_by_key(|&name| names[name].as_str());
    let (mut ranks, mut rank) = (vec![0; names.len()], 0);
    for (index, &name) in sorted.iter().enumerate() {
        if index > 0 && names[name] != names[sorted[index - 1]] {
            rank += 1;
        }
        ranks[name] = rank;
    }
    ranks
}

fn clean_name(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            ';' => ',',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}
