//! A flame graph as one SVG that needs nothing else, for reports and chats. It does not move; the
//! page of [`html`](super::html()) does.

use std::fmt::Write as _;

use super::{Flame, Node};
use crate::Result;
use crate::top::saturate;
use crate::units::{format_percent, format_value};

const WIDTH: f64 = 1200.0;
const ROW: u32 = 16;
const MARGIN: u32 = 10;
/// Height of the head above the picture.
const HEAD: u32 = 46;
/// Width below which a frame can't be seen, and is left out.
const NARROWEST: f64 = 0.3;
/// Characters of a name that are written: in a tooltip more can't be read.
pub(super) const LONGEST_NAME: usize = 512;
/// The width of a character, near enough.
const CHARACTER: f64 = 6.6;

/// Draws a flame graph: the root at the bottom, or where `inverted` the leaves on top of their
/// callers. Of two profiles the width is the new one's, red is more than in the base and blue is
/// less.
///
/// # Errors
///
/// Where no stack has a value above zero.
pub fn svg(flame: &Flame, title: &str, inverted: bool) -> Result<String> {
    super::check_not_empty(flame)?;
    let tree = flame.grow(inverted);
    let total = tree.nodes[0].value;
    let scale = (WIDTH - 2.0 * f64::from(MARGIN)) / total as f64;
    let shown = |node: &&Node| node.value as f64 * scale >= NARROWEST;
    let depth = tree.nodes.iter().filter(shown).map(|node| node.depth).max().unwrap_or(0);
    let height = HEAD + (depth + 1) * ROW + MARGIN;
    let mut out = String::new();
    // Writing to a string can't fail.
    let _ = writeln!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"monospace\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"20\" font-size=\"15\">{}</text>\n\
         <text x=\"{MARGIN}\" y=\"36\" fill=\"#555\">{}</text>",
        escape(&shorten(title, 120)),
        escape(&subtitle(flame, &tree.note)),
    );
    for node in tree.nodes.iter().filter(shown) {
        let x = f64::from(MARGIN) + node.start as f64 * scale;
        let width = node.value as f64 * scale;
        let row = if inverted { node.depth } else { depth - node.depth };
        let y = HEAD + row * ROW;
        let name = if node.depth == 0 { "all" } else { flame.name(node.name) };
        let _ = write!(
            out,
            "<g><title>{}</title><rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{}\" \
             rx=\"1\" fill=\"{}\"/>",
            escape(&tooltip(flame, node, name)),
            ROW - 1,
            pick_color(flame, node, name),
        );
        let room = ((width - 4.0) / CHARACTER) as usize;
        if room >= 5 {
            let _ = write!(
                out,
                "<text x=\"{:.2}\" y=\"{}\">{}</text>",
                x + 2.0,
                y + ROW - 5,
                escape(&shorten(name, room)),
            );
        }
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    Ok(out)
}

/// Returns the line below the title: `inuse_space: 128.54 MiB`, and of two profiles the base's sum.
pub(super) fn subtitle(flame: &Flame, note: &str) -> String {
    let value = |value: i128| format_value(saturate(value), &flame.unit);
    let mut text = format!("{}: {}", flame.sample_type, value(flame.total()));
    if let Some(base) = flame.base_total() {
        let _ = write!(text, ", base {}", value(base));
    }
    if !note.is_empty() {
        let _ = write!(text, " ({note})");
    }
    text
}

fn tooltip(flame: &Flame, node: &Node, name: &str) -> String {
    let value = saturate(node.value);
    let mut text = format!(
        "{} ({}, {})",
        shorten(name, LONGEST_NAME),
        format_value(value, &flame.unit),
        format_percent(value, saturate(flame.total()))
    );
    if flame.base.is_some() {
        let change = saturate(node.value - node.base);
        let sign = if change > 0 { "+" } else { "" };
        let _ = write!(text, ", {sign}{} since the base", format_value(change, &flame.unit));
    }
    text
}

/// Returns a warm colour that is the same for the same name; of two profiles red for more, blue for
/// less.
fn pick_color(flame: &Flame, node: &Node, name: &str) -> String {
    if flame.base.is_some() {
        let change = (node.value - node.base) as f64;
        let part = change / (node.value.max(node.base).max(1)) as f64;
        let rest = (235.0 - 170.0 * part.abs().min(1.0)) as u8;
        return if part > 0.0 {
            format!("rgb(245,{rest},{rest})")
        } else {
            format!("rgb({rest},{rest},245)")
        };
    }
    let hash = name
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("rgb({},{},{})", 205 + hash % 50, 90 + (hash >> 8) % 120, 40 + (hash >> 16) % 40)
}

/// Returns the end of a text that is too long, which says more of a function than its beginning.
pub(super) fn shorten(text: &str, room: usize) -> String {
    let length = text.chars().count();
    if length <= room {
        return text.to_owned();
    }
    let rest: String = text.chars().skip(length + 1 - room).collect();
    format!("\u{2026}{rest}")
}

/// Escapes text for XML: no markup is left, and none of the characters that XML does not have.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
