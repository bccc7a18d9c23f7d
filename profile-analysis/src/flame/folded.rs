//! Folded stacks: a line for each, `root;caller;leaf value`, as many tools read them.

use std::fmt::Write as _;

use super::Flame;
use crate::Result;

/// Writes a line for each stack, in the order of the lines. Of two profiles a line has the base's
/// value before the new one, as tools for differential flame graphs read them.
///
/// A semicolon in a name becomes a comma, and a line break a blank, since they would part frames.
///
/// # Errors
///
/// Where no stack has a value above zero.
pub fn folded(flame: &Flame) -> Result<String> {
    super::check_not_empty(flame)?;
    let names: Vec<String> = flame.names.iter().map(|name| clean_name(name)).collect();
    let mut lines: Vec<usize> = (0..flame.len())
        .filter(|&stack| flame.values[stack] != 0 || flame.base_value(stack) != 0)
        .collect();
    let path = |stack: usize| flame.stack(stack).iter().map(|&name| names[name as usize].as_str());
    lines.sort_by(|&left, &right| path(left).cmp(path(right)));
    let mut text = String::new();
    for stack in lines {
        for (index, name) in path(stack).enumerate() {
            if index > 0 {
                text.push(';');
            }
            text.push_str(name);
        }
        // Writing to a string can't fail.
        let _ = match &flame.base {
            Some(base) => writeln!(text, " {} {}", base[stack], flame.values[stack]),
            None => writeln!(text, " {}", flame.values[stack]),
        };
    }
    Ok(text)
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
