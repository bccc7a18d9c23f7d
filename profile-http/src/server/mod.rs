//! The debug endpoints as a service: who may ask, which path, which answer.
//!
//! ```no_run
//! use profile_http::server::{DebugService, Token};
//!
//! # fn main() -> profile_http::Result<()> {
//! let token = std::env::var("DEBUG_TOKEN").unwrap_or_default();
//! DebugService::builder("shop")
//!     .version(env!("CARGO_PKG_VERSION"))
//!     .authorizer(Token::new(&token)?)
//!     .build()
//!     .serve("0.0.0.0:6060")?;
//! # Ok(())
//! # }
//! ```

mod access;
mod body;
mod bundle;
mod listen;
mod live;
mod packed;
mod page;
mod pipe;
mod pprof;
mod read_body;
mod reply;
mod token;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Request, Response};
use profile_analysis::rules::RuleSet;
use profile_core::stats::{Runtime, Settings};
use profile_core::{Available, BoxError, Collectors, DEFAULT_MAX_WINDOW, Gate, OwnWork, Process};

pub use access::{Authorizer, Denied, Identity, Peer};
pub use body::{Body, BodyError};
pub use listen::Server;
pub use token::Token;

/// The debug endpoints, as a service for `hyper`, `tower` and `axum`.
///
/// Clones are cheap and share one state.
#[derive(Clone)]
pub struct DebugService {
    shared: Arc<ServiceState>,
}

/// The state that every request needs.
struct ServiceState {
    service: String,
    version: String,
    process: Process,
    prefix: String,
    collectors: Collectors,
    gate: Gate,
    authorizer: Option<Arc<dyn Authorizer>>,
    max_window: Duration,
    patience: Duration,
    /// The threads of collections that may still be at work.
    collections: Mutex<Vec<JoinHandle<()>>>,
    taking: pprof::TakingThreads,
    live: live::LiveData,
    /// The rules that say what threads and tasks are for.
    rules: RuleSet,
}

/// Settings of a [`DebugService`].
#[must_use = "a builder does nothing until it is built"]
pub struct DebugServiceBuilder {
    shared: ServiceState,
    stats: Option<Settings>,
}

/// Time that a client that reads slowly may hold the gate, beyond the window.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

impl DebugService {
    /// Returns settings for a service of this name, which becomes part of bundles' names.
    pub fn builder(service: impl Into<String>) -> DebugServiceBuilder {
        // The rules that are read here stay, and are none of the program's.
        let _own = OwnWork::begin();
        DebugServiceBuilder {
            shared: ServiceState {
                service: service.into(),
                version: String::new(),
                process: Process::current(),
                prefix: "/debug".to_owned(),
                collectors: Collectors::new(),
                gate: Gate::process(),
                authorizer: None,
                max_window: DEFAULT_MAX_WINDOW,
                patience: DEFAULT_PATIENCE,
                collections: Mutex::default(),
                taking: pprof::TakingThreads::default(),
                live: live::LiveData::start(None),
                rules: RuleSet::shipped().clone(),
            },
            stats: Some(Settings::default()),
        }
    }

    /// Returns the kinds that this process can give now, and why not the rest.
    pub fn available(&self) -> Available {
        self.shared.collectors.available().with_max_window(self.shared.max_window)
    }

    /// Answers one request. Bodies are read of two alone: `POST /debug/profile` with a form in it, and
    /// `POST /debug/pprof/symbol`. A request that is not let in gets an answer of less than 4 KiB which, where
    /// it is HTTP/1, asks for the connection to be closed.
    pub async fn respond<B: RequestBody>(self, request: Request<B>) -> Response<Body> {
        self.respond_and_tell(request, |_| ()).await
    }

