//! `collect`: where the bundle goes, who is let in, and what is left after a failure.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::time::Duration;

use profilez::archive::Limits;
use profilez::core::{Collectors, Gate, Kind};
use profilez::http::server::{Server, Token};
use tempfile::tempdir;

use super::sources::{HEAD, Then, answering, bundle, chunk, nobody};
use super::{Ran, listed, path, profilez, run};
use crate::support::fakes::{Fake, Fault, service};

const WINDOW: &str = "-d10ms";

/// A service that has something to give, and its address.
fn healthy() -> (Server, String) {
    serve([Fake::new(Kind::Heap, 1000), Fake::new(Kind::Cpu, 1000)])
}

fn serve(fakes: impl IntoIterator<Item = Fake>) -> (Server, String) {
    let server = service(fakes).build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    (server, address)
}

#[track_caller]
fn is_whole(file: &str) {
    let facts = run(["inspect", "--json", file]).code(0).json();
    assert_eq!(facts["format"], "bundle");
    assert_eq!(facts["truncated"], false);
}

#[test]
fn the_bundle_goes_where_it_is_wanted() {
    let (server, url) = healthy();
    let directory = tempdir().unwrap();
    let file = path(&directory, "new.tar.gz");

    let ran = run(["collect", &url, WINDOW, "-o", &file]).code(0);
    assert_eq!(ran.text(), format!("{file}\n"));
    assert!(ran.stderr.contains(&format!("profilez report {file}")), "{}", ran.stderr);
    is_whole(&file);
    assert_eq!(listed(&directory), ["new.tar.gz"]);

    let named = tempdir().unwrap();
    let ran = run(["collect", &url, WINDOW, "-o", named.path().to_str().unwrap()]).code(0);
    let names = listed(&named);
    assert_eq!(ran.text(), format!("{}\n", path(&named, &names[0])));
    let start = format!("{}-test-profile-", url.replace(':', "-"));
    assert!(names.len() == 1 && names[0].starts_with(&start), "{names:?}");

    let here = tempdir().unwrap();
    let output = profilez(["collect", &url, WINDOW, "-q"]).current_dir(&here).output().unwrap();
    let ran = Ran::of(output).code(0);
    assert_eq!(ran.text(), format!("{}\n", listed(&here)[0]));
    assert_eq!(ran.stderr, "");
    is_whole(&path(&here, ran.text().trim_end()));

    let ran = run(["collect", &url, WINDOW, "-o", "-", "--quiet"]).code(0);
    assert_eq!(ran.stderr, "");
    let piped = path(&here, "piped");
    fs::write(&piped, &ran.stdout).unwrap();
    is_whole(&piped);
    server.shut_down();
}

#[test]
fn a_file_that_exists_is_safe() {
    let (url, server) = answering(Vec::new(), Then::HangUp);
    let directory = tempdir().unwrap();
    let file = path(&directory, "old.tar.gz");
    fs::write(&file, "precious").unwrap();
    run(["collect", &url, "-o", &file]).fails(1, &[&file, "exists", "--force"]);
    assert!(!server.is_finished(), "it was refused before anything was asked");
    assert_eq!(fs::read(&file).unwrap(), b"precious");

    let (server, url) = healthy();
    // What an earlier run kept is as precious.
    let other = path(&directory, "other.tar.gz");
    fs::write(format!("{other}.partial"), "precious").unwrap();
    run(["collect", &url, WINDOW, "-o", &other]).fails(1, &[".partial", "exists", "--force"]);
    assert_eq!(fs::read(format!("{other}.partial")).unwrap(), b"precious");

    let link = path(&directory, "link.tar.gz");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    run(["collect", &url, WINDOW, "-o", &link, "--force"]).code(0);
    is_whole(&file);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

    // The name that is printed is the one that was given.
    for name in ["old.tar.gz", "./link.tar.gz"] {
        let mut command = profilez(["collect", &url, WINDOW, "-o", name, "--force"]);
        let ran = Ran::of(command.current_dir(&directory).output().unwrap()).code(0);
        assert_eq!(ran.text(), format!("{name}\n"));
    }
    server.shut_down();
}

