//! What the live page shows, and programs may read: `/stats`, `/goroutines`, `/metrics`, `/flame`.
//!
//! Nothing is computed while nobody asks, but for the collector's look once a period. Readers who
//! ask at the same time share one computation. It runs on a thread of its own, because the service's
//! own pool may be what is stuck. Only `/metrics`, which is such a look as text, is made where it is
//! answered.

mod allocations;
mod flame;
mod goroutines;
mod leaks;
mod metrics;
mod query;
mod single_flight;
mod stats;

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderValue};
use profile_core::stats::{Settings, Stats};

pub(super) use flame::flame;

use super::reply::HttpReply;
use super::{Body, ServiceState};
use leaks::LeakWatch;
use single_flight::SingleFlights;

/// The data that the endpoints keep between requests.
pub(super) struct LiveData {
    /// The collector of statistics; `None` where it was switched off, or no thread was to be had.
    collector: Option<Stats>,
    started: SystemTime,
    /// The memory that the sites held at earlier requests.
    watch: Mutex<LeakWatch>,
    stats: SingleFlights<usize>,
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
pub(super) async fn stats(shared: &Arc<ServiceState>, query: &str) -> HttpReply {
    let limit = query::parse_stats(query)?;
    let work = Arc::clone(shared);
    let json = shared.live.stats.share(limit, move || stats::json(&work, limit)).await?;
    Ok(answer("application/json; charset=utf-8", json))
}

/// Answers `/goroutines`: threads and tasks in groups, those that look stuck first.
pub(super) async fn goroutines(shared: &Arc<ServiceState>, query: &str) -> HttpReply {
    let asked = query::parse_goroutines(query)?;
    let work = Arc::clone(shared);
    let json = shared.live.goroutines.share(asked, move || goroutines::json(&work, asked)).await?;
    Ok(answer("application/json; charset=utf-8", json))
}

/// Answers `/metrics`: the figures in Prometheus' text format.
pub(super) fn metrics(shared: &ServiceState) -> Response<Body> {
    answer("text/plain; version=0.0.4; charset=utf-8", metrics::render_metrics(shared).into())
}

fn answer(content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
