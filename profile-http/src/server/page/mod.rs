//! `/`: the live page. One document that holds its style and its script, and asks for nothing from
//! anywhere else.
//!
//! The policy that goes with it lets the browser run that very script and no other: it names their
//! hashes. Whatever comes from the process is set as text.
//!
//! A browser that has no credentials gets a small document with its refusal, which asks for the token and
//! puts the page in its own place. It is small because anybody gets it: what fits into a socket's buffer is
//! sent, however slowly it is read. Scripts and programs get the refusal as JSON, as everywhere.

use std::io::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use sha2::{Digest, Sha256};

use super::Body;
use super::packed::{accepts_gzip, describe_encoding};

const DOCUMENT: &str = include_str!("index.html");
const STYLE: &str = include_str!("style.css");
/// The scripts, in the order in which they build on each other; together they are one script.
const SCRIPT: [&str; 10] = [
    include_str!("dom.js"),
    include_str!("units.js"),
    include_str!("server.js"),
    include_str!("charts.js"),
    include_str!("tables.js"),
    include_str!("groups.js"),
    include_str!("flame.js"),
    include_str!("collect.js"),
    include_str!("compare.js"),
    include_str!("main.js"),
];

const LOCKED_DOCUMENT: &str = include_str!("locked.html");
const LOCKED_STYLE: &str = include_str!("locked.css");
const LOCKED_SCRIPT: &str = include_str!("locked.js");

/// The documents, ready to be sent.
struct LivePage {
    open: PageDocument,
    locked: PageDocument,
    /// The policy, one for both: what one document puts in its place keeps it.
    policy: HeaderValue,
}

/// A document, plain and compressed.
struct PageDocument {
    plain: Bytes,
    gzip: Bytes,
}

static PAGE: LazyLock<LivePage> = LazyLock::new(|| {
    let scope = |script: &str| format!("(() => {{\n\"use strict\";\n{script}}})();\n");
    let (script, locked_script) = (scope(&SCRIPT.concat()), scope(LOCKED_SCRIPT));
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let policy = format!(
        "default-src 'none'; script-src {} {}; style-src {} {}; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(&script),
        hash(&locked_script),
        hash(STYLE),
        hash(LOCKED_STYLE)
    );
    LivePage {
        open: PageDocument::new(DOCUMENT, STYLE, &script),
        locked: PageDocument::new(LOCKED_DOCUMENT, LOCKED_STYLE, &locked_script),
        policy: HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("sandbox")),
    }
});

impl PageDocument {
    fn new(text: &str, style: &str, script: &str) -> PageDocument {
        let text = text.replace("{{style}}", style).replace("{{script}}", script);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory can't fail.
        let _ = gzip.write_all(text.as_bytes());
        PageDocument { gzip: gzip.finish().unwrap_or_default().into(), plain: text.into() }
    }
}

/// Answers with the page.
pub(super) fn page(request: &Parts) -> Response<Body> {
    response(&PAGE.open, &request.headers)
}

/// Returns whether a refused request for the page is that of a person at a browser.
pub(super) fn is_browser_visit(path: &str, request: &Parts) -> bool {
    let accept = request.headers.get_all(header::ACCEPT).into_iter();
    request.method == Method::GET
        && path == "/"
        && accept.filter_map(|accept| accept.to_str().ok()).any(|types| types.contains("text/html"))
}

/// Returns the document that asks for the token, as the body of the refusal.
pub(super) fn locked_page(request: &Parts) -> Response<Body> {
    let mut response = response(&PAGE.locked, &request.headers);
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    // Basic would make the browser ask, and keep the answer beyond the tab.
    let challenge = HeaderValue::from_static("Bearer realm=\"debug\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// Redirects to the page from its path without the slash.
pub(super) fn redirect(prefix: &str) -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::new()));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    // Relative, because a proxy in front may have another prefix.
    let last = prefix.rsplit('/').next().unwrap_or_default();
    if let Ok(location) = HeaderValue::try_from(format!("{last}/")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn response(document: &PageDocument, asked: &HeaderMap) -> Response<Body> {
    let zipped = accepts_gzip(asked);
    let body = if zipped { &document.gzip } else { &document.plain };
    let mut response = Response::new(Body::full(body.clone()));
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, "text/html; charset=utf-8");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    describe_encoding(headers, zipped);
    headers.insert(header::CONTENT_SECURITY_POLICY, PAGE.policy.clone());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_whole_small_and_ask_for_nothing_else() {
        for document in [&PAGE.open, &PAGE.locked] {
            let text = std::str::from_utf8(&document.plain).unwrap();
            assert!(!text.contains("{{"), "a place was not filled");
            assert_eq!(text.matches("<script").count(), 1);
            assert_eq!(text.matches("<style").count(), 1);
            for foreign in
                ["http://", "https://", "//cdn", "@import", "eval(", "innerHTML", " style="]
            {
                let known = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!known.contains(foreign), "{foreign}");
            }
        }
        assert!(PAGE.open.gzip.len() < 120 << 10, "{}", PAGE.open.gzip.len());
        assert!(PAGE.locked.plain.len() < 2 << 10, "{}", PAGE.locked.plain.len());
        assert!(PAGE.locked.gzip.len() < 1 << 10, "{}", PAGE.locked.gzip.len());
    }

    #[test]
    fn the_policy_names_no_source_but_the_hashes() {
        let policy = PAGE.policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        for loose in ["unsafe", "*", "http:", "blob:"] {
            assert!(!policy.contains(loose), "{policy}");
        }
    }

    #[test]
    fn only_a_browser_that_asks_for_the_page_sees_it_locked() {
        let visit = |path: &str, accept: &str| {
            let request = http::Request::get("/").header("accept", accept).body(()).unwrap();
            is_browser_visit(path, &request.into_parts().0)
        };
        assert!(visit("/", "text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(!visit("/", "*/*"));
        assert!(!visit("/stats", "text/html"));
    }
}