#[test]
fn an_output_that_can_not_be_written_is_an_error() {
    let (server, url) = healthy();
    let missing = "/nowhere/at/all/x.tar.gz";
    run(["collect", &url, WINDOW, "-o", missing]).fails(1, &["/nowhere/at/all", "no such"]);
    // What is a file can't be made a directory.
    run(["collect", &url, WINDOW, "-o", "/dev/null/"]).fails(1, &["/dev/null", "directory"]);
    for force in [None, Some("--force")] {
        let args = ["collect", &url, WINDOW, "-o", "/dev/full"];
        run(args.into_iter().chain(force)).fails(1, &["could not write", "space"]);
        assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
        assert!(!fs::exists("/dev/full.partial").unwrap());
    }
    run(["collect", &url, WINDOW, "-o", "/dev/null"]).code(0);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    server.shut_down();
}

#[test]
fn programs_get_a_line_of_json() {
    let (server, url) = healthy();
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    let line = run(["collect", &url, WINDOW, "-o", &file, "--json"]).code(0).json();
    assert_eq!(line["url"], format!("http://{url}/debug/profile"));
    assert_eq!(line["file"], file);
    assert_eq!(line["bytes"], fs::metadata(&file).unwrap().len());
    assert_eq!(line["complete"], true);
    assert_eq!(line["error"], serde_json::Value::Null);
    assert_eq!(line["manifest"]["service"], "test");
    server.shut_down();

    let line = run(["collect", &nobody(), "-o", &file, "--force", "--json"]).code(1).json();
    assert_eq!(line["complete"], false);
    assert_eq!(line["file"], serde_json::Value::Null);
    assert!(line["error"].as_str().unwrap().contains("refused"), "{line}");
}

#[test]
fn a_token_comes_from_where_it_is_safe_and_shows_nowhere() {
    let server = service([Fake::new(Kind::Heap, 10)])
        .authorizer(Token::new("s3cret").unwrap())
        .build()
        .serve("127.0.0.1:0")
        .unwrap();
    let url = server.local_addr().unwrap().to_string();
    let directory = tempdir().unwrap();
    let file = |name: &str, content: &str| {
        fs::write(directory.path().join(name), content).unwrap();
        path(&directory, name)
    };
    let (right, wrong) = (file("right", "s3cret\n"), file("wrong", "wr0ng"));
    let (empty, broken) = (file("empty", "\n"), file("broken", "s3cret\nand more"));
    let bundle = path(&directory, "x.tar.gz");
    let check = |args: &[&str], variables: &[(&str, &str)], code: i32, expected: &str| {
        let mut command = profilez(["collect", WINDOW, "--force", "-o", &bundle]);
        if !args.iter().any(|arg| arg.contains("://")) {
            command.arg(&url);
        }
        command.args(args).envs(variables.iter().copied());
        let ran = Ran::of(command.output().unwrap()).code(code);
        assert!(ran.stderr.contains(expected), "{args:?} {variables:?}: {}", ran.stderr);
        for secret in ["s3cret", "wr0ng", "czNjcmV0", "c3IzY3JldA"] {
            assert!(!ran.stderr.contains(secret) && !ran.text().contains(secret));
        }
    };
    check(&["--token", "s3cret"], &[], 0, "");
    check(&["--token-file", &right], &[], 0, "");
    check(&[], &[("PROFILEZ_TOKEN", "s3cret")], 0, "");
    check(&[], &[("PROFILEZ_TOKEN_FILE", &right)], 0, "");
    check(&["-H", "Authorization: Bearer s3cret"], &[], 0, "");
    check(&[&format!("http://x:s3cret@{url}")], &[], 0, "");
    // What is nearer wins, and is sent alone.
    check(&["--token-file", &right], &[("PROFILEZ_TOKEN", "wr0ng")], 0, "");
    check(&["--token", "s3cret", &format!("http://x:wr0ng@{url}")], &[], 0, "");
    check(&["-H", "authorization: Bearer s3cret"], &[("PROFILEZ_TOKEN", "wr0ng")], 0, "");
    check(&[], &[("PROFILEZ_TOKEN", ""), ("PROFILEZ_TOKEN_FILE", &right)], 0, "");

    let hint = "give one with --token-file FILE or PROFILEZ_TOKEN";
    check(&[], &[], 1, hint);
    check(&["--token", "wr0ng"], &[], 1, hint);
    check(&["--token-file", &wrong], &[], 1, hint);
    check(&["--token-file", &empty], &[], 1, "the token is empty");
    check(&["--token-file", &broken], &[], 1, "can't be sent in a header");
    check(&["--token-file", "/nowhere/token"], &[], 1, "/nowhere/token");
    server.shut_down();
}

