//! The endpoints that every Go service has, and what they answer.

use profile_core::{Kind, Unavailable};

use super::content::ContentForm;

/// An endpoint to fetch from, and the form of its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndpointFetch {
    pub(super) kind: Kind,
    pub(super) form: ContentForm,
    /// The name of the endpoint.
    pub(super) endpoint: &'static str,
    /// The debug level, for a dump as text.
    pub(super) debug: Option<&'static str>,
}

impl EndpointFetch {
    /// Returns the endpoint that a kind has in every Go service.
    pub(super) fn of(kind: Kind) -> EndpointFetch {
        let facts = kind.facts();
        let form = if facts.profile.is_some() { ContentForm::Profile } else { ContentForm::Trace };
        EndpointFetch { kind, form, endpoint: facts.endpoint, debug: None }
    }

    /// The dump of goroutines as text, which says how long each has waited.
    pub(super) const DUMP: EndpointFetch = EndpointFetch {
        kind: Kind::Goroutine,
        form: ContentForm::Dump,
        endpoint: Kind::Goroutine.facts().endpoint,
        debug: Some("2"),
    };
}

/// Says that a service lacks a kind.
pub(super) fn absent(kind: Kind) -> Unavailable {
    let endpoint = EndpointFetch::of(kind).endpoint;
    Unavailable::new(kind, format!("the service has no /debug/pprof/{endpoint}"), "")
}
