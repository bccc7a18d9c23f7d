//! What the live page shows, and programs may read: `/stats`, `/goroutines`, `/metrics`, `/flame`.
//!
//! Nothing is computed while nobody asks, but for the collector's look once a period. Readers who
//! ask at the same time share one computation. It runs on a thread of the endpoint's, because the
//! service's own pool may be what is stuck. Only `/metrics`, which is such a look as text, is made where
//! it is answered.

mod allocations;
mod flame;
mod frame_table;
mod goroutines;
mod leaks;
mod metrics;
mod query;
mod single_flight;
mod stats;
mod work_thread;

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response};
use profile_core::Kind;
use profile_core::stats::{Settings, Stats};

pub(super) use flame::flame;

use super::reply::{self, HttpRefusal, HttpReply};
use super::{Body, ServiceState, packed};
use leaks::LeakWatch;
use single_flight::SingleFlights;

/// The data that the endpoints keep between requests.
pub(super) struct LiveData {
    /// The collector of statistics; `None` where it was switched off, or no thread was to be had.
    collector: Option<Stats>,
    started: SystemTime,
    /// The memory that the sites held at earlier requests.
    watch: Mutex<LeakWatch>,
    stats: SingleFlights<query::StatsQuery>,
    goroutines: SingleFlights<query::GoroutinesQuery>,
    flames: Arc<()>,
}

impl LiveData {
    /// Starts the collector.
    pub(super) fn start(settings: Option<Settings>) -> LiveData {
        let collector = settings.and_then(|settings| match Stats::start(settings) {
            Ok(collector) => Some(collector),
            Err(error) => {
                tracing::warn!(target: "profilez", %error, "no statistics collector");
                None
            }
        });
        LiveData {
            collector,
            started: SystemTime::now(),
            watch: Mutex::default(),
            stats: SingleFlights::default(),
            goroutines: SingleFlights::default(),
            flames: Arc::default(),
        }
    }
}

/// Answers `/stats`: the figures now, their history, and the largest allocation sites.
pub(super) async fn stats(shared: &Arc<ServiceState>, request: &Parts) -> HttpReply {
    let asked = query::parse_stats(request.uri.query().unwrap_or(""))?;
    let work = Arc::clone(shared);
    let json = shared.live.stats.share(asked.clone(), move || stats::json(&work, &asked));
    answer_json(request, json).await
}

/// Answers `/goroutines`: threads and tasks in groups, those that look stuck first.
pub(super) async fn goroutines(shared: &Arc<ServiceState>, request: &Parts) -> HttpReply {
    let asked = query::parse_goroutines(request.uri.query().unwrap_or(""))?;
    let work = Arc::clone(shared);
    let kind = shared.collectors.collector(Kind::Goroutine);
    kind.check().map_err(|why| reply::unavailable(&why))?;
    let json = shared.live.goroutines.share(asked, move || goroutines::json(&work, asked));
    answer_json(request, json).await
}

/// Answers `/metrics`: the figures in Prometheus' text format.
pub(super) fn metrics(shared: &ServiceState) -> Response<Body> {
    let mut response = Response::new(Body::full(metrics::render_metrics(shared).into()));
    let prometheus = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, prometheus);
    response
}

/// Answers with JSON that is computed; of which nothing is, where the head alone is asked for.
async fn answer_json(
    request: &Parts,
    computed: impl Future<Output = Result<Bytes, HttpRefusal>>,
) -> HttpReply {
    let packed = if request.method == Method::HEAD { None } else { Some(computed.await?) };
    Ok(packed::response(&request.headers, packed::JSON, packed))
}
