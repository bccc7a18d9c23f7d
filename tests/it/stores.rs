//! The published rules of those that scrape and store profiles, over every endpoint: Alloy's
//! (`scrape/validate.go`), Parca's (`normalizer/validate.go`), Pyroscope's (`validation/validate.go`)
//! with the limits that it has by default, and what Go's own profiles look like.

use std::io::Read as _;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::support::fakes::service;
use crate::support::http::{Answer, get};
use crate::support::server::real;

/// A message's fields, read without any of the code under test.
struct Message<'a>(Vec<(u64, Value<'a>)>);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

impl<'a> Message<'a> {
    fn read(mut bytes: &'a [u8]) -> Message<'a> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let value = match tag & 7 {
                0 => Value::Number(varint(&mut bytes)),
                2 => {
                    let len = varint(&mut bytes) as usize;
                    let (value, rest) = bytes.split_at(len);
                    bytes = rest;
                    Value::Bytes(value)
                }
                wire_type => panic!("wire type {wire_type}"),
            };
            fields.push((tag >> 3, value));
        }
        Message(fields)
    }

    fn number(&self, field: u64) -> u64 {
        let mut of = self.0.iter().filter(|(number, _)| *number == field);
        of.next_back().map_or(0, |(_, value)| match value {
            Value::Number(number) => *number,
            Value::Bytes(_) => panic!("field {field} is no number"),
        })
    }

    fn bytes(&self, field: u64) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(number, _)| *number == field).map(|(_, value)| match value {
            Value::Bytes(bytes) => *bytes,
            Value::Number(_) => panic!("a field that is not packed"),
        })
    }

    fn messages(&self, field: u64) -> Vec<Message<'a>> {
        self.bytes(field).map(Message::read).collect()
    }

    fn packed(&self, field: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        for mut bytes in self.bytes(field) {
            while !bytes.is_empty() {
                numbers.push(varint(&mut bytes));
            }
        }
        numbers
    }
}

/// What Alloy looks at before it passes a profile on.
#[track_caller]
fn alloy(answer: &Answer, path: &str) {
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.status);
    let content_type = answer.header("content-type").unwrap();
    assert!(content_type.starts_with("application/octet-stream"), "{path}: {content_type}");
    assert!(answer.whole && answer.body.len() > 2, "{path}");
    assert!(answer.body.starts_with(b"\x1f\x8b"), "{path}: not gzip'd");
}

/// A profile whose bytes are as Parca and Pyroscope want them.
struct Stored {
    sample_types: Vec<String>,
    period_type: String,
    default_sample_type: String,
    duration: u64,
    samples: usize,
    main_file: String,
}

#[track_caller]
fn store(raw: &[u8], path: &str) -> Stored {
    let profile = Message::read(raw);
    let strings: Vec<&str> =
        profile.bytes(6).map(|text| std::str::from_utf8(text).expect(path)).collect();
    assert_eq!(strings.first(), Some(&""), "{path}: string 0");
    let text = |index: u64| *strings.get(index as usize).unwrap_or_else(|| panic!("{path}: text"));
    let name_of =
        |message: &Message<'_>| format!("{}/{}", text(message.number(1)), text(message.number(2)));

    let sample_types: Vec<String> = profile.messages(1).iter().map(name_of).collect();
    assert!(!sample_types.is_empty(), "{path}: no sample types");
    let [samples, mappings, locations, functions] =
        [2, 3, 4, 5].map(|field| profile.messages(field));
    for (kind, entries) in
        [("mapping", &mappings), ("location", &locations), ("function", &functions)]
    {
        for (index, entry) in entries.iter().enumerate() {
            assert_eq!(entry.number(1), index as u64 + 1, "{path}: {kind} ids from 1 on");
        }
    }
    for mapping in &mappings {
        text(mapping.number(5));
        text(mapping.number(6));
        assert!(mapping.number(2) < mapping.number(3), "{path}: an empty mapping");
        for flag in 7..=10 {
            assert_eq!(mapping.number(flag), 1, "{path}: all that can be resolved is");
        }
    }
    for location in &locations {
        assert!(location.number(2) <= mappings.len() as u64, "{path}");
        let lines = location.messages(4);
        assert!(!lines.is_empty(), "{path}: a location without a name");
        for line in lines {
            assert!((1..=functions.len() as u64).contains(&line.number(1)), "{path}");
        }
    }
    for function in &functions {
        let [name, system_name, _file] = [2, 3, 4].map(|field| text(function.number(field)));
        assert!(!name.is_empty() && name.len() <= 65_535, "{path}: {name}");
        assert_ne!(name, system_name, "{path}: readers take it for C++");
    }
    for sample in &samples {
        let (stack, values) = (sample.packed(1), sample.packed(2));
        assert_eq!(values.len(), sample_types.len(), "{path}: values");
        assert!(stack.len() <= 1000, "{path}: {} frames", stack.len());
        for &id in &stack {
            assert!((1..=locations.len() as u64).contains(&id), "{path}: location {id}");
        }
        let labels: Vec<_> = sample.bytes(3).collect();
        assert!(labels.len() <= 100, "{path}: labels");
        for label in &labels {
            let label = Message::read(label);
            assert_ne!(label.number(1), 0, "{path}: a label without a key");
            for field in [1, 2, 4] {
                text(label.number(field));
            }
        }
    }
    // Pyroscope's defaults for a tenant.
    assert!(raw.len() <= 4 << 20, "{path}: {} bytes", raw.len());
    assert!(samples.len() <= 16_000, "{path}: {} samples", samples.len());
    let since = SystemTime::UNIX_EPOCH + Duration::from_nanos(profile.number(9));
    let age = SystemTime::now().duration_since(since).unwrap_or_default();
    assert!(age < Duration::from_secs(120), "{path}: {age:?} old");
    // Allocations have no period where nothing samples them, as in this process outside of windows.
    let sampled = path.contains("seconds") || !(path.contains("heap") || path.contains("allocs"));
    assert!(profile.number(12) > 0 || !sampled, "{path}: period");
    for comment in profile.packed(13) {
        assert_ne!(text(comment), "", "{path}");
    }
    Stored {
        sample_types,
        period_type: name_of(&profile.messages(11)[0]),
        default_sample_type: text(profile.number(14)).to_owned(),
        duration: profile.number(10),
        samples: samples.len(),
        main_file: mappings.first().map_or("", |main| text(main.number(5))).to_owned(),
    }
}

