//! `manifest.json`: what a bundle says of itself.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use profile_format::{Kind, Unavailable};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The version of the bundle format that this crate writes.
pub const FORMAT: u32 = 1;

/// The name of the entry that holds the manifest, and that no other entry may have.
pub const MANIFEST_NAME: &str = "manifest.json";

/// The facts of a collection that are known when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The service that was profiled.
    pub service: String,
    /// Its version.
    pub version: String,
    /// The host it runs on.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// The build id of its executable, in hex; empty where it is not known.
    pub build_id: String,
    /// Time at which the window was opened.
    pub started: SystemTime,
    /// Time that the timed kinds record.
    pub window: Duration,
    /// The way in which the profiles were fetched.
    pub source: Source,
    /// The sampling rate of each kind that has one, in the unit of its collector.
    pub rates: BTreeMap<Kind, u64>,
}

/// The way in which the profiles of a bundle came together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Source {
    /// One session of one process took them all.
    #[default]
    Consolidated,
    /// They were fetched one by one, so that their windows differ.
    Individual,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

/// The content of `manifest.json`.
///
/// Kinds are text, because a later version may know more of them than [`Kind`]. On reading, unknown
/// fields are ignored and absent ones have their empty value, except for `format` and for the names
/// and kinds in the lists. The texts are the writer's: escape them before they go to a terminal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format, [`FORMAT`].
    pub format: u32,
    /// The service that was profiled.
    #[serde(default)]
    pub service: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The host it ran on.
    #[serde(default)]
    pub host: String,
    /// Its process id.
    #[serde(default)]
    pub pid: u32,
    /// The build id of its executable, in hex; empty where it is not known.
    #[serde(default)]
    pub build_id: String,
    /// Time at which the window was opened: RFC 3339 in UTC with milliseconds.
    #[serde(default)]
    pub started: String,
    /// The length of the window in seconds.
    #[serde(default)]
    pub window_seconds: f64,
    /// The way in which the profiles were fetched.
    #[serde(default)]
    pub source: Source,
    /// The sampling rate of each kind that has one.
    #[serde(default)]
    pub rates: BTreeMap<String, u64>,
    /// The command line of the process where whoever collected asked for it: without what may be a
    /// secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cmdline: Vec<String>,
    /// The reason why the collection ended before everything was there; empty where it didn't.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub incomplete: String,
    /// The entries, in the order they were written.
    #[serde(default)]
    pub entries: Vec<ManifestEntry>,
    /// The kinds that the process can't give.
    #[serde(default)]
    pub unavailable: Vec<ManifestUnavailable>,
    /// The kinds that failed.
    #[serde(default)]
    pub errors: Vec<ManifestError>,
}

// The lists' names and kinds must be there: a list of `{}` would take 30 times its size in memory.

/// One entry, as the manifest tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Its name.
    pub name: String,
    /// The kind it belongs to.
    pub kind: String,
    /// Its size in bytes.
    #[serde(default)]
    pub bytes: u64,
    /// The SHA-256 of its bytes, in lower-case hex.
    #[serde(default)]
    pub sha256: String,
    /// Time that it took, the window included where the kind records one, in seconds.
    #[serde(default)]
    pub took_seconds: f64,
}

/// A kind that the process can't give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestUnavailable {
    /// The kind.
    pub kind: String,
    /// The reason why it can't be had.
    #[serde(default)]
    pub reason: String,
    /// The thing to switch on to get it; empty where nothing helps.
    #[serde(default)]
    pub hint: String,
}

/// A kind that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestError {
    /// The kind.
    pub kind: String,
    /// The error and its causes, on one line.
    #[serde(default)]
    pub error: String,
}

