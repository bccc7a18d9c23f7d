//! `demo`: the first thing that anybody runs.

use std::io::{BufRead as _, BufReader, Read as _};

use profilez::core::profile::{DecodeLimits, Function, Profile};
use tempfile::tempdir;

use super::{interrupt, listed, path, run, start};
use crate::support::http::get;
use crate::support::server::real;

#[test]
fn shows_what_its_workload_does_and_keeps_the_bundle() {
    // One after the other with the tests that measure: it takes a processor for itself.
    let (_one, server, _) = real();
    let directory = tempdir().unwrap();
    let file = path(&directory, "demo.tar.gz");
    let ran = run(["demo", "-d3s", "-o", &file]).code(0);
    for name in ["checkout", "search", "render", "keep_upload", "fill_cache"] {
        let function = format!("profilez::demo::workload::{name} (workload.rs");
        assert!(ran.text().contains(&function), "{name} is not in {}", ran.text());
    }
    for finding in [
        "blocked worker      task reindex (src/demo/tasks.rs:",
        "never polled again  task wait_for_stock (src/demo/tasks.rs:",
        "slow polls          task resize_image (src/demo/tasks.rs:",
    ] {
        assert!(ran.text().contains(finding), "{finding} is not in {}", ran.text());
    }
    assert!(ran.text().contains("\n\nWhat the demo really does"), "{}", ran.text());
    assert!(ran.text().contains("known  60.0% of work  measured "), "{}", ran.text());
    assert!(ran.text().ends_with("%\n"), "{}", ran.text());
    assert!(ran.stderr.contains(&format!("profilez report {file}")), "{}", ran.stderr);
    assert_eq!(listed(&directory), ["demo.tar.gz"]);
    let facts = run(["inspect", "--json", &file]).code(0).json();
    assert_eq!(facts["manifest"]["service"], "demo");
    run(["report", &file]).code(0);
    let trace = run(["trace", "--json", &file]).code(0).json();
    assert_eq!(trace["producer"], "profilez");
    assert!(trace["findings"].as_array().unwrap().len() >= 3, "{trace}");

    run(["demo", "-d1s", "-o", &file]).fails(1, &[&file, "exists", "--force"]);
    server.shut_down();
}

#[test]
fn refuses_what_it_can_not_do() {
    run(["demo", "-d2m"]).fails(2, &["10ms to 1m0s"]);
    run(["demo", "--listen", "nonsense"]).fails(2, &["nonsense"]);
    run(["demo", "--serve", "--listen", "0.0.0.0:0"]).fails(2, &["loopback only"]);
}

#[test]
fn measures_what_is_known() {
    let (_one, server, _) = real();
    let both = run(["demo", "-d12s", "--json"]).code(0).json();
    let report = &both["report"];
    assert_eq!(report["manifest"]["service"], "demo");
    assert_eq!(report["profiles"][0]["totals"][0]["type"], "samples");
    let samples = report["profiles"][0]["totals"][0]["value"].as_f64().unwrap();
    let known = both["known"].as_array().unwrap();
    assert!(known.len() >= 7, "{known:?}");
    for check in known {
        let percent = |name: &str| check[name].as_f64().unwrap_or(f64::NAN);
        let (known, measured) = (percent("known_percent"), percent("measured_percent"));
        // Five points. Where something else takes the processor there are few samples, which say as
        // little as chance lets them: three standard deviations of a binomial distribution.
        let by_chance = 3.0 * (known * (100.0 - known) / samples).sqrt();
        let starved = check["entry"] == "cpu.prof" && samples < 200.0;
        let tolerance = if starved { by_chance.max(5.0) } else { 5.0 };
        assert!((known - measured).abs() < tolerance, "{samples} samples, {check}");
    }
    server.shut_down();
}

#[test]
fn serves_until_it_is_interrupted() {
    let directory = tempdir().unwrap();
    let mut child = start(["demo", "--serve"]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut url = String::new();
    stdout.read_line(&mut url).unwrap();
    let file = path(&directory, "x.tar.gz");
    let ran = run(["collect", url.trim_end(), "-d100ms", "-o", &file]).code(0);
    assert_eq!(ran.text(), format!("{file}\n"));
    let address = url.trim_end().strip_prefix("http://").unwrap();
    let address = address.strip_suffix("/debug/profile").unwrap().parse().unwrap();
    for (kind, function) in [("block", "reserve_stock"), ("mutex", "count_stock")] {
        let all = get(address, &format!("/debug/pprof/{kind}")).body;
        let all = Profile::decode(&all, &DecodeLimits::default()).unwrap();
        let has = |f: &Function| all.str(f.name).ends_with(function);
        assert!(all.functions.iter().any(has), "{kind} has waits without a window");
    }
    interrupt(&child);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "the URL is all that is printed");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn ends_on_an_interrupt() {
    let directory = tempdir().unwrap();
    let mut child = start(["demo", "-d60s", "-o", &path(&directory, "x.tar.gz")]);
    // It says where it listens before it collects.
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("listens on http://127.0.0.1:"), "{line}");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(listed(&directory).is_empty());
}
