//! The service in other people's servers.

use std::net::SocketAddr;

use profilez::core::Kind;
use profilez::http::server::{DebugServiceBuilder, Peer, Token};

use crate::collection::unpack;
use crate::fakes::{Fake, service};
use crate::http::{get, request};

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
