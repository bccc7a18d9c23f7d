//! The verdicts on odd inputs, round trips, and bytes of every kind.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::profile::wire::{FieldSink, WireMessage};
use crate::profile::{Builder, Mapping, Stacks, StrId, ValueType};

/// Fields of a message, written as they are told.
#[derive(Clone, Default)]
struct RawFields(Vec<u8>);

impl RawFields {
    fn number(mut self, field: u64, value: u64) -> RawFields {
        self.0.varint(field << 3);
        self.0.varint(value);
        self
    }

    fn bytes(mut self, field: u64, bytes: impl AsRef<[u8]>) -> RawFields {
        self.0.varint(field << 3 | 2);
        self.0.varint(bytes.as_ref().len() as u64);
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    fn then(mut self, bytes: &[u8]) -> RawFields {
        self.0.extend_from_slice(bytes);
        self
    }
}

impl AsRef<[u8]> for RawFields {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn raw() -> RawFields {
    RawFields::default()
}

/// Makes a profile with one sample type, no samples and the strings `"", "a"`.
fn header() -> RawFields {
    raw().bytes(1, raw().number(1, 1)).bytes(6, "").bytes(6, "a")
}

fn sample() -> RawFields {
    raw().bytes(2, raw().bytes(1, [1]).bytes(2, [5]))
}

fn location(id: u64) -> RawFields {
    raw().bytes(4, raw().number(1, id).number(3, 4096))
}

/// Reads the bytes as a profile and as stacks, which must come to the same.
fn decode(bytes: &[u8]) -> Result<Profile, DecodeError> {
    let limits = DecodeLimits::default();
    let decoded = Profile::decode(bytes, &limits);
    let stacks = Stacks::read(bytes, &limits);
    let pieces = in_pieces(bytes, &limits);
    match &decoded {
        Ok(profile) => {
            assert_eq!(summed(&stacks.unwrap()), twin(profile));
            assert_eq!(summed(&Stacks::of(profile)), twin(profile));
            assert_eq!(summed(&pieces.unwrap()), twin(profile));
        }
        Err(error) => {
            let text = error.to_string();
            assert_eq!(stacks.expect_err(&text).to_string(), text);
            assert_eq!(pieces.expect_err(&text).to_string(), text);
        }
    }
    let profile = decoded?;
    let again = Profile::decode(&profile.encode(), &DecodeLimits::default()).unwrap();
    assert_eq!(again.encode(), profile.encode(), "decode, encode, decode");
    match profile.check() {
        Ok(()) | Err(crate::profile::CheckError::NoLabelKey { .. }) => Ok(profile),
        Err(error) => panic!("decoded but not valid: {error}"),
    }
}

/// Reads a raw profile in pieces of a few bytes, and a gzip'd one decompressed.
fn in_pieces(bytes: &[u8], limits: &DecodeLimits) -> Result<Stacks<'static>, DecodeError> {
    let mut raw = Vec::new();
    match Inflate::new(bytes, limits) {
        Some(mut inflate) => {
            let mut piece = [0; 1000];
            while let length @ 1.. = inflate.fill(&mut piece)? {
                raw.extend_from_slice(&piece[..length]);
            }
        }
        None => raw.extend_from_slice(bytes),
    }
    let read = |size| {
        let mut reader = StacksReader::new(size, 0, limits);
        raw.chunks(size).try_for_each(|piece| reader.feed(piece.to_vec()))?;
        reader.finish()
    };
    let texts = |stacks: Result<Stacks<'static>, DecodeError>| {
        stacks.map(|stacks| summed(&stacks)).map_err(|error| error.to_string())
    };
    let expected = texts(read(1 << 10));
    for size in [1, 16, 64] {
        assert_eq!(texts(read(size)), expected, "in pieces of {size} bytes");
    }
    read(1 << 10)
}

/// Stacks with their sums, in order, and what the samples were.
type SummedStacks = (Vec<(Vec<u32>, Vec<i128>)>, u64, u64, u64);

