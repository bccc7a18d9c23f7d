//! The JSON of `/goroutines`: a dump of this process, in groups. Its shape is `profile-analysis`'.

use std::time::SystemTime;

use bytes::Bytes;
use profile_analysis::dump;
use profile_analysis::groups::{GroupOptions, goroutines_json, group};
use profile_archive::rfc3339;
use profile_core::{Kind, single};

use super::super::ServiceState;
use super::super::packed;
use super::super::reply::{self, HttpRefusal};
use super::query::GoroutinesQuery;

/// Takes a dump and groups it.
pub(super) fn json(shared: &ServiceState, asked: GoroutinesQuery) -> Result<Bytes, HttpRefusal> {
    let in_detail = asked.tasks.map(|detail| shared.collectors.with_tasks(detail)).transpose();
    let in_detail = in_detail.map_err(|why| reply::unavailable(&why))?;
    let taken = rfc3339(SystemTime::now());
    let files = single::snapshot(in_detail.as_ref().unwrap_or(&shared.collectors), Kind::Goroutine)
        .map_err(|error| reply::failed(&error.chain()))?;
    // The text knows more than the profile: ids, and how long each has waited.
    let text = files.iter().find(|file| file.name.ends_with(".txt"));
    let text = text.ok_or_else(|| reply::failed("the dump has no text"))?;
    let dump = dump::parse(&text.bytes);
    let groups = group(&dump, &shared.rules, &GroupOptions::default());
    let raw = asked.raw.then(|| String::from_utf8_lossy(&text.bytes));
    packed::pack_json(&goroutines_json(&groups, Some(&taken), raw.as_deref()))
}