/// The types, period type and default of each endpoint's profiles, as Go's.
const EXPECTED: [(&str, &str, &str, &str); 7] = [
    ("profile", "samples/count cpu/nanoseconds", "cpu/nanoseconds", ""),
    ("heap", HEAP_TYPES, "space/bytes", ""),
    ("allocs", HEAP_TYPES, "space/bytes", "alloc_space"),
    ("block", "contentions/count delay/nanoseconds", "contentions/count", ""),
    ("mutex", "contentions/count delay/nanoseconds", "contentions/count", ""),
    ("goroutine", "goroutine/count", "goroutine/count", ""),
    ("threadcreate", "threadcreate/count", "threadcreate/count", ""),
];
const HEAP_TYPES: &str =
    "alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes";

fn fetch(address: SocketAddr, path: &str) -> Stored {
    let answer = get(address, &format!("/debug/pprof/{path}"));
    alloy(&answer, path);
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut raw).unwrap();
    store(&raw, path)
}

#[track_caller]
fn check(stored: &Stored, path: &str, (_, types, period, default): (&str, &str, &str, &str)) {
    assert_eq!(stored.sample_types.join(" "), types, "{path}");
    assert_eq!(stored.period_type, period, "{path}");
    assert_eq!(stored.default_sample_type, default, "{path}");
}

#[test]
fn stores_take_what_every_endpoint_gives() {
    let (_one, server, address) = real();
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    let available = profilez::core::Collectors::new().available();
    thread::scope(|scope| {
        for expected in EXPECTED {
            let available = &available;
            scope.spawn(move || {
                let (name, ..) = expected;
                let kind = if name == "profile" { "cpu" } else { name };
                let available = available.check(kind.parse().unwrap()).is_ok();
                let mut paths = vec![format!("{name}?seconds=1")];
                if name != "profile" {
                    paths.extend([name.to_owned(), format!("{name}?gc=1")]);
                }
                for path in paths {
                    let stored = fetch(address, &path);
                    check(&stored, &path, expected);
                    if !available {
                        assert_eq!(stored.samples, 0, "{path}");
                        continue;
                    }
                    assert_eq!(stored.main_file, own, "{path}: mapping 1 is the program");
                    let window = path.contains("seconds");
                    let seconds = Duration::from_nanos(stored.duration).as_secs_f64();
                    assert_eq!(window, (1.0..60.0).contains(&seconds), "{path}: {seconds} s");
                }
            });
        }
    });
    server.shut_down();
}

#[test]
fn stores_take_kinds_that_can_not_be_given() {
    let server = service([]).build().serve("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    for expected in EXPECTED {
        let (name, ..) = expected;
        for path in [name.to_owned(), format!("{name}?seconds=14")] {
            let stored = fetch(address, &path);
            check(&stored, &path, expected);
            assert_eq!(stored.samples, 0);
        }
        if name != "profile" {
            let text = get(address, &format!("/debug/pprof/{name}?debug=1"));
            let text = String::from_utf8(text.body).unwrap();
            assert!(text.contains("# not collected: absent\n# bring it back\n"), "{text}");
        }
    }
    server.shut_down();
}