fn summed(stacks: &Stacks<'_>) -> SummedStacks {
    let width = stacks.profile().sample_types.len();
    let all = (0..stacks.len()).map(|stack| {
        let values = (0..width).map(|column| stacks.value(stack, column));
        (stacks.locations(stack).collect(), values.collect())
    });
    let facts = stacks.facts();
    (all.collect(), facts.samples, facts.without_stack, facts.negative)
}

fn twin(profile: &Profile) -> SummedStacks {
    let mut all: Vec<(Vec<u32>, Vec<i128>)> = Vec::new();
    for sample in profile.samples.iter() {
        let values = sample.values.iter().map(|&value| i128::from(value));
        match all.iter_mut().find(|(stack, _)| stack == sample.stack) {
            Some((_, sums)) => sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value),
            None => all.push((sample.stack.to_vec(), values.collect())),
        }
    }
    let count = |test: fn(&crate::profile::Sample<'_>) -> bool| {
        profile.samples.iter().filter(test).count() as u64
    };
    let negative = count(|sample| sample.values.iter().any(|&value| value < 0));
    (all, profile.samples.len() as u64, count(|sample| sample.stack.is_empty()), negative)
}

#[track_caller]
fn accepts(bytes: impl AsRef<[u8]>) -> Profile {
    decode(bytes.as_ref()).unwrap()
}

