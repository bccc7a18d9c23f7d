//! A flame graph as one page that needs nothing else: search, zoom, callers instead of calls, and
//! colours for what has changed.

use std::fmt::Write as _;

use super::svg::{LONGEST_NAME, escape, shorten, subtitle};
use super::{Flame, Tree};
use crate::Result;

/// The page around the data.
const PAGE: &str = include_str!("page.html");

/// Writes the page. It shows what calls what, or where `inverted` what is called by what; a button
/// changes that.
///
/// # Errors
///
/// Where no stack has a value above zero.
pub fn html(flame: &Flame, title: &str, inverted: bool) -> Result<String> {
    super::check_not_empty(flame)?;
    let calls = flame.grow(false);
    let callers = flame.grow(true);
    // Only names that are shown.
    let mut numbers = vec![None; flame.names.len()];
    let mut names = Vec::new();
    for node in calls.nodes.iter().chain(&callers.nodes).filter(|node| node.depth > 0) {
        numbers[node.name as usize].get_or_insert_with(|| {
            names.push(shorten(flame.name(node.name), LONGEST_NAME));
            names.len() - 1
        });
    }
    let mut data = String::from("{\"names\":[");
    for (index, name) in names.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(data, "{comma}{}", quote_json(name));
    }
    let _ = write!(
        data,
        "],\"unit\":{},\"compared\":{},\"inverted\":{inverted}",
        quote_json(&flame.unit),
        flame.base.is_some()
    );
    for (key, tree) in [("calls", &calls), ("callers", &callers)] {
        let _ = write!(data, ",\"{key}\":{{\"note\":{},\"nodes\":[", quote_json(&tree.note));
        write_nodes(&mut data, tree, &numbers);
        data.push_str("]}");
    }
    data.push('}');
    let mut page = String::with_capacity(PAGE.len() + data.len());
    let mut rest = PAGE;
    let title = escape(title);
    let parts = [
        ("{{title}}", title.clone()),
        ("{{title}}", title),
        ("{{subtitle}}", escape(&subtitle(flame, ""))),
        ("{{data}}", data),
    ];
    for (mark, part) in parts {
        if let Some((before, after)) = rest.split_once(mark) {
            page.push_str(before);
            page.push_str(&part);
            rest = after;
        }
    }
    page.push_str(rest);
    Ok(page)
}

/// Writes four numbers for each node, five of two profiles: name, parent, start, value, base.
fn write_nodes(data: &mut String, tree: &Tree, numbers: &[Option<usize>]) {
    for (index, node) in tree.nodes.iter().enumerate() {
        let name = if node.depth == 0 { None } else { numbers[node.name as usize] };
        let name = name.map_or(-1, |name| name as i64);
        let comma = if index > 0 { "," } else { "" };
        let (parent, start, value, base) = (node.parent, node.start, node.value, node.base);
        let _ = write!(data, "{comma}[{name},{parent},{start},{value},{base}]");
    }
}

/// Returns a JSON string that stays one in a page: nothing in it can end the element it stands in.
fn quote_json(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            c if c.is_control() || matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}
