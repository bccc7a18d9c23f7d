//! A `tower` layer that makes each request a task with its method and route as the name.
//!
//! Paths come from outside: what looks like an id becomes `{id}`, and of all routes of a process the
//! first 512 are told apart.

use std::borrow::Cow;
use std::collections::HashSet;
use std::panic::Location;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::task::{Context, Poll};

use http::{Method, Request};
use profile_core::task::{Instrument as _, Instrumented, named};
use tower_layer::Layer;
use tower_service::Service;

/// Makes each request that goes through a task of its own, as far as dumps and traces are concerned:
/// `GET /users/{id}`, in the category `per-request`.
///
/// ```
/// use profile_http::tasks::RequestTasks;
/// use tower_layer::Layer as _;
///
/// # struct Service;
/// let service = RequestTasks::new().layer(Service);
/// # let _ = service;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RequestTasks {
    place: &'static Location<'static>,
}

impl RequestTasks {
    /// Returns the layer. Tasks are said to be started where this is called.
    #[track_caller]
    pub fn new() -> RequestTasks {
        RequestTasks { place: Location::caller() }
    }
}

impl Default for RequestTasks {
    #[track_caller]
    fn default() -> RequestTasks {
        RequestTasks::new()
    }
}

impl<S> Layer<S> for RequestTasks {
    type Service = WithRequestTasks<S>;

    fn layer(&self, inner: S) -> WithRequestTasks<S> {
        WithRequestTasks { inner, place: self.place }
    }
}

/// A service whose requests are tasks.
#[derive(Clone, Copy, Debug)]
pub struct WithRequestTasks<S> {
    inner: S,
    place: &'static Location<'static>,
}

impl<S, B> Service<Request<B>> for WithRequestTasks<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Instrumented<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let name = names().of(request.method(), request.uri().path());
        let task = named(name).per_request().started_at(self.place);
        self.inner.call(request).instrument(task)
    }
}

/// The most routes that are told apart.
const ROUTES: usize = 512;
/// The most segments of a path that are kept.
const SEGMENTS: usize = 8;
/// The longest segment, in bytes, that can be a word of a route.
const SEGMENT: usize = 32;

/// The names of routes, each kept for as long as the program runs: a version at a route's end is part
/// of it, and would be cut off a name that is made up anew for each request.
#[derive(Default)]
struct RequestNames(RwLock<HashSet<&'static str>>);

impl RequestNames {
    fn of(&self, method: &Method, path: &str) -> Cow<'static, str> {
        let name = format!("{} {}", word(method), route(path));
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(&name) = known.get(&*name) {
            return Cow::Borrowed(name);
        }
        let is_full = known.len() >= ROUTES;
        drop(known);
        // Unknown routes are no reason to wait for each other.
        if is_full { other(method) } else { self.add(name).unwrap_or_else(|| other(method)) }
    }

    /// Keeps a name, if there is room for it.
    fn add(&self, name: String) -> Option<Cow<'static, str>> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(&name) = known.get(&*name) {
            return Some(Cow::Borrowed(name));
        }
        if known.len() >= ROUTES {
            return None;
        }
        let name: &'static str = name.leak();
        known.insert(name);
        Some(Cow::Borrowed(name))
    }
}

fn names() -> &'static RequestNames {
    static NAMES: OnceLock<RequestNames> = OnceLock::new();
    NAMES.get_or_init(RequestNames::default)
}

fn other(method: &Method) -> Cow<'static, str> {
    Cow::Owned(format!("{} (other routes)", word(method)))
}

/// Returns a method's name, where it is one of those that everybody knows.
fn word(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::HEAD
        | Method::OPTIONS
        | Method::PATCH
        | Method::CONNECT
        | Method::TRACE => method.as_str(),
        _ => "OTHER",
    }
}

/// Returns a path as a route.
fn route(path: &str) -> String {
    let mut route = String::new();
    let mut segments = path.split('/').skip(1);
    for segment in segments.by_ref().take(SEGMENTS) {
        route.push('/');
        route.push_str(if is_id(segment) { "{id}" } else { segment });
    }
    if segments.next().is_some() {
        route.push_str("/…");
    }
    if route.is_empty() { "*".to_owned() } else { route }
}

/// Returns whether a segment of a path looks as if there were many like it: it has a number in it
/// that is not a version's, or is long, or has characters that no route has.
fn is_id(segment: &str) -> bool {
    let version = segment
        .strip_prefix('v')
        .is_some_and(|rest| rest.len() <= 2 && rest.bytes().all(|byte| byte.is_ascii_digit()));
    let plain = |byte: u8| byte.is_ascii_alphabetic() || b"-_.~:".contains(&byte);
    !version && (segment.len() > SEGMENT || !segment.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_routes() {
        for (path, expected) in [
            ("/", "/"),
            ("*", "*"),
            ("/users/17/orders", "/users/{id}/orders"),
            ("/v1/users/0f8fad5b-d9cb-469f-a165-70867728950e", "/v1/users/{id}"),
            ("/files/%2e%2e/x", "/files/{id}/x"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/…"),
            ("/debug/pprof/", "/debug/pprof/"),
        ] {
            assert_eq!(route(path), expected);
        }
        assert_eq!(route(&format!("/{}", "x".repeat(33))), "/{id}");
    }

    #[test]
    fn routes_that_come_from_outside_are_bounded() {
        let letters = |mut n: usize| {
            let mut word = String::new();
            while n > 0 {
                word.push((b'a' + (n % 26) as u8) as char);
                n /= 26;
            }
            word
        };
        let names = RequestNames::default();
        let seen: HashSet<_> =
            (1..5000).map(|n| names.of(&Method::GET, &format!("/{}", letters(n)))).collect();
        assert!(seen.len() <= ROUTES + 1, "{}", seen.len());
        assert!(seen.contains("GET (other routes)"));

        // Once there is no room, nobody waits for those who look.
        let looking = names.0.read().unwrap();
        let (done, named) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| done.send(names.of(&Method::GET, "/unknown")));
            let name = named.recv_timeout(std::time::Duration::from_secs(30));
            drop(looking);
            assert_eq!(name.as_deref(), Ok("GET (other routes)"));
        });
    }

    #[test]
    fn versions_are_told_apart() {
        struct PendingService;
        impl Service<Request<()>> for PendingService {
            type Response = ();
            type Error = ();
            type Future = std::future::Pending<Result<(), ()>>;
            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
                Poll::Ready(Ok(()))
            }
            fn call(&mut self, _: Request<()>) -> Self::Future {
                std::future::pending()
            }
        }
        let mut service = RequestTasks::new().layer(PendingService);
        let mut ask = |path: &str| service.call(Request::get(path).body(()).unwrap());
        let _requests = ["/api/v1", "/api/v2", "/api/v2", "/api/17"].map(&mut ask);
        let mut seen = Vec::new();
        profile_core::task::all(&mut |task| seen.push(task.kind.name().to_owned()));
        seen.retain(|name| name.contains("/api/"));
        seen.sort();
        assert_eq!(seen, ["GET /api/v1", "GET /api/v2", "GET /api/v2", "GET /api/{id}"]);
    }
}
