//! `collect` over TLS: what is said where it fails, and where an answer ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::tempdir;

use super::sources::{bundle, reply, serving};
use super::{listed, path, run};

/// A certificate and its key of `tests/data/tls`, all but one signed by `authority.pem` there.
fn pem(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name);
    path.to_str().unwrap().to_owned()
}

fn chain(name: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(pem(name)).unwrap().map(Result::unwrap).collect()
}

/// A server with this certificate; `answer` is given what comes after the request.
fn listen(
    certificate: &str,
    asks_for_one: bool,
    answer: impl Fn(&mut StreamOwned<ServerConnection, TcpStream>) + Send + 'static,
) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = if asks_for_one {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(chain("authority.pem"));
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        config.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        config.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(pem(certificate)).unwrap();
    let config = Arc::new(config.with_single_cert(chain(certificate), key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            // A handshake that failed leaves an alert to send, and nothing to answer.
            if line == "\r\n" {
                answer(stream.get_mut());
            }
        }
    });
    address
}

#[test]
fn what_is_wrong_is_said_and_what_to_do_about_it() {
    let check = |url: &str, args: &[&str], error: &str, hint: &str| {
        let ran = run(["collect", url, "-o", "/dev/null"].iter().chain(args).copied());
        let ran = ran.fails(1, &[&format!("request to {url}"), error]);
        assert!(ran.stderr.contains(hint), "{args:?}: {hint:?} is not in {}", ran.stderr);
        // No type of a library's.
        for word in ["Error", "InvalidCertificate", "Context", "rustls"] {
            assert!(!ran.stderr.contains(word), "{}", ran.stderr);
        }
    };
    let authority = pem("authority.pem");
    let trusting: &[&str] = &["--cacert", &authority];
    let at = |certificate: &str| format!("https://{}", listen(certificate, false, |_| {}));

    let url = at("server.pem");
    let unknown = "the server's certificate is signed by nobody that is trusted here";
    check(&url, &[], unknown, "--cacert FILE trusts the authority that signed it");
    check(
        &url,
        &["--cacert", &pem("elsewhere.pem")],
        unknown,
        "elsewhere.pem, the file of --cacert?",
    );
    let expired = "the server's certificate has expired, on 2021-01-01T00:00:00.000Z";
    check(&at("expired.pem"), trusting, expired, "or this host's clock is wrong; --insecure");
    let elsewhere = "the server's certificate is not for 127.0.0.1 but for shop.example";
    check(&at("elsewhere.pem"), trusting, elsewhere, "collect from the name that is in its");
    let own = "the server shows an authority's certificate (CA:TRUE)";
    check(&at("self-signed.pem"), &[], own, "--insecure");
    let url = format!("https://{}", listen("server.pem", true, |_| {}));
    check(
        &url,
        trusting,
        "the server asks for a certificate of ours",
        "--cert FILE and --key FILE",
    );
    let expired = pem("expired.pem");
    let shown = ["--cacert", &authority, "--cert", &expired];
    let refused = "the server does not take the certificate that it was shown: Certificate Expired";
    check(&url, &shown, refused, "is the certificate of --cert one that it knows?");
}

#[test]
fn a_scheme_that_is_the_wrong_one_is_said() {
    /// A listener without TLS that says this to everything.
    fn plain(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
                let _ = stream.write_all(answer);
            }
        });
        address
    }
    let hint = "collect from a URL that begins with http://";
    let hangs_up = plain(b"");
    let answering = plain(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let tls = listen("server.pem", false, |_| {});
    let says_so = serving(|_, stream| {
        let text = b"Client sent an HTTP request to an HTTPS server.\n";
        reply(stream, "400 Bad Request", "text/plain", text);
    });
    let ran =
        run(["collect", &format!("https://{answering}")]).fails(1, &["no TLS is spoken there"]);
    assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    let ran = run(["collect", &format!("https://{hangs_up}")]).fails(1, &["the server hung up"]);
    assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    run(["collect", &format!("http://{tls}")])
        .fails(1, &["the answer is no HTTP; if TLS is spoken there, the URL begins with https"]);
    run(["collect", &format!("http://{hangs_up}")])
        .fails(1, &["there was no answer; if TLS is spoken there, the URL begins with https"]);
    let ran = run(["collect", &format!("http://{says_so}")]).fails(1, &["answered 400"]);
    assert!(ran.stderr.contains("TLS is spoken there: collect from"), "{}", ran.stderr);
}

/// Whoever cuts a connection can't end TLS: where nothing else tells how long an answer is, that is what
/// tells a whole one.
#[test]
fn an_answer_that_tls_does_not_end_is_not_whole() {
    let authority = pem("authority.pem");
    let check = |has_length: bool, ends: bool, cut: usize, code: i32| {
        let (bundle, _) = bundle("shop");
        let address = listen("server.pem", false, move |stream| {
            let length = format!("Content-Length: {}\r\n", bundle.len());
            let length = if has_length { &*length } else { "" };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\n{length}\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&bundle[..bundle.len() - cut]).unwrap();
            if ends {
                stream.conn.send_close_notify();
            }
            stream.flush().unwrap();
        });
        let directory = tempdir().unwrap();
        let file = path(&directory, "x.tar.gz");
        let url = format!("https://{address}");
        let ran = run(["collect", &url, "-d1s", "--cacert", &authority, "-o", &file]).code(code);
        let kept = if code == 0 { "x.tar.gz" } else { "x.tar.gz.partial" };
        assert_eq!(listed(&directory), [kept], "{}", ran.stderr);
        let facts = run(["inspect", "--json", &path(&directory, kept)]).code(code).json();
        assert_eq!(facts["manifest"]["pid"], 7, "{facts}");
    };
    check(true, true, 0, 0);
    check(true, false, 0, 0);
    check(false, true, 0, 0);
    check(false, false, 0, 3);
    for (has_length, ends) in [(true, true), (true, false), (false, true), (false, false)] {
        for cut in [1, 4, 8] {
            check(has_length, ends, cut, 3);
        }
    }
}
