//! Who may ask: the authorizer, or this host alone where there is none.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::Authority;

/// Decides, before any handler runs, whether a request may be answered.
pub trait Authorizer: Send + Sync {
    /// Looks at a request's method, path and headers.
    ///
    /// # Errors
    ///
    /// The request is refused, with 401 or 403.
    fn authorize(&self, request: &Parts) -> Result<Identity, Denied>;
}

impl<F> Authorizer for F
where
    F: Fn(&Parts) -> Result<Identity, Denied> + Send + Sync,
{
    fn authorize(&self, request: &Parts) -> Result<Identity, Denied> {
        self(request)
    }
}

/// The name of whoever asks, for the record that is kept of each collection. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(String);

impl Identity {
    /// Returns an identity by a name that may stand in a log.
    pub fn new(name: impl Into<String>) -> Identity {
        Identity(name.into())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reasons why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// No credentials, or wrong ones: 401.
    Unauthenticated,
    /// Not allowed, whoever asks: 403, with the reason.
    Forbidden(String),
}

/// The origin of a request's connection. The listener puts it into each request's extensions; a
/// server that mounts the service without an authorizer must do so too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP connection from this address.
    Ip(IpAddr),
    /// A unix socket.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Ip(address) => address.fmt(f),
            Peer::Unix => f.write_str("unix socket"),
        }
    }
}

/// Lets a request in, or says why not.
pub(super) fn authorize_request(
    authorizer: Option<&dyn Authorizer>,
    request: &Parts,
) -> Result<Identity, Denied> {
    not_cross_site(request)?;
    match authorizer {
        Some(authorizer) => authorizer.authorize(request),
        None => authorize_local(request),
    }
}

/// Refuses what a web page of another site made a browser send. Browsers set both headers themselves;
/// other clients send neither. The first says it all, but is left out where this service is asked over
/// plain http under an address that is not loopback.
fn not_cross_site(request: &Parts) -> Result<(), Denied> {
    let headers = &request.headers;
    let allowed = match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(site) => matches!(site, b"same-origin" | b"none"),
        None => {
            let mut origins = headers.get_all(header::ORIGIN).iter();
            match (origins.next(), origins.next()) {
                (None, _) => true,
                (Some(origin), None) => is_own(origin, requested_host(request)),
                (Some(_), Some(_)) => false,
            }
        }
    };
    if allowed { Ok(()) } else { Err(forbidden("requests from other web sites are refused")) }
}

/// Returns whether a page's origin is the host that was asked. `null` is nobody's.
fn is_own(origin: &HeaderValue, host: Option<&str>) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    let (Some(origin), Some(host)) = (origin, host) else { return false };
    let default = match origin.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    // A proxy in front may speak https, which can't be seen here.
    let same_port = origin.port_u16().unwrap_or(default) == host.port_u16().unwrap_or(default);
    same_port && origin.host().is_some_and(|name| name.eq_ignore_ascii_case(host.host()))
}

/// Returns the host that a request is for; `None` where it names two.
fn requested_host(request: &Parts) -> Option<&str> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.uri.authority().map(Authority::as_str),
        (Some(host), None) => host.to_str().ok(),
        (Some(_), Some(_)) => None,
    }
}

/// Lets in, where there is no authorizer, a request from this host, under a name that only this
/// host has. Otherwise a web page could reach the service by giving its own host name a loopback
/// address.
fn authorize_local(request: &Parts) -> Result<Identity, Denied> {
    match request.extensions.get::<Peer>() {
        None => Err(forbidden("this service has no authorizer and can't tell who is asking")),
        Some(Peer::Unix) => Ok(Identity::new("unix socket")),
        Some(Peer::Ip(address)) if !address.to_canonical().is_loopback() => {
            Err(forbidden("this service has no authorizer, so that only its own host may ask"))
        }
        Some(Peer::Ip(_)) => {
            if requested_host(request).is_some_and(is_loopback_host) {
                Ok(Identity::new("loopback"))
            } else {
                Err(forbidden("without an authorizer the Host header must name a loopback address"))
            }
        }
    }
}

fn forbidden(reason: &str) -> Denied {
    Denied::Forbidden(reason.to_owned())
}

