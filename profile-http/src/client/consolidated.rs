//! One request for everything: our `/debug/profile`, or any endpoint that answers with a `tar.gz` of
//! profiles. What has no manifest of ours gets one, and so does what breaks off.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

use profile_archive::{
    BundleReader, Contents, EntryName, Header, Limits, Problem, Source, Warning,
};
use profile_core::Kind;
use ureq::Body;
use ureq::http::{HeaderMap, Response, header};
use url::Url;

use super::exchange::{content_type, failed, shown};
use super::output::{End, Output};
use super::patience::Budget;
use super::{Client, Collected, Progress, Request};
use crate::{Error, Result};

/// An answer that says of itself that it is a bundle.
pub(super) struct Answer {
    url: Url,
    response: Response<Body>,
}

/// The first pieces of a bundle come while the window is still open.
const RECORDING: u64 = 64;

/// Asks for a bundle, as soon as the service has time for it.
pub(super) fn ask(
    client: &Client,
    request: &Request,
    budget: Budget,
    progress: &mut dyn FnMut(Progress),
) -> Result<Answer> {
    let url = client.target.bundle(request);
    let response = client
        .patiently(budget, request.window(), progress, || client.post(&url, budget.left()))?;
    let content_type = content_type(response.headers());
    let is_bundle = ["application/gzip", "application/x-gzip", "application/octet-stream"]
        .iter()
        .any(|gzip| content_type.starts_with(gzip));
    if is_bundle {
        Ok(Answer { url, response })
    } else {
        Err(Error::NotABundle { url: shown(&url), content_type })
    }
}

/// Passes a bundle on, entry by entry.
pub(super) fn collect(
    client: &Client,
    request: &Request,
    answer: Answer,
    to: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<Collected> {
    let Answer { url, response } = answer;
    let file_name = file_name(response.headers());
    progress(Progress::Recording);
    let mut stream = Stream {
        body: response.into_body().into_reader(),
        url: &url,
        limit: client.limit,
        bytes: 0,
        failed: None,
        progress,
    };
    let mut output = Output::begin(to, header(client, request, file_name.as_deref()))?;
    let limits = Limits::default();
    let (json, all, contents) = match BundleReader::open(&mut stream, &limits) {
        Ok(mut reader) => {
            let all = pass_on(&mut reader, &mut output);
            let json = reader.manifest_json().to_vec();
            (json, all, Some(reader.finish()))
        }
        Err(_) => (Vec::new(), false, None),
    };
    let (bytes, failed) = (stream.bytes, stream.failed);
    let nothing = || Error::NoBundle { url: shown(&url), bytes };
    if let Some(error @ Error::TooLarge { .. }) = failed {
        return Err(error);
    }
    let Some(Contents { manifest, warnings, .. }) = contents else {
        return Err(failed.unwrap_or_else(nothing));
    };
    let mut end = End { file_name, ..End::default() };
    let (losses, warnings): (Vec<Warning>, Vec<Warning>) =
        warnings.into_iter().partition(|warning| warning.problem.is_loss());
    let mut losses = losses.into_iter().map(|warning| warning.problem);
    match manifest {
        // Its own words are passed on, what they say of a collection that ended early included, if they
        // fit what is passed on.
        Some(manifest)
            if failed.is_none()
                && all
                && losses.all(|problem| matches!(problem, Problem::Incomplete(_))) =>
        {
            end.warnings = warnings;
            end.manifest = Some((json, manifest));
        }
        _ if output.is_empty() && !output.is_closed() => {
            return Err(failed.unwrap_or_else(nothing));
        }
        _ => {
            let lost = losses.find(|problem| *problem != Problem::NoManifest);
            end.broke_off = failed.or_else(|| {
                lost.map(|problem| Error::BrokeOff {
                    url: shown(&url),
                    reason: problem.to_string(),
                })
            });
            // That nothing was listed is no news.
            let unlisted = |warning: &Warning| matches!(warning.problem, Problem::Unlisted(_));
            end.warnings = warnings.into_iter().filter(|warning| !unlisted(warning)).collect();
        }
    }
    if client.cancel.is_set() && end.broke_off.is_some() {
        end.broke_off = Some(Error::Cancelled);
    }
    output.finish(end)
}

/// Copies what can be read of a bundle. Whether that was all.
fn pass_on(reader: &mut BundleReader<impl Read>, output: &mut Output<'_>) -> bool {
    let mut all = true;
    while let Some(mut entry) = reader.next_entry() {
        let name = entry.name().clone();
        let kind = kind(&name);
        // It grows as bytes arrive: the size is only what the header claims.
        let mut bytes = Vec::new();
        if entry.read_to_end(&mut bytes).is_err() || output.is_closed() {
            return false;
        }
        if bytes.is_empty() {
            all = false;
            output.error(&kind, format!("the service sent an empty {name}"));
        } else {
            output.append(&kind, &name, &bytes, Duration::ZERO);
        }
    }
    all
}

/// The kind of an entry, by its name.
fn kind(name: &EntryName) -> String {
    let stem = name.as_str().split('.').next().unwrap_or_default();
    let known = Kind::at_endpoint(stem).or_else(|| stem.parse().ok());
    known.map_or_else(|| stem.to_owned(), |kind| kind.name().to_owned())
}

/// What is known of a bundle that doesn't say it itself.
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

/// A body that is counted, bounded and told of.
struct Stream<'a, R> {
    body: R,
    url: &'a Url,
    limit: u64,
    bytes: u64,
    /// Why it ended, where that wasn't its end.
    failed: Option<Error>,
    progress: &'a mut dyn FnMut(Progress),
}

impl<R: Read> Read for Stream<'_, R> {
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
                self.failed = Some(failed(self.url, error));
                Err(io::Error::other(text))
            }
        }
    }
}

/// The base name in `Content-Disposition: attachment; filename="..."`, if it is a plain one.
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