#[test]
fn headers_are_sent_and_redirects_are_not_followed() {
    let (elsewhere, other) = answering(Vec::new(), Then::HangUp);
    let answer = format!(
        "HTTP/1.1 307 Elsewhere\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n"
    );
    let (url, server) = answering(answer.into_bytes(), Then::HangUp);
    let ran = run(["collect", &url, "-H", "X-Tenant: 7", "--token", "s3cret"]);
    let ran = ran.fails(1, &["answered 307"]);
    assert!(ran.stderr.contains("redirects are not followed"), "{}", ran.stderr);
    let head = server.join().unwrap().to_lowercase();
    assert!(head.starts_with("post /debug/profile http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nx-tenant: 7\r\n"), "{head}");
    assert!(head.contains("\r\nauthorization: bearer s3cret\r\n"), "{head}");
    assert!(!other.is_finished(), "nobody asked there");
}

#[test]
fn a_unix_socket_needs_no_url() {
    let directory = tempdir().unwrap();
    let socket = path(&directory, "debug.sock");
    let file = path(&directory, "x.tar.gz");
    let server = service([Fake::new(Kind::Heap, 10)]).build().serve_unix(&socket).unwrap();
    run(["collect", WINDOW, "--unix-socket", &socket, "-o", &file]).code(0);
    is_whole(&file);
    server.shut_down();
    run(["collect", "--unix-socket", &socket])
        .fails(1, &["request to http://localhost/debug", &socket]);
}

#[test]
fn this_host_is_asked_without_a_proxy() {
    let directory = tempdir().unwrap();
    let socket = path(&directory, "debug.sock");
    let (server, url) = healthy();
    let local = service([Fake::new(Kind::Heap, 10)]).build().serve_unix(&socket).unwrap();
    let proxy = nobody();
    let collect = |args: &[&str]| {
        let mut command = profilez(["collect", WINDOW, "-o", "/dev/null"]);
        command.args(args).env("http_proxy", format!("http://{proxy}"));
        Ran::of(command.output().unwrap())
    };
    collect(&[&url]).code(0);
    collect(&["--unix-socket", &socket, "http://shop.example"]).code(0);
    // The others are, and this one says no.
    collect(&["http://shop.example"]).fails(1, &["shop.example", "refused"]);
    server.shut_down();
    local.shut_down();
}

#[test]
fn of_several_services_each_has_its_own_file() {
    let directory = tempdir().unwrap();
    let into = directory.path().to_str().unwrap();
    let (server, url) = healthy();
    let nobody = nobody();
    let ran = run(["collect", &url, &nobody, WINDOW, "-o", into, "--json"]).code(3);
    assert!(ran.error().contains(&nobody), "{}", ran.stderr);
    let lines: Vec<serde_json::Value> =
        ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines.iter().filter(|line| line["complete"] == true).count(), 1);
    assert_eq!(listed(&directory).len(), 1);

    // Several bundles of one second, or of two services behind one address, have one name.
    for _ in 0..3 {
        run(["collect", &url, WINDOW, "-o", into]).code(0);
    }
    let files = listed(&directory);
    assert!(files.len() == 4 && files.iter().all(|name| name.ends_with(".tar.gz")), "{files:?}");
    files.iter().for_each(|name| is_whole(&path(&directory, name)));
    server.shut_down();

    run(["collect", &nobody]).fails(1, &[&nobody, "refused"]);
}

