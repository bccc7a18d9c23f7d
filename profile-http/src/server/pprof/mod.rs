//! `/debug/pprof/*`: what Go's `net/http/pprof` answers, so that its tools and scrapers need nothing
//! new.
//!
//! Each kind by itself, any number at a time, each collection on a thread of its own. A kind that
//! this process can't give is a valid profile without samples that says so: scrapers ask for a fixed
//! list, and would take a refusal for an outage. The contract is that of Go 1.27.

mod index;
mod query;
mod symbol;
mod take;
mod threads;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use profile_core::Kind;

use self::query::ProfileForm;
pub(super) use self::threads::TakingThreads;
use super::access::Identity;
use super::reply::{self, HttpReply};
use super::{Body, RequestBody, ServiceState};

/// The endpoints below the folder.
enum PprofEndpoint {
    /// The folder without its slash.
    Folder,
    Index,
    Cmdline,
    Symbol,
    Profile,
    Trace,
    Snapshot(Kind),
    Unknown,
}

/// Returns the part of a path below this folder, if it is in it.
pub(super) fn below(path: &str) -> Option<&str> {
    path.strip_prefix("/pprof").filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl PprofEndpoint {
    fn new(rest: &str) -> PprofEndpoint {
        match rest {
            "" => PprofEndpoint::Folder,
            "/" => PprofEndpoint::Index,
            "/cmdline" => PprofEndpoint::Cmdline,
            "/symbol" => PprofEndpoint::Symbol,
            _ => match rest.strip_prefix('/').and_then(Kind::at_endpoint) {
                Some(Kind::Cpu) => PprofEndpoint::Profile,
                Some(Kind::Trace) => PprofEndpoint::Trace,
                Some(kind) => PprofEndpoint::Snapshot(kind),
                None => PprofEndpoint::Unknown,
            },
        }
    }
}

/// Answers a request for what is below the folder.
pub(super) async fn answer<B: RequestBody>(
    shared: &Arc<ServiceState>,
    rest: &str,
    request: &Parts,
    body: B,
    caller: Identity,
) -> HttpReply {
    let endpoint = PprofEndpoint::new(rest);
    let asks_symbols = matches!(endpoint, PprofEndpoint::Symbol) && request.method == Method::POST;
    if !asks_symbols && request.method != Method::GET && request.method != Method::HEAD {
        return Ok(wrong_method(&endpoint));
    }
    let query = request.uri.query().unwrap_or("");
    let job = match endpoint {
        PprofEndpoint::Folder => return Ok(redirect(shared, query)),
        PprofEndpoint::Index => return Ok(text("text/html; charset=utf-8", index::page(shared))),
        PprofEndpoint::Cmdline => return Ok(text(PLAIN, cmdline())),
        PprofEndpoint::Symbol if asks_symbols => {
            let words = symbol::read(body).await?;
            return Ok(text(PLAIN, symbol::names(shared, words).await?));
        }
        PprofEndpoint::Symbol => {
            let words = Bytes::copy_from_slice(query.as_bytes());
            return Ok(text(PLAIN, symbol::names(shared, words).await?));
        }
        PprofEndpoint::Profile => {
            query::parse_profile(&ProfileForm::new(query), shared.max_window)?
        }
        PprofEndpoint::Trace => query::parse_trace(&ProfileForm::new(query), shared.max_window)?,
        PprofEndpoint::Snapshot(kind) => {
            query::parse_snapshot(kind, &ProfileForm::new(query), shared.max_window)?
        }
        PprofEndpoint::Unknown => return Err(reply::unknown_profile()),
    };
    let file_name = job.file_name();
    let body = if request.method == Method::HEAD {
        // What would be thrown away is not collected.
        take::check_available(shared, &job)?;
        Body::omitted()
    } else {
        take::take(shared, job, caller).await?
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let Some(file_name) = file_name else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PLAIN));
        return Ok(response);
    };
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, octets);
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{file_name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn text(content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(body.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Returns the program's arguments with a NUL between each two.
fn cmdline() -> Vec<u8> {
    let arguments: Vec<Vec<u8>> =
        std::env::args_os().map(std::ffi::OsString::into_encoded_bytes).collect();
    arguments.join(&0)
}

/// Refuses a method as Go's router does, before any of this is asked.
fn wrong_method(endpoint: &PprofEndpoint) -> Response<Body> {
    let mut response = text(PLAIN, "Method Not Allowed\n");
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let allowed = match endpoint {
        PprofEndpoint::Symbol => "GET, HEAD, POST",
        _ => "GET, HEAD",
    };
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Sends whoever left out the slash to the index, so that its links work.
fn redirect(shared: &ServiceState, query: &str) -> Response<Body> {
    // Where another server takes a prefix off, only it knows the whole path.
    let folder = match shared.prefix.as_str() {
        "" => "pprof/".to_owned(),
        prefix => format!("{prefix}/pprof/"),
    };
    let target = if query.is_empty() { folder } else { format!("{folder}?{query}") };
    let link = index::escape(&target);
    let mut response =
        text("text/html; charset=utf-8", format!("<a href=\"{link}\">Temporary Redirect</a>.\n\n"));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    if let Ok(value) = HeaderValue::from_str(&target) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}
