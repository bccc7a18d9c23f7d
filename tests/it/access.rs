//! Who is let in: tokens, this host alone without one, and never another web site.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};

use profilez::core::Kind;
use profilez::http::server::{Denied, Identity, Token};

use crate::support::fakes::{Fake, service};
use crate::support::http::{receive, request, write_head};

const PATH: &str = "/debug/profile?duration=10ms";

#[test]
fn with_a_token_others_are_kept_out_of_every_path() {
    let server = service([Fake::new(Kind::Heap, 10)])
        .authorizer(Token::new("s3cret").unwrap())
        .build()
        .serve("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    // `printf x:s3cret | base64` and `printf x:wrong | base64`
    let wrong =
        [None, Some("Bearer wrong"), Some("Basic eDp3cm9uZw=="), Some("s3cret"), Some("Bearer ")];
    for credentials in wrong {
        for path in [PATH, "/debug/profile?duration=bad", "/nowhere"] {
            let headers: Vec<_> =
                credentials.map(|value| ("Authorization", value)).into_iter().collect();
            let answer = request(address, "POST", path, &headers);
            assert_eq!(answer.status, 401, "{credentials:?} {path}");
            assert_eq!(answer.refusal().0, "Missing or invalid credentials.");
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(challenge.contains("Bearer") && challenge.contains("Basic"));
        }
    }
    for credentials in ["Bearer s3cret", "Basic eDpzM2NyZXQ="] {
        let answer = request(address, "GET", PATH, &[("Authorization", credentials)]);
        assert_eq!(answer.status, 200, "{credentials}");
        // An authorizer decides alone: a proxy may pass on any host name.
        let headers = [("Authorization", credentials), ("Host", "debug.example")];
        assert_eq!(request(address, "GET", PATH, &headers).status, 200);
    }
    server.shut_down();
}

#[test]
fn an_authorizer_of_ones_own_can_forbid() {
    let server = service([Fake::new(Kind::Heap, 10)])
        .authorizer(|request: &http::request::Parts| match request.method {
            http::Method::POST => Ok(Identity::new("poster")),
            _ => Err(Denied::Forbidden("only POST today".to_owned())),
        })
        .build()
        .serve("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    let answer = request(address, "GET", PATH, &[]);
    assert_eq!(answer.status, 403);
    assert_eq!(answer.refusal(), ("Forbidden.".into(), "only POST today".into()));
    assert_eq!(request(address, "POST", PATH, &[]).status, 200);
    server.shut_down();
}

#[test]
fn without_a_token_a_foreign_host_name_is_refused() {
    let server = service([Fake::new(Kind::Heap, 10)]).build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    for host in ["evil.example", "evil.example:80", "localhost.evil.example"] {
        let answer = request(address, "GET", PATH, &[("Host", host)]);
        assert_eq!(answer.status, 403, "{host}");
    }
    for host in ["localhost", "localhost:1", "127.0.0.1"] {
        assert_eq!(request(address, "GET", PATH, &[("Host", host)]).status, 200, "{host}");
    }
    let two = [("Host", "localhost"), ("Host", "evil.example")];
    assert_eq!(request(address, "GET", PATH, &two).status, 403);
    server.shut_down();
}

#[test]
fn a_page_of_another_site_is_refused_even_with_credentials() {
    let server = service([Fake::new(Kind::Heap, 10)])
        .authorizer(Token::new("s3cret").unwrap())
        .build()
        .serve("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    for (site, status) in
        [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
    {
        let headers = [("Authorization", "Bearer s3cret"), ("Sec-Fetch-Site", site)];
        assert_eq!(request(address, "GET", PATH, &headers).status, status, "{site}");
    }
    // Over plain http and from afar browsers say less.
    let own = format!("http://{address}");
    for (origin, status) in
        [(&*own, 200), ("http://evil.example", 403), ("http://127.0.0.1", 403), ("null", 403)]
    {
        let headers = [("Authorization", "Bearer s3cret"), ("Origin", origin)];
        assert_eq!(request(address, "POST", PATH, &headers).status, status, "{origin}");
        let headers = [headers[0], headers[1], ("Sec-Fetch-Site", "same-origin")];
        assert_eq!(request(address, "POST", PATH, &headers).status, 200, "{origin}");
    }
    server.shut_down();
}

#[test]
fn a_unix_socket_is_for_its_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("debug.sock");
    let server = service([Fake::new(Kind::Heap, 10)]).build().serve_unix(&path).unwrap();
    assert_eq!(server.local_addr(), None);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    write_head(&mut stream, "any.example", "GET", PATH, &[]);
    let answer = receive(stream).unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.whole);
    server.shut_down();
    assert!(!path.exists(), "the socket goes with the server");
}

#[test]
fn a_socket_that_nobody_has_is_replaced_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("debug.sock");
    let serve = || service([Fake::new(Kind::Heap, 10)]).build().serve_unix(&path);
    // Closed as when a process is killed: the name stays.
    drop(UnixListener::bind(&path).unwrap());
    let server = serve().unwrap();
    UnixStream::connect(&path).unwrap();
    assert!(serve().is_err(), "somebody listens there");
    UnixStream::connect(&path).unwrap();
    server.shut_down();
    std::fs::write(&path, "a file").unwrap();
    assert!(serve().is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"a file");
}

#[test]
fn a_service_starts_without_endpoints_where_they_cannot_be_served() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let service = || service([Fake::new(Kind::Heap, 10)]).build();
    assert!(service().serve_or_log(taken.local_addr().unwrap()).is_none());
    assert!(service().serve_or_log("192.0.2.1:0").is_none());
    assert!(service().serve_or_log("not an address").is_none());
    service().serve_or_log("127.0.0.1:0").unwrap().shut_down();
}

#[test]
fn a_client_that_sends_nothing_is_let_go() {
    let server = service([Fake::new(Kind::Heap, 10)]).build().serve("127.0.0.1:0").unwrap();
    let mut idle = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
    idle.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let mut rest = Vec::new();
    // The server closes the connection; how it does is its own business.
    let _ = idle.read_to_end(&mut rest);
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{rest:?}");
    server.shut_down();
}
