//! Summaries of traces whose content is known.

use proptest::prelude::*;

use super::*;
use crate::Error;

const TRACE: &str = r#"{"displayTimeUnit":"ms","otherData":{"producer":"profilez","window_micros":2000000,
"lost_events":3,"tasks":[
{"name":"checkout","site":"a.rs:7","category":"per-request","state":"idle","count":4,"unpolled":2,"longest_micros":5000000,"await":"a.rs:9"},
{"name":"reads","site":"a.rs:4","category":"background","state":"woken","count":2,"unpolled":2,"longest_micros":4000000,"await":"a.rs:5"},
{"name":"late","site":"a.rs:6","category":"unknown","state":"new","count":1,"unpolled":1,"longest_micros":3000000},
{"name":"ticker","site":"a.rs:1","category":"background","state":"idle","count":1,"unpolled":1,"longest_micros":9000000},
{"name":"busy","site":"a.rs:2","category":"unknown","state":"idle","count":1,"unpolled":0,"longest_micros":1}]},
"traceEvents":[
{"ph":"M","name":"thread_name","pid":1,"tid":11,"ts":0.0,"args":{"name":"worker \"one\""}},
{"ph":"X","cat":"task","name":"busy","pid":1,"tid":11,"ts":1.5,"dur":2000.0,"args":{"task":1,"site":"a.rs:2"}},
{"ph":"X","cat":"task","name":"busy","pid":1,"tid":11,"ts":5000,"dur":22000,"args":{"task":1,"site":"a.rs:2"}},
{"ph":"X","cat":"task","name":"sync","pid":1,"tid":"12","ts":"100000","dur":1900000,"args":{"task":2,"unfinished":true,"site":"a.rs:3"}},
{"ph":"X","cat":"wait","name":"wait","pid":1,"tid":13,"ts":10,"dur":20,"args":{"address":"0x1"}},
{"ph":"s","cat":"wake","name":"wake","pid":1,"tid":11,"ts":25,"id":0},
{"ph":"f","cat":"wake","name":"wake","pid":1,"tid":13,"ts":30,"id":0,"bp":"e"},
{"ph":"s","cat":"woken","name":"wake","pid":1,"tid":13,"ts":40,"id":1},
{"ph":"f","cat":"woken","name":"wake","pid":1,"tid":11,"ts":250040,"id":1,"bp":"e","args":{"task":3,"name":"reads","site":"a.rs:4","waited_micros":250000.000}},
{"ph":"s","cat":"woken","name":"wake","pid":1,"tid":13,"ts":260000,"id":2},
{"ph":"f","cat":"woken","name":"wake","pid":1,"tid":11,"ts":260001,"id":2,"bp":"e","args":{"task":3,"name":"reads","site":"a.rs:4","waited_micros":1.000}},
{"ph":"C","cat":"counter","name":"queue","pid":1,"tid":0,"ts":1,"args":{"ready_tasks":0}},
{"ph":"C","cat":"counter","name":"queue","pid":1,"tid":0,"ts":2,"args":{"ready_tasks":8}},
{"ph":"X","cat":"span","name":"load","pid":1,"tid":11,"ts":5,"dur":1,"args":[1,{"a":null}]}
]}"#;

#[test]
fn says_what_happened() {
    let summary = summarize(TRACE.as_bytes(), &TraceLimits::default()).unwrap();
    assert_eq!((summary.events, summary.threads, summary.lost_events), (14, 3, 3));
    assert_eq!((summary.waits, summary.wake_ups, summary.spans), (1, 1, 1));
    assert_eq!(summary.queue, Some(Queue { mean: 4.0, most: 8.0 }));
    let busiest: Vec<_> = summary.busiest.iter().map(|t| (t.name.as_str(), t.polls)).collect();
    assert_eq!(busiest, [("sync", 1), ("busy", 2)]);
    assert_eq!(summary.busiest[1].busy_micros, 24_000.0);
    let found: Vec<_> = findings(&summary).into_iter().map(|f| (f.what, f.text)).collect();
    let expected = [
        (
            "blocked worker",
            "task sync (a.rs:3) has kept thread  (12) from all other tasks for 1.90 s, and still does",
        ),
        (
            "never polled again",
            "task checkout (a.rs:7): 2 of them, idle for 5.00 s, waits at a.rs:9",
        ),
        ("starved", "task reads (a.rs:4): 2 of them, woken, but not polled for 4.00 s"),
        ("starved", "task late (a.rs:6): started, but not polled for 3.00 s"),
        ("starved", "task reads (a.rs:4): woken, but not polled for 250.00 ms"),
        ("slow polls", "task busy (a.rs:2): 1 poll over 10 ms, the longest 22.00 ms"),
        ("queue", "4.0 tasks on average were ready and had no worker, at most 8"),
        ("lost events", "3 of the oldest found no room"),
    ];
    assert_eq!(found, expected.map(|(what, text)| (what, text.to_owned())));
    // Nothing of a finding is cut off.
    let text = render(&summary, 10, 60);
    assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (what, finding) in expected {
        let finding = words(&format!("{what} {finding}"));
        assert!(words(&text).contains(&finding), "{finding}: {text}");
    }
}