    /// Answers one request as `respond` does, and tells who was let in as soon as it is known.
    /// Access comes first, for every path.
    async fn respond_and_tell<B: RequestBody>(
        self,
        request: Request<B>,
        tell: impl FnOnce(&Result<Identity, Denied>) + Send,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().strip_prefix(&self.shared.prefix).unwrap_or_default();
        let form = pprof::below(path).map_or(reply::RefusalForm::Json, |_| reply::RefusalForm::Go);
        let access = access::authorize_request(self.shared.authorizer.as_deref(), &parts);
        tell(&access);
        match access {
            Ok(caller) => reply::finish(self.shared.route(path, &parts, body, caller).await, form),
            Err(denied) => {
                let mut response = reply::finish(refuse(path, &parts, denied), form);
                reply::close(&mut response, parts.version);
                response
            }
        }
    }
}

impl DebugServiceBuilder {
    /// Sets the service's version, for manifests.
    pub fn version(mut self, version: impl Into<String>) -> DebugServiceBuilder {
        self.shared.version = version.into();
        self
    }

    /// Sets the path under which the endpoints stand, `/debug` by default. Empty where the server
    /// that mounts the service strips the prefix.
    pub fn prefix(mut self, prefix: &str) -> DebugServiceBuilder {
        let trimmed = prefix.trim_matches('/');
        self.shared.prefix = if trimmed.is_empty() { String::new() } else { format!("/{trimmed}") };
        self
    }

    /// Sets who may ask. Without an authorizer only this host may, through loopback or a unix
    /// socket.
    pub fn authorizer(mut self, authorizer: impl Authorizer + 'static) -> DebugServiceBuilder {
        self.shared.authorizer = Some(Arc::new(authorizer));
        self
    }

    /// Sets the collectors to use instead of the built-in ones.
    pub fn collectors(mut self, collectors: Collectors) -> DebugServiceBuilder {
        self.shared.collectors = collectors;
        self
    }

    /// Sets a gate of its own instead of the process's, for collectors that share nothing with
    /// others.
    pub fn gate(mut self, gate: Gate) -> DebugServiceBuilder {
        self.shared.gate = gate;
        self
    }

    /// Sets the longest window that may be asked for; a minute by default.
    pub fn max_window(mut self, max_window: Duration) -> DebugServiceBuilder {
        self.shared.max_window = max_window;
        self
    }

    /// Sets how long in all a collection may wait for a client that reads slowly or not at all,
    /// beyond the window; half a minute by default. After that the answer is cut off.
    pub fn patience(mut self, patience: Duration) -> DebugServiceBuilder {
        self.shared.patience = patience;
        self
    }

    /// Sets how often the statistics are looked at and how far their history goes back; `None`
    /// switches the collector off. By default every 10 s, and 5 minutes.
    pub fn stats(mut self, settings: impl Into<Option<Settings>>) -> DebugServiceBuilder {
        self.stats = settings.into();
        self
    }

    /// Sets the async runtime whose tasks, workers and queue the statistics show: what it says of
    /// itself without `tokio_unstable`.
    pub fn runtime(mut self, runtime: &tokio::runtime::Handle) -> DebugServiceBuilder {
        let metrics = runtime.metrics();
        if let Some(stats) = &mut self.stats {
            stats.runtime = Some(Arc::new(move || runtime_figures(&metrics)));
        }
        self
    }

    /// Sets rules that say what threads and tasks of this service are for, to be asked before the
    /// shipped ones.
    pub fn rules(mut self, rules: RuleSet) -> DebugServiceBuilder {
        self.shared.rules = rules.then(RuleSet::shipped().clone());
        self
    }

    /// Returns the finished service. From here on the statistics are collected, by a thread that
    /// ends with the service's last clone. Built on a thread of an async runtime, they show that one's
    /// tasks, unless [`DebugServiceBuilder::runtime`] named another.
    pub fn build(mut self) -> DebugService {
        let _own = OwnWork::begin();
        let is_named = self.stats.as_ref().is_none_or(|stats| stats.runtime.is_some());
        if !is_named && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self = self.runtime(&runtime);
        }
        let shared = ServiceState { live: live::LiveData::start(self.stats), ..self.shared };
        DebugService { shared: Arc::new(shared) }
    }
}

