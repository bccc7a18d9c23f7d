//! Refusals: the one place where reasons become status codes, texts and headers.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version};
use profile_core::profile::MergeError;
use profile_core::task::UnknownDetail;
use profile_core::{Busy, Error, InvalidRate, Kind, MIN_WINDOW, PlanError, Unavailable};
use profile_format::format_duration;
use serde::Serialize;

use super::Body;
use super::access::Denied;

/// An answer, or a refusal in its place.
pub(super) type HttpReply = Result<Response<Body>, HttpRefusal>;

/// A refusal: a status with a message for people and, where there is more to say, a detail.
#[derive(Clone, Debug)]
pub(super) struct HttpRefusal {
    status: StatusCode,
    message: String,
    detail: String,
    /// Boxed, because few refusals have one and many results could be one.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

/// The body of a refusal.
#[derive(Serialize)]
struct RefusalBody<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
}

impl HttpRefusal {
    fn new(
        status: StatusCode,
        message: impl Into<String>,
        detail: impl Into<String>,
    ) -> HttpRefusal {
        HttpRefusal { status, message: message.into(), detail: detail.into(), header: None }
    }

    fn with_header(self, name: HeaderName, value: HeaderValue) -> HttpRefusal {
        HttpRefusal { header: Some(Box::new((name, value))), ..self }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    fn response(self, form: RefusalForm) -> Response<Body> {
        let HttpRefusal { status, message, detail, header } = self;
        let (body, content_type) = match form {
            RefusalForm::Json => {
                let body = RefusalBody { message: &message, detail: &detail };
                let json = serde_json::to_vec(&body).unwrap_or_default();
                (json, "application/json; charset=utf-8")
            }
            RefusalForm::Go => {
                let text = format!("{message} {detail}");
                (format!("{}\n", text.trim_end()).into_bytes(), "text/plain; charset=utf-8")
            }
        };
        let mut response = Response::new(Body::full(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if matches!(form, RefusalForm::Go) {
            headers.insert(HeaderName::from_static("x-go-pprof"), HeaderValue::from_static("1"));
        }
        if let Some(header) = header {
            let (name, value) = *header;
            headers.insert(name, value);
        }
        response
    }
}

/// The form in which a refusal is written.
#[derive(Clone, Copy)]
pub(super) enum RefusalForm {
    /// As JSON, for the endpoints that are our own.
    Json,
    /// As a line of text that `go tool pprof` passes on to its user.
    Go,
}

/// Returns the response for a reply, with the headers that every answer carries.
pub(super) fn finish(reply: HttpReply, form: RefusalForm) -> Response<Body> {
    let mut response = reply.unwrap_or_else(|refusal| refusal.response(form));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Ends the connection with this response: who was not let in has no claim to it.
pub(super) fn close(response: &mut Response<Body>, version: Version) {
    // Later versions have no such header: there a connection is many people's.
    if version <= Version::HTTP_11 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

pub(super) fn denied(denied: Denied) -> HttpRefusal {
    match denied {
        Denied::Unauthenticated => HttpRefusal::new(
            StatusCode::UNAUTHORIZED,
            "Missing or invalid credentials.",
            "Send the token as `Authorization: Bearer TOKEN`, or as the password of Basic \
             authentication.",
        )
        .with_header(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"debug\", Basic realm=\"debug\""),
        ),
        Denied::Forbidden(reason) => HttpRefusal::new(StatusCode::FORBIDDEN, "Forbidden.", reason),
    }
}

pub(super) fn no_such_path(prefix: &str) -> HttpRefusal {
    HttpRefusal::new(
        StatusCode::NOT_FOUND,
        "Not found.",
        format!(
            "There is {prefix}/, {prefix}/profile?duration=10s&profiles=cpu,heap, {prefix}/pprof/, \
             {prefix}/stats, {prefix}/goroutines, {prefix}/flame and {prefix}/metrics."
        ),
    )
}

pub(super) fn wrong_method(allowed: &'static str) -> HttpRefusal {
    HttpRefusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "Method not allowed.",
        format!("Use {allowed}."),
    )
    .with_header(header::ALLOW, HeaderValue::from_static(allowed))
}

pub(super) fn bad_plan(error: PlanError) -> HttpRefusal {
    let bad =
        |message: &str, detail: String| HttpRefusal::new(StatusCode::BAD_REQUEST, message, detail);
    let range = |max| {
        format!(
            "The duration may be from {} to {}.",
            format_duration(MIN_WINDOW),
            format_duration(max)
        )
    };
    match error {
        PlanError::InvalidDuration { source, max } => {
            let detail = format!("{source}. {} Examples: 10s, 1m30s, 500ms, 2.5.", range(max));
            bad("Invalid duration parameter.", detail)
        }
        PlanError::NotPositive { max } => bad("Duration must be positive.", range(max)),
        PlanError::TooShort { max } => {
            let message = format!("Duration must be at least {}.", format_duration(MIN_WINDOW));
            bad(&message, range(max))
        }
        PlanError::TooLong { max } => {
            bad(&format!("Duration cannot exceed {}.", format_duration(max)), range(max))
        }
        PlanError::UnknownKind(name) => unknown_kind(&name, Kind::ALL),
        PlanError::TooManyKinds { count, most } => {
            let message =
                format!("Too many profile types: {count}, where at most {most} are read.");
            bad(&message, valid_types(Kind::ALL))
        }
        PlanError::UnknownParameter(name) => {
            unknown_parameter(&name, "duration, seconds, profiles, tasks, hz")
        }
        PlanError::RepeatedParameter(name) => bad(
            &format!("Parameter {name:?} is given more than once."),
            match name.as_str() {
                "duration" | "seconds" => "duration and seconds are two names of one parameter",
                _ => "",
            }
            .to_owned(),
        ),
        PlanError::InvalidTasks(why) => bad("Invalid tasks parameter.", why.to_string()),
        PlanError::TasksUnavailable { detail, why } => HttpRefusal::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("tasks={} is not available in this process.", detail.name()),
            reason_and_hint(&why),
        ),
        PlanError::InvalidRate(why) => bad("Invalid hz parameter.", why.to_string()),
        PlanError::RateUnavailable { rate, why } => HttpRefusal::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("hz={rate} is not available in this process."),
            reason_and_hint(&why),
        ),
        PlanError::Unavailable(why) => unavailable(&why),
        // The error type may grow; a plan that can't be made is the request's fault.
        error => bad("Invalid request.", error.to_string()),
    }
}

pub(super) fn unknown_kind(name: &str, valid: impl IntoIterator<Item = Kind>) -> HttpRefusal {
    HttpRefusal::new(
        StatusCode::BAD_REQUEST,
        format!("Unknown profile type: {name:?}."),
        valid_types(valid),
    )
}

pub(super) fn unknown_parameter(name: &str, valid: &str) -> HttpRefusal {
    HttpRefusal::new(
        StatusCode::BAD_REQUEST,
        format!("Unknown parameter: {name:?}."),
        format!("Valid parameters: {valid}"),
    )
}

pub(super) fn bad_parameter(message: &str, detail: String) -> HttpRefusal {
    HttpRefusal::new(StatusCode::BAD_REQUEST, message, detail)
}

fn valid_types(kinds: impl IntoIterator<Item = Kind>) -> String {
    let names: Vec<&str> = kinds.into_iter().map(Kind::name).collect();
    format!("Valid types: {}", names.join(", "))
}

pub(super) fn unavailable(why: &Unavailable) -> HttpRefusal {
    HttpRefusal::new(
        StatusCode::NOT_IMPLEMENTED,
        format!("Profile type {:?} is not available in this process.", why.kind.name()),
        reason_and_hint(why),
    )
}

/// Returns the refusal where not one of the default kinds can be given.
pub(super) fn nothing_available(left_out: &[Unavailable]) -> HttpRefusal {
    let reasons: Vec<String> =
        left_out.iter().map(|why| format!("{}: {}", why.kind, reason_and_hint(why))).collect();
    HttpRefusal::new(
        StatusCode::NOT_IMPLEMENTED,
        "No profile is available in this process.",
        reasons.join("; "),
    )
}

fn reason_and_hint(why: &Unavailable) -> String {
    if why.hint.is_empty() { why.reason.clone() } else { format!("{}; {}", why.reason, why.hint) }
}

pub(super) fn busy(busy: &Busy) -> HttpRefusal {
    let seconds = busy.retry_after().as_secs_f64().ceil() as u64;
    HttpRefusal::new(
        StatusCode::CONFLICT,
        "A profile collection is already in progress. Try again later.",
        format!(
            "It began at {} and records until {}.",
            profile_archive::rfc3339(busy.since),
            profile_archive::rfc3339(busy.until)
        ),
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

pub(super) fn start_failed(error: &Error) -> HttpRefusal {
    let kind = match error {
        Error::InUse { kind, .. } | Error::Collect { kind, .. } | Error::Panicked { kind, .. } => {
            Some(*kind)
        }
        _ => None,
    };
    let message = match kind {
        Some(Kind::Cpu) => "Failed to start CPU profile.".to_owned(),
        Some(kind) => format!("Failed to start {kind}."),
        None => "Failed to start.".to_owned(),
    };
    HttpRefusal::new(StatusCode::INTERNAL_SERVER_ERROR, message, error.chain())
}

/// Returns the refusal of one recording more than there are threads for.
pub(super) fn too_many(window: Duration) -> HttpRefusal {
    let seconds = window.as_secs_f64().ceil().max(1.0) as u64;
    HttpRefusal::new(
        StatusCode::CONFLICT,
        "Too many recordings are in progress. Try again later.",
        "",
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// Returns the refusal where many others wait for what is computed one after the other.
pub(super) fn too_many_waiting() -> HttpRefusal {
    let message = "Too many requests are waiting. Try again later.";
    HttpRefusal::new(StatusCode::SERVICE_UNAVAILABLE, message, "")
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

/// Returns the refusal where a picture would be empty.
pub(super) fn nothing_to_draw(error: &profile_analysis::Error) -> HttpRefusal {
    HttpRefusal::new(StatusCode::NOT_FOUND, "Nothing to draw.", error.to_string())
}

/// Returns the refusal where an answer could not be computed.
pub(super) fn failed(why: &str) -> HttpRefusal {
    HttpRefusal::new(StatusCode::INTERNAL_SERVER_ERROR, "Failed to compute.", why)
}

pub(super) fn not_started(why: &str) -> HttpRefusal {
    HttpRefusal::new(StatusCode::INTERNAL_SERVER_ERROR, "Failed to start.", why)
}

// Those of `/debug/pprof/*`, with Go's words where Go has some.

pub(super) fn unknown_profile() -> HttpRefusal {
    HttpRefusal::new(StatusCode::NOT_FOUND, "Unknown profile", "")
}

pub(super) fn bad_seconds() -> HttpRefusal {
    let message = "invalid value for \"seconds\" - must be a positive integer";
    HttpRefusal::new(StatusCode::BAD_REQUEST, message, "")
}

pub(super) fn seconds_too_many(max: Duration) -> HttpRefusal {
    let max = max.as_secs_f64();
    let message = format!("invalid value for \"seconds\" - must be from 1 to {max}");
    HttpRefusal::new(StatusCode::BAD_REQUEST, message, "")
}

/// Returns the refusal of a window that is too long, where parts of a second are taken.
pub(super) fn seconds_too_long(max: Duration) -> HttpRefusal {
    let max = max.as_secs_f64();
    let message =
        format!("invalid value for \"seconds\" - must be greater than 0, and at most {max}");
    HttpRefusal::new(StatusCode::BAD_REQUEST, message, "")
}

pub(super) fn seconds_with_debug() -> HttpRefusal {
    HttpRefusal::new(StatusCode::BAD_REQUEST, "seconds and debug params are incompatible", "")
}

pub(super) fn seconds_with_tasks() -> HttpRefusal {
    HttpRefusal::new(StatusCode::BAD_REQUEST, "seconds and tasks params are incompatible", "")
}

pub(super) fn bad_tasks(error: &UnknownDetail) -> HttpRefusal {
    let message = format!("invalid value for \"tasks\" - {error}");
    HttpRefusal::new(StatusCode::BAD_REQUEST, message, "")
}

pub(super) fn bad_hz(error: &InvalidRate) -> HttpRefusal {
    let message = format!("invalid value for \"hz\" - {error}");
    HttpRefusal::new(StatusCode::BAD_REQUEST, message, "")
}

pub(super) fn not_so(why: &Unavailable) -> HttpRefusal {
    let message = format!("failed to collect profile: {}", reason_and_hint(why));
    HttpRefusal::new(StatusCode::NOT_IMPLEMENTED, message, "")
}

pub(super) fn cpu_not_enabled(error: &Error) -> HttpRefusal {
    let message = format!("Could not enable CPU profiling: {}", error.chain());
    HttpRefusal::new(StatusCode::INTERNAL_SERVER_ERROR, message, "")
}

pub(super) fn trace_not_enabled(error: &Error) -> HttpRefusal {
    let message = format!("Could not enable tracing: {}", error.chain());
    HttpRefusal::new(StatusCode::INTERNAL_SERVER_ERROR, message, "")
}

pub(super) fn no_trace(why: &Unavailable) -> HttpRefusal {
    let message = format!("Could not enable tracing: {}", reason_and_hint(why));
    HttpRefusal::new(StatusCode::NOT_IMPLEMENTED, message, "")
}

pub(super) fn profile_failed(why: &str) -> HttpRefusal {
    let message = format!("failed to collect profile: {why}");
    HttpRefusal::new(StatusCode::INTERNAL_SERVER_ERROR, message, "")
}

pub(super) fn delta_failed(error: &MergeError) -> HttpRefusal {
    let message = format!("failed to compute delta: {error}");
    HttpRefusal::new(StatusCode::INTERNAL_SERVER_ERROR, message, "")
}

pub(super) fn client_left() -> HttpRefusal {
    HttpRefusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the client left", "")
}

pub(super) fn too_many_profiles(most: usize) -> HttpRefusal {
    let message = format!("{most} profiles are being collected already");
    HttpRefusal::new(StatusCode::SERVICE_UNAVAILABLE, message, "")
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

pub(super) fn too_large(what: &str, limit: usize) -> HttpRefusal {
    let message = format!("the {what} is larger than {limit} bytes");
    HttpRefusal::new(StatusCode::PAYLOAD_TOO_LARGE, message, "")
}

pub(super) fn not_read(error: &(dyn std::error::Error + Send + Sync)) -> HttpRefusal {
    HttpRefusal::new(StatusCode::BAD_REQUEST, format!("reading request: {error}"), "")
}