#[track_caller]
fn rejects(bytes: impl AsRef<[u8]>, expected: &str) {
    assert_eq!(decode(bytes.as_ref()).expect_err(expected).to_string(), expected);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn accepts_what_pprof_accepts() {
    let whole = header().then(&sample().0).then(&location(1).0);
    assert_eq!(accepts(&whole).samples.get(0).stack, [0]);

    let empty_stack = accepts(header().bytes(2, raw().bytes(2, [5])));
    assert!(empty_stack.samples.get(0).stack.is_empty());

    let no_such_mapping = raw().bytes(4, raw().number(1, 1).number(2, 9));
    assert_eq!(accepts(header().then(&no_such_mapping.0)).locations[0].mapping, None);

    let negative = header().bytes(2, raw().number(2, u64::MAX));
    assert_eq!(accepts(negative).samples.get(0).values, [-1]);

    let unpacked = header().then(&location(1).0).then(&location(2).0);
    let unpacked = unpacked.bytes(2, raw().number(1, 2).number(2, 7).number(1, 1));
    assert_eq!(accepts(unpacked).samples.get(0).stack, [1, 0]);

    let unknown = whole.clone().number(99, 1).bytes(98, "x").then(b"\x81\x06eightbyt\x85\x06four");
    assert_eq!(accepts(unknown).samples.len(), 1);

    let not_utf8 = accepts(header().bytes(6, b"f\xffo"));
    assert_eq!(not_utf8.str(StrId(2)), "f\u{fffd}o");

    let huge_ids = header().then(&location(1 << 63).0).then(&location(u64::MAX).0);
    let ten_bytes = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    let huge_ids = huge_ids.bytes(2, raw().bytes(1, ten_bytes).bytes(2, [1]));
    assert_eq!(accepts(huge_ids).samples.get(0).stack, [0]);

    let scattered = header().then(&location(9).0).then(&location(2).0);
    let scattered = scattered.bytes(2, raw().bytes(1, [2, 9]).bytes(2, [1]));
    assert_eq!(accepts(scattered).samples.get(0).stack, [1, 0]);

    let mut members = gzip(&whole.0[..9]);
    members.extend(gzip(&whole.0[9..]));
    assert_eq!(accepts(members).encode(), accepts(&whole).encode());

    let deep = header().then(&location(1).0);
    let deep = deep.bytes(2, raw().bytes(1, vec![1; 200_000]).bytes(2, [1]));
    assert_eq!(accepts(gzip(&deep.0)).samples.get(0).stack.len(), 200_000);

    let bad_regex = header().bytes(6, "(").number(7, 2);
    assert_eq!(accepts(bad_regex).drop_frames, StrId(2));
}

#[test]
fn rejects_what_pprof_rejects() {
    rejects("", "the profile is empty");
    rejects(gzip(b""), "the profile is empty");
    rejects(raw().bytes(6, ""), "the profile has no sample types");
    rejects(raw().bytes(1, raw()), "the profile has no string table");
    rejects(raw().bytes(6, "x"), "string_table at byte 0: the first string is not empty");

    let header = header();
    let at = header.0.len();
    rejects(
        header.clone().then(&sample().0),
        &format!("sample.location_id at byte {at}: id 1 is not defined"),
    );
    rejects(
        header.clone().then(&location(7).0).then(&sample().0),
        &format!("sample.location_id at byte {}: id 1 is not defined", at + 7),
    );
    rejects(
        header.clone().bytes(2, raw().bytes(1, [0]).bytes(2, [5])),
        &format!("sample.location_id at byte {at}: the id is 0"),
    );
    rejects(header.clone().then(&location(0).0), &format!("location.id at byte {at}: the id is 0"));
    rejects(
        header.clone().then(&location(1).0).then(&location(1).0),
        &format!("location.id at byte {}: id 1 is given twice", at + 7),
    );
    rejects(
        header.clone().then(&location(1 << 40).0).then(&location(1 << 40).0),
        &format!("location.id at byte {}: id 1099511627776 is given twice", at + 12),
    );
    rejects(header.clone().bytes(3, ""), &format!("mapping.id at byte {at}: the id is 0"));
    rejects(header.clone().bytes(5, ""), &format!("function.id at byte {at}: the id is 0"));
    let line = |function| raw().number(1, 1).bytes(4, raw().number(1, function));
    rejects(
        header.clone().bytes(4, line(3)),
        &format!("line.function_id at byte {at}: id 3 is not defined"),
    );
    rejects(
        header.clone().bytes(4, line(0)),
        &format!("line.function_id at byte {}: the id is 0", at + 4),
    );
    rejects(
        header.clone().bytes(2, raw().bytes(2, [1, 2])),
        &format!("sample at byte {at}: there are 2 values instead of 1"),
    );
    rejects(
        header.clone().bytes(2, raw().bytes(2, [1])).bytes(2, ""),
        &format!("sample at byte {}: there are 0 values instead of 1", at + 5),
    );
    rejects(
        header.clone().number(14, 2),
        &format!("default_sample_type at byte {at}: there is no string 2 among 2"),
    );
    rejects(
        header.clone().number(7, -1_i64 as u64),
        &format!("drop_frames at byte {at}: there is no string {} among 4294967296", u64::MAX),
    );
    rejects(
        header.clone().bytes(2, raw().bytes(2, [1]).bytes(3, raw().number(1, 9))),
        &format!("label.key at byte {}: there is no string 9 among 2", at + 7),
    );
    rejects(
        header.clone().bytes(13, [1, 9]),
        &format!("comment at byte {at}: there is no string 9 among 2"),
    );
    rejects(
        header.clone().number(9, 1).number(9, 1),
        &format!("a second profile begins at byte {}", at + 2),
    );
}

#[test]
fn rejects_broken_wire_format() {
    let header = header();
    let at = header.0.len();
    let tail = |bytes: &[u8], expected: &str| {
        rejects(header.clone().then(bytes), &format!("profile at byte {at}: {expected}"));
    };
    tail(b"\x80", "the number is cut short");
    tail(b"\x60", "the number is cut short");
    tail(b"\x60\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "the number has more than ten bytes");
    tail(b"\x12\x05abc", "5 bytes are needed, 3 are left");
    tail(
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        "18446744073709551615 bytes are needed, 0 are left",
    );
    tail(b"\x99\x06short", "8 bytes are needed, 5 are left");
    tail(b"\x9d\x06abc", "4 bytes are needed, 3 are left");
    for group in [3_u8, 4, 6, 7] {
        tail(&[0x60 | group], &format!("unexpected wire type {group}"));
    }
    rejects(
        header.clone().bytes(9, "a"),
        &format!("time_nanos at byte {at}: unexpected wire type 2"),
    );
    rejects(header.clone().number(2, 1), &format!("sample at byte {at}: unexpected wire type 0"));
    rejects(
        header.clone().bytes(2, raw().bytes(1, [0x80])),
        &format!("sample.location_id at byte {}: the number is cut short", at + 2),
    );
    rejects(
        header.clone().bytes(2, b"\x09eightbyt"),
        &format!("sample.location_id at byte {}: unexpected wire type 1", at + 2),
    );
}

#[test]
fn rejects_broken_gzip() {
    let whole = header().then(&sample().0).then(&location(1).0).0;
    let packed = gzip(&whole);
    let broken = |bytes: &[u8]| {
        let error = decode(bytes).unwrap_err();
        assert!(matches!(error, DecodeError::Gzip { .. }), "{error}");
    };
    for length in 2..packed.len() {
        broken(&packed[..length]);
    }
    let mut bad_sum = packed.clone();
    bad_sum[packed.len() - 8] ^= 1;
    broken(&bad_sum);
    broken(&[packed.as_slice(), b"trailing garbage"].concat());
    broken(&[packed.as_slice(), &[0; 16]].concat());
    rejects(gzip(&packed), "gzip inside gzip");
}

#[test]
fn cut_anywhere_it_never_panics() {
    let whole = header().then(&sample().0).then(&location(1).0).0;
    for length in 0..whole.len() {
        let _ = decode(&whole[..length]);
    }
    accepts(whole);
}

#[test]
fn limits_hold() {
    let profile = header().then(&location(1).0).then(&sample().0);
    let refused = |bytes: &[u8], limits: DecodeLimits| {
        let error = Profile::decode(bytes, &limits).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
        let error = Stacks::read(bytes, &limits).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
    };
    let few_bytes = DecodeLimits { max_bytes: 20, ..DecodeLimits::default() };
    refused(&profile.0, few_bytes);
    refused(&gzip(&profile.0), few_bytes);
    refused(&profile.0, DecodeLimits { max_memory: 100, ..DecodeLimits::default() });

    let bomb = gzip(&header().bytes(6, vec![b'a'; 17 << 20]).0);
    refused(&bomb, DecodeLimits { max_ratio: 1, ..DecodeLimits::default() });
}

#[test]
fn small_messages_in_great_numbers_stay_small() {
    // Enough for the bound on memory to count, which is as much larger for more of them.
    const MESSAGES: usize = 50_000;
    let samples = [0x12, 0x00].repeat(MESSAGES);
    rejects(
        header().then(&samples),
        &format!("sample at byte {}: there are 0 values instead of 1", header().0.len()),
    );
    // Without a sample type before them, two bytes a sample are believed up to the limit.
    let limits = DecodeLimits { max_memory: 160 << 10, ..DecodeLimits::default() };
    let error = Profile::decode(&samples, &limits).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
    // The same inside a single message.
    let labels = header().bytes(2, [0x1a, 0x00].repeat(MESSAGES));
    let error = Profile::decode(&labels.0, &limits).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
}

#[test]
fn frames_are_counted_with_those_inlined() {
    let mut builder = Builder::new(&[("samples", "count")]);
    let name = builder.str("f");
    let function = builder.function(Function { name, ..Function::default() });
    let lines = [Line { function, line: 1, column: 0 }; 100];
    let place = builder.location(None, 1, &lines);
    builder.sample(&[place; 50], &[1], &[]);
    let bytes = builder.finish().encode_gzip();
    let enough = DecodeLimits { max_frames: 5000, ..DecodeLimits::default() };
    assert!(Profile::decode(&bytes, &enough).is_ok() && Stacks::read(&bytes, &enough).is_ok());
    let limits = DecodeLimits { max_frames: 4999, ..enough };
    let expected = "the profile has more than 4999 frames in its stacks";
    assert_eq!(Profile::decode(&bytes, &limits).unwrap_err().to_string(), expected);
    assert_eq!(Stacks::read(&bytes, &limits).unwrap_err().to_string(), expected);
    assert!(DecodeLimits::of_file(1 << 20).max_memory < 100 << 20);
}

#[test]
fn texts_are_cut_where_a_character_begins() {
    let mut profile = full();
    let long = profile.strings.push(&"ä".repeat(100));
    profile.functions[0].name = long;
    let mut stacks = Stacks::of(&profile);
    stacks.shorten_texts(51);
    assert_eq!(stacks.profile().str(long), "ä".repeat(25) + "\u{2026}");
    assert_eq!(stacks.profile().str(profile.comments[0]), "made for a test");
}

/// Makes a profile that uses every field of the model.
fn full() -> Profile {
    let mut builder = Builder::new(&[("alloc_space", "bytes"), ("inuse_space", "bytes")]);
    let filename = builder.str("/bin/service");
    let build_id = builder.str("c0ffee");
    let mapping = builder.mapping(Mapping {
        start: 0x1000,
        limit: u64::MAX,
        offset: 0x2000,
        filename,
        build_id,
        has_functions: true,
        has_filenames: true,
        has_line_numbers: true,
        has_inline_frames: true,
    });
    let name = builder.str("service::run");
    let system_name = builder.str("_ZN7service3runE");
    let function = builder.function(Function { name, system_name, filename, start_line: -3 });
    let lines = [Line { function, line: 7, column: 2 }, Line { function, line: -1, column: 0 }];
    let first = builder.location(Some(mapping), 0x1234, &lines);
    let second = builder.location(None, u64::MAX, &[]);
    let labels =
        [builder.text_label("thread", "main"), builder.number_label("bytes", -48, "bytes")];
    builder.sample(&[second, first, second], &[i64::MIN, i64::MAX], &labels);
    builder.sample(&[], &[0, 0], &[]);
    builder.period("space", "bytes", 524_288);
    builder.comment("made for a test");
    let default_sample_type = builder.str("alloc_space");
    let pattern = builder.str("service::.*");
    let profile = builder.profile_mut();
    profile.locations[1].is_folded = true;
    profile.default_sample_type = default_sample_type;
    (profile.drop_frames, profile.keep_frames, profile.doc_url) = (pattern, filename, pattern);
    (profile.time_nanos, profile.duration_nanos) = (1_700_000_000_000_000_000, 10);
    builder.finish()
}

#[test]
fn every_field_comes_back() {
    let profile = full();
    let decoded = accepts(profile.encode());
    assert_eq!(format!("{decoded:?}"), format!("{profile:?}"));
    assert_eq!(accepts(profile.encode_gzip()).encode(), profile.encode());
    for length in 0..profile.encode().len() {
        let _ = decode(&profile.encode()[..length]);
    }
}

#[test]
fn a_stack_is_the_same_however_it_is_written() {
    let places = location(1).then(&location(300).0);
    let written = |stack: RawFields| raw().bytes(2, stack.bytes(2, [5]));
    let packed = written(raw().bytes(1, [1, 0xac, 2]));
    let unpacked = written(raw().number(1, 1).number(1, 300));
    let mixed = written(raw().bytes(1, [1]).bytes(1, "").number(1, 300));
    let long = written(raw().bytes(1, [0x81, 0x80, 0, 0xac, 2]));
    let apart = raw().bytes(2, raw().bytes(1, [1]).bytes(2, [5]).number(1, 300));
    let all = [packed, unpacked, mixed, long, apart];
    let all = all.into_iter().fold(header().then(&places.0), |all, sample| all.then(&sample.0));
    assert_eq!(accepts(&all).samples.len(), 5);
    let limits = DecodeLimits::default();
    let stacks = Stacks::read(&all.0, &limits).unwrap();
    assert_eq!((stacks.len(), stacks.value(0, 0)), (1, 25));
}

#[test]
fn stacks_in_great_numbers_come_back() {
    let mut builder = Builder::new(&[("a", "count")]);
    for place in 0..300 {
        builder.location(None, place, &[]);
    }
    for number in 0..5000_u32 {
        builder.sample(&[number % 300, number / 7 % 300], &[i64::from(number)], &[]);
    }
    for value in [i64::MAX, i64::MAX, -5] {
        builder.sample(&[7], &[value], &[]);
    }
    let stacks = accepts(builder.finish().encode());
    let mut stacks = Stacks::of(&stacks);
    let last = stacks.len() - 1;
    assert_eq!(stacks.value(last, 0), i128::from(i64::MAX) * 2 - 5);
    stacks.retain(|stack| stack == last || stack == 3);
    assert_eq!((stacks.len(), stacks.value(1, 0)), (2, i128::from(i64::MAX) * 2 - 5));
    assert_eq!(stacks.locations(0).collect::<Vec<_>>(), [3, 0]);
}

#[test]
fn fields_may_come_in_any_order() {
    struct TypeMessage(ValueType);
    impl WireMessage for TypeMessage {
        fn write<S: FieldSink>(&self, sink: &mut S) {
            self.0.write(sink);
        }
    }
    let mut fields = Vec::new();
    fields.message(2, &crate::profile::Sample { stack: &[0], values: &[5], labels: &[] });
    fields.message(1, &TypeMessage(ValueType { kind: StrId(1), unit: StrId(1) }));
    let backwards = raw().then(&fields).then(&location(1).0).bytes(6, "").bytes(6, "a");
    assert_eq!(accepts(backwards).samples.get(0).values, [5]);
}

/// Makes profiles whose places, functions and samples all refer to what is there.
fn profiles() -> impl Strategy<Value = Profile> {
    let texts = vec("\\PC{0,6}", 1..8);
    let locations = vec((any::<u64>(), vec((any::<u8>(), any::<i64>()), 0..4)), 1..12);
    let samples = vec((vec(any::<u16>(), 0..9), any::<[i64; 2]>(), any::<Option<i64>>()), 0..20);
    (texts, locations, samples).prop_map(|(texts, locations, samples)| {
        let mut builder = Builder::new(&[("a", "count"), ("b", "bytes")]);
        let functions: Vec<u32> = texts
            .iter()
            .map(|text| {
                let name = builder.str(text);
                builder.function(Function { name, ..Function::default() })
            })
            .collect();
        for (address, lines) in &locations {
            let lines: Vec<Line> = lines
                .iter()
                .map(|&(function, line)| {
                    let function = functions[function as usize % functions.len()];
                    Line { function, line, column: 0 }
                })
                .collect();
            builder.location(None, *address, &lines);
        }
        for (stack, values, label) in &samples {
            let stack: Vec<u32> =
                stack.iter().map(|&index| u32::from(index) % locations.len() as u32).collect();
            let label = label.map(|number| builder.number_label("n", number, "u"));
            builder.sample(&stack, values, label.as_slice());
        }
        builder.finish()
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(profile in profiles()) {
        prop_assert_eq!(profile.check(), Ok(()));
        let decoded = decode(&profile.encode_gzip()).unwrap();
        prop_assert_eq!(format!("{decoded:?}"), format!("{profile:?}"));
    }

    #[test]
    fn any_bytes_are_no_trouble(bytes in vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
        let _ = decode(&gzip(&bytes));
    }

    #[test]
    fn changed_bytes_are_no_trouble(changes in vec((any::<u16>(), any::<u8>()), 1..6)) {
        let mut bytes = full().encode();
        for (position, byte) in changes {
            let position = position as usize % bytes.len();
            bytes[position] = byte;
        }
        let _ = decode(&bytes);
    }
}