#[test]
fn a_busy_service_is_to_be_asked_again() {
    let gate = Gate::new();
    let server = service([Fake::new(Kind::Heap, 10)]).gate(gate.clone()).build();
    let server = server.serve("127.0.0.1:0").unwrap();
    let url = server.local_addr().unwrap().to_string();
    let permit = gate.try_enter(Duration::from_secs(7)).unwrap();
    let ran = run(["collect", &url, WINDOW, "--timeout", "2s"]).fails(1, &["answered 409"]);
    assert!(ran.stderr.contains("try again in"), "{}", ran.stderr);
    drop(permit);
    // With time enough it is waited for.
    let permit = gate.try_enter(Duration::from_secs(1)).unwrap();
    let child = super::start(["collect", &url, WINDOW, "-o", "/dev/null"]);
    std::thread::sleep(Duration::from_millis(1200));
    drop(permit);
    Ran::of(child.wait_with_output().unwrap()).code(0);
    server.shut_down();
}

#[test]
fn a_service_that_says_never_is_not_waited_for() {
    for after in ["18446744073709551615", "9223372036854775807", "99999999999999999999", "-1"] {
        let head = "HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\nRetry-After: ";
        let answer = format!("{head}{after}\r\n\r\nno");
        let (url, _) = answering(answer.into(), Then::HangUp);
        run(["collect", &url, WINDOW, "--timeout", "1s"]).fails(1, &["answered 409: no"]);
    }
}

