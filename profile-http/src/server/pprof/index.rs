//! The index: what there is below the folder, with what is not collected and why.

use std::fmt::Write as _;

use profile_core::Kind;

use super::ServiceState;

/// A line of the list: a name, the kind it gives if it gives one, and what that is.
type IndexEntry = (&'static str, Option<Kind>, &'static str);

/// Entries that give no kind.
const OTHERS: [IndexEntry; 2] = [
    ("cmdline", None, "The program and its arguments, separated by NUL"),
    (
        "symbol",
        None,
        "The names of addresses, which stand in the query or in a POST's body with a + between \
         each two",
    ),
];

/// Returns every line, in the order of the names, as Go's.
fn entries() -> Vec<IndexEntry> {
    let kinds = Kind::ALL.map(|kind| (kind.facts().endpoint, Some(kind), kind.facts().about));
    let mut entries = [&kinds[..], &OTHERS].concat();
    entries.sort_by_key(|&(name, ..)| name);
    entries
}

/// Writes the page. Programs find the names by its links, `NAME?debug=1`.
pub(super) fn page(shared: &ServiceState) -> String {
    let available = shared.collectors.available();
    let entries = entries();
    let mut page = String::from(
        "<html>\n<head>\n<title>/debug/pprof/</title>\n<style>\n\
         .profile-name{\n\tdisplay:inline-block;\n\twidth:6rem;\n}\n\
         </style>\n</head>\n<body>\n/debug/pprof/\n<br>\n",
    );
    // Writing to a string can't fail.
    let _ = writeln!(
        page,
        "<p>{} {}, pid {}</p>\n\
         <p>Set debug=1 as a query parameter to export in legacy text format</p>\n<br>\n\
         Types of profiles available:\n<table>\n\
         <thead><td>Collected</td><td>Profile</td></thead>",
        escape(&shared.service),
        escape(&shared.version),
        shared.process.pid
    );
    for &(name, kind, _) in &entries {
        let collected = match kind.map(|kind| available.check(kind)) {
            None => "",
            Some(Ok(())) => "yes",
            Some(Err(_)) => "no",
        };
        let _ = writeln!(
            page,
            "<tr><td>{collected}</td><td><a href='{name}?debug=1'>{name}</a></td></tr>"
        );
    }
    page.push_str(
        "</table>\n<a href=\"goroutine?debug=2\">full goroutine stack dump</a>\n<br>\n<p>\n\
         Profile Descriptions:\n<ul>\n",
    );
    for &(name, kind, description) in &entries {
        let _ = write!(page, "<li><div class=profile-name>{name}: </div> {}", escape(description));
        if let Some(Err(why)) = kind.map(|kind| available.check(kind)) {
            let _ = write!(page, "<br><b>not collected:</b> {}", escape(&why.reason));
            if !why.hint.is_empty() {
                let _ = write!(page, "; {}", escape(&why.hint));
            }
        }
        page.push_str("</li>\n");
    }
    page.push_str("</ul>\n</p>\n</body>\n</html>");
    page
}

/// Escapes a text, so that it means nothing to a browser.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
