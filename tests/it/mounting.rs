//! The service in other people's servers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use http::Version;
use profilez::core::Kind;
use profilez::http::server::{DebugServiceBuilder, Peer, Token};

use crate::support::fakes::{Fake, service};
use crate::support::http::{get, request};
use crate::support::server::unpack;

fn debug() -> DebugServiceBuilder {
    service([Fake::new(Kind::Heap, 10)])
}

/// Serves an axum router on a thread of its own until the test ends.
fn serve(router: axum::Router) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    address
}

#[test]
fn in_axum() {
    let token = || Token::new("s3cret").unwrap();
    let router = axum::Router::new()
        .route("/", axum::routing::get(|| async { "the application" }))
        .nest_service("/debug", debug().authorizer(token()).prefix("").build())
        .route_service("/internal/profile", debug().authorizer(token()).prefix("internal").build());
    let address = serve(router);
    assert_eq!(get(address, "/").body, b"the application");
    for path in ["/debug/profile?duration=10ms", "/internal/profile?duration=10ms"] {
        assert_eq!(get(address, path).status, 401);
        let answer = request(address, "POST", path, &[("Authorization", "Bearer s3cret")]);
        assert_eq!(unpack(&answer).names, ["heap.prof", "manifest.json"]);
    }
}

#[test]
fn without_an_authorizer_a_server_must_tell_who_asks() {
    let address = serve(axum::Router::new().fallback_service(debug().build()));
    let answer = get(address, "/debug/profile?duration=10ms");
    assert_eq!(answer.status, 403);
    assert!(answer.refusal().1.contains("no authorizer"));

    let told = axum::Router::new().fallback_service(debug().build()).layer(
        axum::middleware::map_request(|mut request: axum::extract::Request| async {
            request.extensions_mut().insert(Peer::Ip([127, 0, 0, 1].into()));
            request
        }),
    );
    assert_eq!(get(serve(told), "/debug/profile?duration=10ms").status, 200);
}

#[test]
fn a_refusal_asks_the_server_to_close_the_connection() {
    let token = Token::new("s3cret").unwrap();
    let address = serve(axum::Router::new().fallback_service(debug().authorizer(token).build()));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET /debug/ HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 401"), "{said}");
    assert!(said.len() < 4 << 10, "{}", said.len());

    // A connection of HTTP/2 is many requests', and has no such header.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (version, close) in [(Version::HTTP_11, true), (Version::HTTP_2, false)] {
        let request = http::Request::builder().version(version).uri("/debug/profile");
        let request = request.body(String::new()).unwrap();
        let answer = runtime.block_on(debug().build().respond(request));
        assert_eq!(answer.status(), 403);
        assert_eq!(answer.headers().contains_key("connection"), close, "{version:?}");
    }
}