impl Manifest {
    /// Returns the manifest of a bundle without entries.
    pub fn new(header: Header) -> Manifest {
        Manifest {
            format: FORMAT,
            service: header.service,
            version: header.version,
            host: header.host,
            pid: header.pid,
            build_id: header.build_id,
            started: rfc3339(header.started),
            window_seconds: header.window.as_secs_f64(),
            source: header.source,
            rates: header
                .rates
                .into_iter()
                .map(|(kind, rate)| (kind.name().to_owned(), rate))
                .collect(),
            cmdline: Vec::new(),
            incomplete: String::new(),
            entries: Vec::new(),
            unavailable: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Returns the time at which the window was opened; `None` where `started` is not an RFC 3339
    /// time.
    pub fn started_at(&self) -> Option<SystemTime> {
        let nanos = OffsetDateTime::parse(&self.started, &Rfc3339).ok()?.unix_timestamp_nanos();
        // The years 0 to 9999 in nanoseconds need 69 bits.
        let distance = nanos.unsigned_abs();
        let distance = Duration::new(
            u64::try_from(distance / 1_000_000_000).ok()?,
            u32::try_from(distance % 1_000_000_000).ok()?,
        );
        if nanos < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        }
    }
}

impl From<&Unavailable> for ManifestUnavailable {
    fn from(unavailable: &Unavailable) -> ManifestUnavailable {
        ManifestUnavailable {
            kind: unavailable.kind.name().to_owned(),
            reason: unavailable.reason.clone(),
            hint: unavailable.hint.clone(),
        }
    }
}

/// Formats a time in UTC with milliseconds. A time outside the years 1970 to 9999 is a clock that
/// was never set, and written as the epoch.
pub fn rfc3339(time: SystemTime) -> String {
    let utc = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .and_then(|millis| {
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()
        })
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        utc.year(),
        u8::from(utc.month()),
        utc.day(),
        utc.hour(),
        utc.minute(),
        utc.second(),
        utc.millisecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            service: "shop".into(),
            version: "1.4.2".into(),
            host: "web-3".into(),
            pid: 4711,
            build_id: "c0ffee".into(),
            started: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_999),
            window: Duration::from_millis(2_500),
            source: Source::Individual,
            rates: BTreeMap::from([(Kind::Cpu, 100), (Kind::Heap, 524_288)]),
        }
    }

    #[test]
    fn is_written_as_the_contract_says() {
        let mut manifest = Manifest::new(header());
        manifest.entries.push(ManifestEntry {
            name: "cpu.prof".into(),
            kind: "cpu".into(),
            bytes: 1,
            sha256: "00".into(),
            took_seconds: 2.5,
        });
        manifest.unavailable.push((&Unavailable::new(Kind::Block, "no", "yes")).into());
        manifest.errors.push(ManifestError { kind: "heap".into(), error: "a: b".into() });
        let expected = serde_json::json!({
            "format": 1, "service": "shop", "version": "1.4.2", "host": "web-3", "pid": 4711,
            "build_id": "c0ffee", "started": "2023-11-14T22:13:20.123Z", "window_seconds": 2.5,
            "source": "individual", "rates": { "cpu": 100, "heap": 524_288 },
            "entries": [{
                "name": "cpu.prof", "kind": "cpu", "bytes": 1, "sha256": "00", "took_seconds": 2.5
            }],
            "unavailable": [{ "kind": "block", "reason": "no", "hint": "yes" }],
            "errors": [{ "kind": "heap", "error": "a: b" }],
        });
        assert_eq!(serde_json::to_value(&manifest).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Manifest>(expected).unwrap(), manifest);
    }

    #[test]
    fn tolerates_other_writers() {
        let text = r#"{ "format": 7, "source": "relayed", "more": [[{}]], "rates": { "gpu": 1 },
            "entries": [{ "name": "gpu.prof", "kind": "gpu", "colour": "red" }],
            "errors": [{ "kind": "fd" }] }"#;
        let manifest: Manifest = serde_json::from_str(text).unwrap();
        assert_eq!((manifest.format, manifest.source), (7, Source::Unknown));
        assert_eq!(manifest.entries[0].kind, "gpu");
        assert_eq!(manifest.errors[0].kind, "fd");
        assert_eq!(manifest.started_at(), None);
        assert!(serde_json::from_str::<Manifest>("{}").is_err());
    }

    #[test]
    fn times_round_trip_to_the_millisecond() {
        let check = |time: SystemTime, text: &str, back: Option<SystemTime>| {
            let manifest = Manifest::new(Header { started: time, ..header() });
            assert_eq!(manifest.started, text);
            assert_eq!(manifest.started_at(), back);
        };
        let epoch = SystemTime::UNIX_EPOCH;
        let leap_day = epoch + Duration::from_millis(1_709_210_096_007);
        check(leap_day, "2024-02-29T12:34:56.007Z", Some(leap_day));
        check(epoch, "1970-01-01T00:00:00.000Z", Some(epoch));
        check(epoch - Duration::from_secs(1), "1970-01-01T00:00:00.000Z", Some(epoch));
        let never = epoch + Duration::from_secs(1 << 40);
        check(never, "1970-01-01T00:00:00.000Z", Some(epoch));
    }

    #[test]
    fn a_time_from_elsewhere_is_understood_or_none() {
        let at = |started: &str| {
            Manifest { started: started.to_owned(), ..Manifest::default() }.started_at()
        };
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(at("1970-01-01T02:00:01+02:00"), Some(epoch + Duration::from_secs(1)));
        assert_eq!(at("1969-12-31T23:59:59.5Z"), Some(epoch - Duration::from_millis(500)));
        assert_eq!(at("yesterday"), None);
        assert_eq!(at(""), None);
    }
}