#[test]
fn a_kind_that_is_missing_is_said() {
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    let broken = Fake::faulty(Kind::Cpu, Fault::Finish);
    let (server, url) = serve([Fake::new(Kind::Heap, 10), broken]);
    let ran = run(["collect", &url, WINDOW, "-o", &file]).code(3);
    assert_eq!(ran.text(), format!("{file}\n"));
    assert!(ran.stderr.contains("cpu failed: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("told to fail"), "{}", ran.stderr);
    is_whole(&file);
    // What goes to standard output is read as well.
    let ran = run(["collect", &url, WINDOW, "-o", "-"]).code(3);
    assert!(ran.stderr.contains("cpu failed: "), "{}", ran.stderr);
    let ran = run(["collect", &url, WINDOW, "-p", "block"]).fails(1, &["answered 501", "absent"]);
    assert!(ran.stderr.contains("bring it back"), "{}", ran.stderr);
    run(["collect", &url, WINDOW, "-p", "nonsense"]).fails(2, &["unknown profile", "nonsense"]);
    server.shut_down();
    let server = service([]).collectors(Collectors::new()).build().serve("127.0.0.1:0").unwrap();
    let url = format!("{}/elsewhere", server.local_addr().unwrap());
    let ran = run(["collect", &url]).fails(1, &["answered 404"]);
    assert!(ran.stderr.contains("no such endpoint"), "{}", ran.stderr);
    server.shut_down();
}

#[test]
fn what_arrived_of_a_broken_answer_is_kept() {
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    let (bundle, second) = bundle("shop");
    let broken = |len: usize| {
        let mut answer = HEAD.as_bytes().to_vec();
        answer.extend(chunk(&bundle[..len]));
        answering(answer, Then::HangUp).0
    };
    let ran = run(["collect", &broken(second), "-o", &file]).code(3);
    let kept = format!("{file}.partial");
    assert_eq!(ran.text(), format!("{kept}\n"));
    assert!(ran.error().contains("failed"), "{}", ran.stderr);
    let bytes = fs::metadata(&kept).unwrap().len();
    assert!(ran.stderr.contains(&format!("what arrived ({bytes} bytes) is in {kept}")));
    assert_eq!(listed(&directory), ["x.tar.gz.partial"]);
    let facts = run(["inspect", "--json", &kept]).code(3).json();
    assert_eq!(facts["entries"].as_array().unwrap().len(), 1);
    assert_eq!(facts["entries"][0]["name"], "heap.prof");
    let why = facts["manifest"]["incomplete"].as_str().unwrap();
    assert!(why.contains("request to http://"), "{facts}");
    run(["report", &format!("{kept}:heap.prof")]).code(0);

    // The first bytes of any bundle are worth nothing.
    fs::remove_file(&kept).unwrap();
    run(["collect", &broken(10), "-o", &file]).fails(1, &["failed"]);
    assert!(listed(&directory).is_empty());

    // Whoever reads from standard output has what arrived.
    let ran = run(["collect", &broken(second), "-o", "-"]).code(3);
    let bundle = profilez::archive::Bundle::read(&ran.stdout[..], &Limits::default()).unwrap();
    assert!(bundle.truncated && bundle.entry("heap.prof").is_some());
}

#[test]
fn what_is_no_bundle_is_not_kept() {
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    let collect = |answer: Vec<u8>| {
        let (url, _) = answering(answer, Then::HangUp);
        let ran = run(["collect", &url, "-o", &file]);
        assert!(listed(&directory).is_empty(), "{:?}", listed(&directory));
        ran
    };
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi";
    collect(html.into()).fails(1, &["text/html", "instead of a bundle"]);
    let mut text = HEAD.as_bytes().to_vec();
    text.extend([chunk(b"hello, this is no bundle"), chunk(b"")].concat());
    collect(text).fails(1, &["24 bytes that are no bundle"]);
    let empty = "HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\nContent-Length: 0\r\n\r\n";
    collect(empty.into()).fails(1, &["0 bytes"]);
    collect(b"nonsense\r\n\r\n".to_vec()).fails(1, &["failed"]);
    // What a server says is shown, not obeyed.
    let evil = "HTTP/1.1 500 Oops\r\nContent-Length: 14\r\n\r\n\x1b[2Jevil\r\nfake";
    let ran = collect(evil.into()).fails(1, &["answered 500", "evil"]);
    assert!(!ran.stderr.contains('\x1b'), "{:?}", ran.stderr);
    let unseen = "\u{9b}2J\u{202e}\u{200b}\u{feff}\u{2028}\u{ad}\u{e0041}";
    let json = format!("{{\"message\":\"{unseen}\",\"detail\":\"{unseen}\"}}");
    for body in [unseen, &json] {
        let evil = format!("HTTP/1.1 500 Oops\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let shown = "\\u{9b}2J\\u{202e}\\u{200b}\\u{feff}\\u{2028}\\u{ad}\\u{e0041}";
        let ran = collect(evil.into()).fails(1, &["answered 500", shown]);
        let raw = |c: char| c != '\n' && profilez::format::is_unseen(c);
        assert!(!ran.stderr.contains(raw), "{:?}", ran.stderr);
    }
}

#[test]
fn more_than_is_wanted_is_not_taken() {
    let directory = tempdir().unwrap();
    let file = path(&directory, "x.tar.gz");
    let (server, url) = serve([Fake::new(Kind::Cpu, 1000), Fake::new(Kind::Heap, 2 << 20)]);
    let ran = run(["collect", &url, WINDOW, "-o", &file, "--max-size", "1"]);
    let ran = ran.fails(1, &["larger than the limit of 1048576 bytes"]);
    assert!(ran.stderr.contains("--max-size"), "{}", ran.stderr);
    assert!(listed(&directory).is_empty());
    run(["collect", &url, WINDOW, "-o", &file, "--max-size", "3"]).code(0);
    server.shut_down();
}