/// Returns the figures that a runtime gives of itself. A processor without wide atomics leaves some
/// of them out.
#[allow(clippy::needless_update)]
fn runtime_figures(metrics: &tokio::runtime::RuntimeMetrics) -> Runtime {
    let workers = 0..metrics.num_workers();
    Runtime {
        workers: Some(workers.len() as u64),
        tasks: Some(metrics.num_alive_tasks() as u64),
        queued: Some(metrics.global_queue_depth() as u64),
        #[cfg(target_has_atomic = "64")]
        busy: Some(workers.clone().map(|w| metrics.worker_total_busy_duration(w)).sum()),
        #[cfg(target_has_atomic = "64")]
        parks: Some(workers.map(|worker| metrics.worker_park_count(worker)).sum()),
        ..Runtime::default()
    }
}

impl ServiceState {
    /// Keeps hold of a collection's thread.
    fn keep_thread(&self, collection: JoinHandle<()>) {
        let mut kept = self.collections.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|collection| !collection.is_finished());
        kept.push(collection);
    }

    /// Waits until every collection has ended whose client is gone.
    fn wait_for_collections(&self) {
        let mut kept = self.collections.lock().unwrap_or_else(PoisonError::into_inner);
        for collection in std::mem::take(&mut *kept) {
            // A panic in it was reported where it happened, and everything was undone.
            let _ = collection.join();
        }
    }

    /// Looks at the path, then at the method, for a caller who was let in.
    async fn route<B: RequestBody>(
        self: &Arc<Self>,
        path: &str,
        request: &Parts,
        body: B,
        caller: Identity,
    ) -> reply::HttpReply {
        if let Some(rest) = pprof::below(path) {
            return pprof::answer(self, rest, request, body, caller).await;
        }
        match (path, &request.method) {
            ("/profile", &Method::GET | &Method::HEAD | &Method::POST) => {
                let query = bundle::request_query(request, body).await?;
                bundle::answer(Arc::clone(self), &query, request, caller).await
            }
            ("/profile", _) => Err(reply::wrong_method("GET, HEAD, POST")),
            // A path that is not below the prefix is empty here too.
            ("", _) if request.uri.path() != self.prefix => Err(reply::no_such_path(&self.prefix)),
            ("" | "/" | "/stats" | "/goroutines" | "/flame" | "/metrics", method)
                if method != Method::GET && method != Method::HEAD =>
            {
                Err(reply::wrong_method("GET, HEAD"))
            }
            ("", _) => Ok(page::redirect(&self.prefix)),
            ("/", _) => Ok(page::page(request)),
            ("/stats", _) => live::stats(self, request).await,
            ("/goroutines", _) => live::goroutines(self, request).await,
            ("/flame", _) => live::flame(self, request).await,
            ("/metrics", _) => Ok(live::metrics(self)),
            _ => Err(reply::no_such_path(&self.prefix)),
        }
    }
}

/// Returns the answer to a request that is not let in.
fn refuse(path: &str, request: &Parts, denied: Denied) -> reply::HttpReply {
    match denied {
        // It is how a person at a browser gives the token.
        Denied::Unauthenticated if page::is_browser_visit(path, request) => {
            Ok(page::locked_page(request))
        }
        denied => Err(reply::denied(denied)),
    }
}

/// The body of a request, as any server has it: every `http_body::Body` whose errors are errors.
pub trait RequestBody: http_body::Body<Error: Into<BoxError>, Data: Send> + Send + 'static {}

impl<B> RequestBody for B where
    B: http_body::Body<Error: Into<BoxError>, Data: Send> + Send + 'static
{
}

type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<B: RequestBody> hyper::service::Service<Request<B>> for DebugService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<B>) -> ResponseFuture {
        let service = self.clone();
        Box::pin(async move { Ok(service.respond(request).await) })
    }
}

impl<B: RequestBody> tower_service::Service<Request<B>> for DebugService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        hyper::service::Service::call(self, request)
    }
}
