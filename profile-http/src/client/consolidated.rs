//! One request for everything: our `/debug/profile`, or any endpoint that answers with a `tar.gz` of
//! profiles. What has no manifest of ours gets one, and so does what breaks off.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

use profile_archive::{BundleReader, Contents, EntryName, Header, Limits, Problem, Source};
use ureq::Body;
use ureq::http::{HeaderMap, Response, header};
use url::Url;

use super::exchange::{content_type, redacted, request_error};
use super::losses::{self, SortedWarnings, kind_of_entry};
use super::output::{BundleEnd, BundleOutput, ServiceManifest};
use super::retry::RetryBudget;
use super::{Client, Collected, Progress, Request};
use crate::{Error, Result};

/// An answer that says of itself that it is a bundle.
pub(super) struct BundleAnswer {
    url: Url,
    response: Response<Body>,
}

/// The header in which a service says what format its bundle is in.
const FORMAT_HEADER: &str = "profilez-format";

/// Number of bytes that are not told as progress: the first pieces of a bundle come while the window
/// is still open.
const RECORDING: u64 = 64;

/// Asks for a bundle, as soon as the service has time for it.
pub(super) fn ask(
    client: &Client,
    request: &Request,
    budget: RetryBudget,
    progress: &mut dyn FnMut(Progress),
) -> Result<BundleAnswer> {
    let url = client.target.bundle(request);
    let response = client
        .retry_within(budget, request.window(), progress, || client.post(&url, budget.left()))?;
    let content_type = content_type(response.headers());
    let is_bundle = ["application/gzip", "application/x-gzip", "application/octet-stream"]
        .iter()
        .any(|gzip| content_type.starts_with(gzip));
    if is_bundle {
        Ok(BundleAnswer { url, response })
    } else {
        Err(Error::NotABundle { url: redacted(&url), content_type })
    }
}

/// Passes a bundle on, entry by entry.
pub(super) fn collect(
    client: &Client,
    request: &Request,
    answer: BundleAnswer,
    to: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<Collected> {
    let BundleAnswer { url, response } = answer;
    let file_name = file_name(response.headers());
    // Ours says that a manifest will come; other servers' archives have none.
    let promised = response.headers().contains_key(FORMAT_HEADER);
    progress(Progress::Recording);
    let mut stream = BundleStream {
        body: response.into_body().into_reader(),
        url: &url,
        limit: client.limit,
        bytes: 0,
        failed: None,
        progress,
    };
    let mut output = BundleOutput::begin(to, header(client, request, file_name.as_deref()))?;
    let limits = Limits::default();
    let (json, contents) = match BundleReader::open(&mut stream, &limits) {
        Ok(mut reader) => {
            let empty = pass_on(&mut reader, &mut output);
            // Where writing failed there is still the manifest to come.
            while reader.next_entry().is_some() {}
            let json = reader.manifest_json().to_vec();
            for name in empty {
                output.empty(&kind_of_entry(&name), &name, !json.is_empty());
            }
            (json, Some(reader.finish()))
        }
        Err(_) => (Vec::new(), None),
    };
    let (bytes, failed) = (stream.bytes, stream.failed);
    let nothing = || Error::NoBundle { url: redacted(&url), bytes };
    if let Some(error @ Error::TooLarge { .. }) = failed {
        return Err(error);
    }
    let Some(Contents { manifest, warnings, .. }) = contents else {
        return Err(failed.unwrap_or_else(nothing));
    };
    if manifest.is_none() && output.is_empty() && !output.is_closed() {
        return Err(failed.unwrap_or_else(nothing));
    }
    let SortedWarnings { losses, oddities } = losses::sort_warnings(warnings, promised);
    for loss in &losses {
        // What failed says it better.
        if failed.is_none() || !matches!(loss, Problem::Unreadable(_)) {
            output.error(&losses::kind_of_loss(loss, manifest.as_ref()), loss.to_string());
        }
    }
    let mut broke_off = failed.or_else(|| losses::loss_error(&url, &losses));
    if client.cancel.is_set() && broke_off.is_some() {
        broke_off = Some(Error::Cancelled);
    }
    let manifest = manifest.map(|manifest| ServiceManifest { json, manifest });
    output.finish(BundleEnd { file_name, warnings: oddities, broke_off, manifest })
}

/// Copies what can be read of a bundle. Returns the names of the entries that hold nothing: whether
/// they are meant to, the manifest tells at the end.
fn pass_on(reader: &mut BundleReader<impl Read>, output: &mut BundleOutput<'_>) -> Vec<EntryName> {
    let mut empty = Vec::new();
    while let Some(mut entry) = reader.next_entry() {
        let name = entry.name().clone();
        let kind = kind_of_entry(&name);
        // It grows as bytes arrive: the size is only what the header claims.
        let mut bytes = Vec::new();
        if entry.read_to_end(&mut bytes).is_err() {
            output.error(&kind, format!("{name} breaks off"));
            return empty;
        }
        if output.is_closed() {
            return empty;
        }
        // Of two with one name the first is passed on; the reader says that there was another.
        if bytes.is_empty() {
            empty.push(name);
        } else if !output.holds(&name) {
            output.append(&kind, &name, &bytes, Duration::ZERO);
        }
    }
    empty
}

/// Makes the header of a bundle that has no manifest, from what is known of it.
fn header(client: &Client, request: &Request, file_name: Option<&str>) -> Header {
    let service = file_name.and_then(|name| name.split_once("-profile")).map(|(name, _)| name);
    Header {
        service: service.unwrap_or_default().to_owned(),
        version: String::new(),
        host: client.target.host(),
        pid: 0,
        build_id: String::new(),
        started: SystemTime::now(),
        window: request.window(),
        source: Source::Consolidated,
        rates: BTreeMap::new(),
    }
}

/// A body that is counted and bounded, and whose progress is told.
struct BundleStream<'a, R> {
    body: R,
    url: &'a Url,
    limit: u64,
    bytes: u64,
    /// The reason why it ended, where that wasn't its end.
    failed: Option<Error>,
    progress: &'a mut dyn FnMut(Progress),
}

