//! The address to ask, from what a person typed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use profile_core::InvalidRate;
use profile_core::task::{Detail, UnknownDetail};
use ureq::http::HeaderValue;
use url::{Host, Url, form_urlencoded};

use super::Request;
use crate::{Error, Result};

/// The addresses of a service's endpoints, without credentials, and what the URL asked for.
#[derive(Clone)]
pub(super) struct ServiceTarget {
    /// The address that bundles come from, with what is left of the query, which may hold something
    /// that isn't to be shown.
    bundle: Url,
    /// The folder of Go's endpoints, with a slash at its end and the query less their parameters.
    pprof: Url,
    /// The things that the query asks of a bundle.
    asked: Request,
    /// The address of bundles without its query.
    shown: String,
    /// True if the URL named a host only.
    bare: bool,
}

impl fmt::Debug for ServiceTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

/// The path under which the endpoints stand unless the URL says otherwise.
const DEFAULT_PREFIX: &str = "/debug";

impl ServiceTarget {
    /// Reads `host:port`, a base or an endpoint. Returns its credentials too, as a header's value.
    pub(super) fn parse(text: &str) -> Result<(ServiceTarget, Option<HeaderValue>)> {
        let text = text.trim();
        let absolute =
            if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let failed =
            |reason: &str| Error::Url { url: without_password(text), reason: reason.to_owned() };
        let mut url = Url::parse(&absolute).map_err(|error| failed(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(failed("only http and https can be collected from"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(failed("it names no host"));
        }
        let basic = credentials(&url);
        // Neither fails for a URL with a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        let path = url.path().trim_end_matches('/').to_owned();
        let query =
            TargetQuery::parse(url.query().unwrap_or_default(), gos_prefix(&path).is_some());
        let TargetQuery { asked, bundle: of_bundle, pprof: of_pprof } =
            query.map_err(|reason: String| failed(&reason))?;
        url.set_query(of_bundle.as_deref());
        let mut pprof = url.clone();
        pprof.set_query(of_pprof.as_deref());
        let mut target = ServiceTarget {
            bundle: url,
            pprof,
            asked,
            shown: String::new(),
            bare: path.is_empty(),
        };
        target.set_path(if path.is_empty() { DEFAULT_PREFIX } else { &path });
        Ok((target, basic))
    }

    /// Puts the endpoints below another prefix, where the URL named none.
    pub(super) fn set_prefix(&mut self, prefix: &str) {
        if self.bare {
            self.set_path(&format!("/{}", prefix.trim_matches('/')));
        }
    }

    /// Places the endpoints by a path that is a prefix, the bundle's endpoint, or one of Go's.
    fn set_path(&mut self, path: &str) {
        let path = path.trim_end_matches('/');
        // Go's CPU profile has the same last word as a bundle.
        let bundle = || path.strip_suffix("/profile").unwrap_or(path);
        let prefix = gos_prefix(path).unwrap_or_else(bundle);
        self.bundle.set_path(&format!("{prefix}/profile"));
        self.pprof.set_path(&format!("{prefix}/pprof/"));
        let mut shown = self.bundle.clone();
        shown.set_query(None);
        self.shown = shown.into();
    }

    pub(super) fn as_str(&self) -> &str {
        &self.shown
    }

    /// Returns the host, and the port where it was given.
    pub(super) fn host(&self) -> String {
        let host = self.bundle.host_str().unwrap_or_default();
        self.bundle.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Returns the address of the index of Go's endpoints, without its query.
    pub(super) fn shown_index(&self) -> String {
        let mut shown = self.pprof.clone();
        shown.set_query(None);
        shown.into()
    }

    /// Returns whether the service is on this host, by its name or its address.
    pub(super) fn is_loopback(&self) -> bool {
        match self.bundle.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// Returns a request with what it leaves open as the URL asked for it.
    pub(super) fn complete(&self, request: &Request) -> Request {
        let Request { duration, kinds, tasks, hz } = request;
        Request {
            duration: duration.clone().or_else(|| self.asked.duration.clone()),
            kinds: kinds.clone().or_else(|| self.asked.kinds.clone()),
            tasks: tasks.or(self.asked.tasks),
            hz: hz.or(self.asked.hz),
        }
    }

    /// Returns the bundle's address with the parameters of a complete request.
    pub(super) fn bundle(&self, request: &Request) -> Url {
        let mut url = self.bundle.clone();
        let Request { duration, kinds, tasks, hz } = request;
        let hz = hz.map(|rate| rate.to_string());
        let parameters = [
            ("duration", duration.as_deref()),
            ("profiles", kinds.as_deref()),
            ("tasks", tasks.map(Detail::name)),
            ("hz", hz.as_deref()),
        ];
        for (name, value) in parameters {
            // Asking for the pairs alone would add a `?`.
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        url
    }

    /// Returns the address of one of Go's endpoints, or of their index where the name is empty.
    pub(super) fn pprof(&self, name: &str, parameter: Option<(&str, &str)>) -> Url {
        let mut url = self.pprof.clone();
        url.set_path(&format!("{}{name}", self.pprof.path()));
        if let Some((key, value)) = parameter {
            url.query_pairs_mut().append_pair(key, value);
        }
        url
    }
}

/// The parameters of a URL's query, by whom they are for.
struct TargetQuery {
    asked: Request,
    bundle: Option<String>,
    pprof: Option<String>,
}

impl TargetQuery {
    /// Reads the query of a bundle's endpoint, or of one of Go's.
    ///
    /// # Errors
    ///
    /// Why it can't be what a bundle is asked with.
    fn parse(query: &str, is_gos: bool) -> std::result::Result<TargetQuery, String> {
        let mut asked = Request::default();
        let (mut bundle, mut pprof) = (Vec::new(), Vec::new());
        // What is passed on stays as it was typed.
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = form_urlencoded::parse(pair.as_bytes()).next() else {
                continue;
            };
            let twice = match &*name {
                "seconds" | "debug" | "gc" if is_gos => continue,
                "duration" | "seconds" => asked.duration.replace(value.into_owned()).is_some(),
                "profiles" => asked.kinds.replace(value.into_owned()).is_some(),
                "tasks" if value.is_empty() => continue,
                "tasks" => {
                    let detail = value.parse().map_err(|error: UnknownDetail| {
                        format!("its parameter {name:?} has none of the {error}")
                    })?;
                    asked.tasks.replace(detail).is_some()
                }
                "hz" if value.is_empty() => continue,
                "hz" => {
                    let rate = value
                        .parse()
                        .map_err(|error: InvalidRate| format!("its parameter {name:?} {error}"))?;
                    asked.hz.replace(rate).is_some()
                }
                name => {
                    bundle.push(pair);
                    if !matches!(name, "debug" | "gc") {
                        pprof.push(pair);
                    }
                    continue;
                }
            };
            if twice {
                return Err(format!("its parameter {name:?} is given more than once"));
            }
        }
        let joined = |pairs: Vec<&str>| (!pairs.is_empty()).then(|| pairs.join("&"));
        Ok(TargetQuery { asked, bundle: joined(bundle), pprof: joined(pprof) })
    }
}

/// Returns the part of a path before the folder of Go's endpoints, if it is in there.
fn gos_prefix(path: &str) -> Option<&str> {
    let folder = path.rfind("/pprof/").map(|end| &path[..end]);
    folder.or_else(|| path.strip_suffix("/pprof"))
}

fn credentials(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    // What stands in a URL is percent-encoded; what goes into the header is not.
    let decode = |part: &str| percent_encoding::percent_decode_str(part).collect::<Vec<u8>>();
    let mut pair = decode(url.username());
    pair.push(b':');
    pair.extend(decode(url.password().unwrap_or_default()));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns a URL that could not be parsed, for an error: without what may be a password.
fn without_password(text: &str) -> String {
    let shown = match text.rsplit_once('@') {
        Some((_credentials, rest)) => format!("…@{rest}"),
        None => text.to_owned(),
    };
    shown.split('?').next().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use profile_core::CpuRate;

    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str, basic: Option<&str>) {
        let (target, header) = ServiceTarget::parse(text).unwrap();
        assert_eq!(target.as_str(), shown);
        let header = header.map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header, basic.map(|pair| format!("Basic {}", STANDARD.encode(pair))));
    }

    #[test]
    fn reads_what_people_type() {
        check("localhost:6060", "http://localhost:6060/debug/profile", None);
        check("http://localhost:6060/", "http://localhost:6060/debug/profile", None);
        check("https://h/debug", "https://h/debug/profile", None);
        check("h:1/internal/debug/", "http://h:1/internal/debug/profile", None);
        check("http://h/api/v2/debug/profile", "http://h/api/v2/debug/profile", None);
        check("http://[::1]:6060", "http://[::1]:6060/debug/profile", None);
        check("http://x:t%40k@h:1", "http://h:1/debug/profile", Some("x:t@k"));
        check("x:tok@h:1", "http://h:1/debug/profile", Some("x:tok"));
    }

    #[test]
    fn refuses_the_rest_without_showing_a_password() {
        for text in
            ["", "ftp://h/", "http://", "http://h:99999", "http://x:s3cret@h:99999?t=s3cret"]
        {
            let error = ServiceTarget::parse(text).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn knows_this_host() {
        for (text, loopback) in [
            ("LOCALHOST:1", true),
            ("127.0.0.2:1", true),
            ("[::1]:1", true),
            ("10.0.0.1:1", false),
            ("localhost.example", false),
        ] {
            assert_eq!(ServiceTarget::parse(text).unwrap().0.is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn finds_the_endpoints_from_any_of_them() {
        let check = |text: &str, bundle: &str, pprof: &str| {
            let (target, _) = ServiceTarget::parse(text).unwrap();
            assert_eq!(target.as_str(), bundle, "{text}");
            assert_eq!(target.pprof("heap", None).as_str(), format!("{pprof}heap"), "{text}");
        };
        let (bundle, pprof) = ("http://h:1/debug/profile", "http://h:1/debug/pprof/");
        for path in [
            "",
            "/",
            "/debug",
            "/debug/",
            "/debug/profile",
            "/debug/pprof",
            "/debug/pprof/",
            "/debug/pprof/heap",
            "/debug/pprof/profile",
        ] {
            check(&format!("h:1{path}"), bundle, pprof);
        }
        check("h/pprof/", "http://h/profile", "http://h/pprof/");
        check(
            "http://h/api/v2/debug/profile",
            "http://h/api/v2/debug/profile",
            "http://h/api/v2/debug/pprof/",
        );
    }

    #[test]
    fn a_prefix_is_for_urls_without_a_path() {
        let prefixed = |text: &str| {
            let (mut target, _) = ServiceTarget::parse(text).unwrap();
            target.set_prefix("ops/debug/");
            target.as_str().to_owned()
        };
        assert_eq!(prefixed("h:1"), "http://h:1/ops/debug/profile");
        assert_eq!(prefixed("h:1/debug"), "http://h:1/debug/profile");
    }

    #[test]
    fn adds_the_request_to_the_query() {
        let (target, _) = ServiceTarget::parse("h:1/debug/profile?x=1").unwrap();
        let request = Request::default().duration("5s").kinds("cpu,heap");
        assert_eq!(
            target.bundle(&request).as_str(),
            "http://h:1/debug/profile?x=1&duration=5s&profiles=cpu%2Cheap"
        );
        let plain = target.bundle(&Request::default());
        assert_eq!(plain.as_str(), "http://h:1/debug/profile?x=1");
        let heap = target.pprof("heap", Some(("debug", "2")));
        assert_eq!(heap.as_str(), "http://h:1/debug/pprof/heap?x=1&debug=2");
    }

    #[test]
    fn a_request_replaces_what_the_url_asks_for() {
        let check = |text: &str, request: Request, bundle: &str, pprof: &str| {
            let (target, _) = ServiceTarget::parse(text).unwrap();
            let asked = target.bundle(&target.complete(&request));
            assert_eq!(asked.as_str(), format!("http://h/debug/profile{bundle}"), "{text}");
            let index = target.pprof("", None);
            assert_eq!(index.as_str(), format!("http://h/debug/pprof/{pprof}"), "{text}");
        };
        let (none, short) = (Request::default, || Request::default().duration("300ms"));
        // The parameters of Go's endpoints are not those of a bundle.
        for query in ["debug=1", "seconds=1", "gc=1", "&debug=2&seconds=30"] {
            check(&format!("h/debug/pprof/heap?{query}"), none(), "", "");
            check(&format!("h/debug/pprof/?{query}"), short(), "?duration=300ms", "");
        }
        check("h/debug/pprof/heap?t=a%20b&debug=1", short(), "?t=a%20b&duration=300ms", "?t=a%20b");
        // A bundle's are.
        check("h/debug/profile?duration=1s", none(), "?duration=1s", "");
        check("h/debug/profile?seconds=1", none(), "?duration=1", "");
        check("h/debug/profile?seconds=1&t", short(), "?t&duration=300ms", "?t");
        check(
            "h/debug/profile?duration=1s&profiles=heap",
            short(),
            "?duration=300ms&profiles=heap",
            "",
        );
        check("h/debug?profiles=heap", short().kinds("cpu"), "?duration=300ms&profiles=cpu", "");
        check("h/?tasks=await-tree", none().tasks(Detail::AwaitTree), "?tasks=await-tree", "");
        check("h?tasks=await-tree", none(), "?tasks=await-tree", "");
        check("h?tasks=", none(), "", "");
        check("h/debug/pprof/profile?hz=99&seconds=5", none(), "?hz=99", "");
        check("h?hz=99", none().hz(CpuRate::MOST), "?hz=1000", "");
        check("h?hz=", none(), "", "");
        // What it means there the service is to say.
        check("h/debug/profile?debug=1&gc=1&t=1", none(), "?debug=1&gc=1&t=1", "?t=1");
    }

    #[test]
    fn a_url_asks_for_one_thing() {
        for query in [
            "duration=1s&seconds=1",
            "profiles=heap&profiles=cpu",
            "tasks=all",
            "hz=0",
            "hz=9&hz=9",
        ] {
            let error = ServiceTarget::parse(&format!("h/debug/profile?{query}")).unwrap_err();
            assert!(matches!(error, Error::Url { .. }), "{error}");
        }
    }
}