#[test]
fn the_bare_array_is_a_trace_too() {
    let array = TRACE.split_once("\"traceEvents\":").unwrap().1.trim_end_matches('}');
    let summary = summarize(array.as_bytes(), &TraceLimits::default()).unwrap();
    assert_eq!(summary.events, 14);
    assert_eq!(summary.window_micros, 2_000_000.0, "the end of the last event");
}

#[test]
fn a_packed_trace_is_unpacked_within_limits() {
    use std::io::Write as _;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(TRACE.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    assert_eq!(summarize(&packed, &TraceLimits::default()).unwrap().events, 14);
    let limits = TraceLimits { bytes: 900, ..TraceLimits::default() };
    let summary = summarize(&packed, &limits).unwrap();
    assert_eq!(summary.warnings[0], "the trace has more than 900 bytes");
    let cut = summarize(&packed[..packed.len() - 20], &TraceLimits::default()).unwrap();
    assert!(cut.warnings[0].starts_with("the trace can't be unpacked further"), "{cut:?}");
}

#[test]
fn a_trace_that_breaks_off_is_read_up_to_there() {
    let cut = &TRACE[..TRACE.find("1900000").unwrap()];
    let summary = summarize(cut.as_bytes(), &TraceLimits::default()).unwrap();
    assert_eq!(summary.events, 3);
    assert!(summary.warnings[0].starts_with("the trace can't be read further: EOF"), "{summary:?}");
}

#[test]
fn other_files_are_named() {
    let refused = |bytes: &[u8]| summarize(bytes, &TraceLimits::default()).unwrap_err().to_string();
    assert_eq!(
        refused(b"go 1.22 trace\0\0\0\x01"),
        "this is a Go execution trace, not a trace of Chrome events; look at it with `go tool trace FILE`"
    );
    assert_eq!(refused(b"hello"), "this is something unknown, not a trace of Chrome events");
    assert!(matches!(crate::open(TRACE.as_bytes()), Err(Error::NotAProfile(_))));
}

#[test]
fn no_more_is_listed_than_the_limit_says() {
    let polls: Vec<String> = (1..50)
        .map(|n| {
            format!(r#"{{"ph":"X","cat":"task","name":"t{n}","tid":{n},"ts":0,"dur":{n}00000}}"#)
        })
        .collect();
    let trace = format!("[{}]", polls.join(","));
    let limits = TraceLimits { listed: 7, ..TraceLimits::default() };
    let summary = summarize(trace.as_bytes(), &limits).unwrap();
    let names: Vec<&str> = summary.blocked_workers.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["t49", "t48", "t47", "t46", "t45", "t44", "t43"]);
}

#[test]
fn who_blocks_inside_another_is_told_of() {
    // The first two are one inside the other, and so are the next two, of which neither has most.
    let trace = r#"[
        {"ph":"X","cat":"task","name":"inner","tid":1,"ts":10,"dur":120000},
        {"ph":"X","cat":"task","name":"outer","tid":1,"ts":0,"dur":121000},
        {"ph":"X","cat":"task","name":"inner","tid":1,"ts":200000,"dur":110000},
        {"ph":"X","cat":"task","name":"outer2","tid":1,"ts":200000,"dur":300000}]"#;
    let summary = summarize(trace.as_bytes(), &TraceLimits::default()).unwrap();
    let names: Vec<&str> = summary.blocked_workers.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["outer2", "inner", "inner"]);
}

#[test]
fn numbers_stay_numbers() {
    let trace = r#"[{"ph":"X","cat":"task","name":"t","tid":1,"ts":1e308,"dur":1e308},
        {"ph":"X","cat":"task","name":"t","tid":1,"ts":1e308,"dur":1e308}]"#;
    let summary = summarize(trace.as_bytes(), &TraceLimits::default()).unwrap();
    assert!(summary.window_micros.is_finite());
    assert!(summary.busiest[0].busy_micros.is_finite());
}

#[test]
fn limits_are_named() {
    let limits = TraceLimits { events: 4, ..TraceLimits::default() };
    let summary = summarize(TRACE.as_bytes(), &limits).unwrap();
    assert_eq!(summary.events, 4);
    assert!(summary.warnings[0].contains("more than 4 events"), "{:?}", summary.warnings);
    let limits = TraceLimits { names: 1, ..TraceLimits::default() };
    let summary = summarize(TRACE.as_bytes(), &limits).unwrap();
    assert_eq!(summary.busiest[0].name, "(other names)");
    assert!(summary.warnings[0].contains("more than 1 names"), "{:?}", summary.warnings);
}

proptest! {
    #[test]
    fn any_bytes_are_no_trouble(at in 0..TRACE.len(), byte in any::<u8>()) {
        let mut bytes = TRACE.as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(summary) = summarize(&bytes, &TraceLimits::default()) {
            render(&summary, 10, 60);
        }
    }
}