impl<R: Read> Read for BundleStream<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.body.read(buf) {
            Ok(len) => {
                self.bytes += len as u64;
                if self.bytes > self.limit {
                    self.failed = Some(Error::TooLarge { limit: self.limit });
                    return Err(io::Error::other("too large"));
                }
                if self.bytes > RECORDING && len > 0 {
                    (self.progress)(Progress::Received(self.bytes));
                }
                Ok(len)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let text = error.to_string();
                self.failed = Some(request_error(self.url, error));
                Err(io::Error::other(text))
            }
        }
    }
}

/// Returns the base name in `Content-Disposition: attachment; filename="..."`, if it is a plain
/// one.
fn file_name(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_DISPOSITION)?.to_str().ok()?;
    let (_, name) = value.split_once("filename=")?;
    let name = name.split(';').next()?.trim().trim_matches('"');
    let base = name.rsplit(['/', '\\']).next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let safe = !base.is_empty() && base.len() <= 200 && base.chars().all(plain);
    (safe && !base.starts_with('.')).then(|| base.to_owned())
}

#[cfg(test)]
mod tests {
    use ureq::http::HeaderValue;

    use super::*;

    #[test]
    fn a_file_name_from_outside_is_a_plain_name_or_none() {
        let name = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(value).unwrap());
            file_name(&headers)
        };
        assert_eq!(name("attachment; filename=\"a-1.tar.gz\""), Some("a-1.tar.gz".into()));
        assert_eq!(name("attachment; filename=a.tar.gz; size=3"), Some("a.tar.gz".into()));
        assert_eq!(name("attachment; filename=\"../../etc/cron\""), Some("cron".into()));
        for bad in [
            "attachment",
            "filename=\"..\"",
            "filename=\".bashrc\"",
            "filename=\"a b\"",
            "filename=\"\"",
            "filename=\"/\"",
        ] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }
}