/// Returns whether a `Host` header names loopback: `localhost`, `127.x.y.z` or `[::1]`, with any
/// port.
fn is_loopback_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &str)], peer: Option<Peer>) -> Parts {
        let mut request = http::Request::builder().uri("/debug/profile");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        if let Some(peer) = peer {
            parts.extensions.insert(peer);
        }
        parts
    }

    const LOOPBACK: Option<Peer> = Some(Peer::Ip(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)));

    #[test]
    fn without_an_authorizer_only_this_host_may_ask() {
        for host in
            ["localhost", "localhost:6060", "LOCALHOST", "127.0.0.1:80", "127.9.9.9", "[::1]:1"]
        {
            assert!(
                authorize_request(None, &request(&[("host", host)], LOOPBACK)).is_ok(),
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "x@localhost",
            "[::2]",
            "",
            "127.0.0.1:80:80",
        ] {
            assert!(
                authorize_request(None, &request(&[("host", host)], LOOPBACK)).is_err(),
                "{host}"
            );
        }
        assert!(authorize_request(None, &request(&[], LOOPBACK)).is_err(), "no Host header");
        for second in ["evil.example", "localhost"] {
            let two = request(&[("host", "localhost"), ("host", second)], LOOPBACK);
            assert!(authorize_request(None, &two).is_err(), "{second}");
        }
        let elsewhere = Some(Peer::Ip("10.1.2.3".parse().unwrap()));
        assert!(authorize_request(None, &request(&[("host", "localhost")], elsewhere)).is_err());
        let mapped = Some(Peer::Ip("::ffff:127.0.0.1".parse().unwrap()));
        assert!(authorize_request(None, &request(&[("host", "localhost")], mapped)).is_ok());
        assert!(
            authorize_request(None, &request(&[("host", "localhost")], None)).is_err(),
            "peer unknown"
        );
        assert!(authorize_request(None, &request(&[], Some(Peer::Unix))).is_ok());
    }

    #[test]
    fn other_sites_are_refused_whoever_asks() {
        let anyone = |_: &Parts| Ok(Identity::new("anyone"));
        for (site, allowed) in
            [("cross-site", false), ("same-site", false), ("same-origin", true), ("none", true)]
        {
            let request = request(&[("sec-fetch-site", site)], None);
            assert_eq!(authorize_request(Some(&anyone), &request).is_ok(), allowed, "{site}");
        }
    }
    #[test]
    fn pages_of_other_origins_are_refused() {
        let anyone = |_: &Parts| Ok(Identity::new("anyone"));
        let check = |headers: &[(&'static str, &str)], allowed: bool| {
            let request = request(headers, None);
            assert_eq!(authorize_request(Some(&anyone), &request).is_ok(), allowed, "{headers:?}");
        };
        for (origin, host, allowed) in [
            ("http://shop:6060", "shop:6060", true),
            ("http://SHOP:6060", "shop:6060", true),
            ("http://shop", "shop:80", true),
            ("http://shop:80", "shop", true),
            // As a proxy in front passes it on.
            ("https://shop", "shop", true),
            ("https://shop", "shop:443", true),
            ("http://[::1]:6060", "[::1]:6060", true),
            ("http://evil.example", "shop:6060", false),
            ("http://shop:6061", "shop:6060", false),
            ("http://shop", "shop:6060", false),
            ("http://shop.evil.example:6060", "shop:6060", false),
            ("https://shop", "shop:80", false),
            ("null", "shop:6060", false),
            ("null", "null", false),
            ("", "shop:6060", false),
            ("moz-extension://shop", "shop", false),
            ("file://", "shop", false),
            ("shop:6060", "shop:6060", false),
        ] {
            check(&[("origin", origin), ("host", host)], allowed);
            // What the browser says of it counts for more.
            check(&[("origin", origin), ("host", host), ("sec-fetch-site", "same-origin")], true);
            check(&[("origin", origin), ("host", host), ("sec-fetch-site", "cross-site")], false);
        }
        check(&[("host", "shop")], true);
        check(&[("origin", "http://shop"), ("origin", "http://shop"), ("host", "shop")], false);
        check(&[("origin", "http://shop"), ("host", "shop"), ("host", "shop")], false);
        check(&[("origin", "http://shop")], false);
    }
}
