//! What is written is read back, and other programs could read it too.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use flate2::read::GzDecoder;
use profile_archive::{
    Bundle, BundleReader, BundleWriter, EntryName, Error, Header, Limits, Result, Source,
};
use profile_format::{Content, Kind, Unavailable};
use proptest::prelude::*;

use crate::archives::{bundle, facts, gzip, small_bundle};

const TOOK: Duration = Duration::from_millis(1500);

/// Appends a kind's main file.
fn append(writer: &mut BundleWriter<impl Write>, kind: Kind, content: &Content) -> Result<()> {
    writer.append(kind, kind.file_name(), content, TOOK)
}

#[test]
fn a_session_reads_back() {
    let profile = gzip(b"samples");
    let rates = BTreeMap::from([(Kind::Cpu, 100)]);
    let mut writer = BundleWriter::new(Vec::new(), Header { rates, ..facts() }).unwrap();
    append(&mut writer, Kind::Cpu, &profile.clone().into()).unwrap();
    writer.error(Kind::Heap.name(), "heap could not be collected: disk on fire");
    writer.unavailable(&Unavailable::new(Kind::Mutex, "no hooks", "link them"));
    writer.unavailable(&Unavailable::new(Kind::Block, "no hooks", ""));
    writer.error("trace", "interrupted");
    let file = writer.finish().unwrap();

    let bundle = Bundle::read(&file[..], &Limits::default()).unwrap();
    assert_eq!((bundle.truncated, bundle.warnings), (false, Vec::new()));
    assert_eq!(bundle.entries.len(), 1);
    assert_eq!(bundle.entries[0].name, "cpu.prof");
    assert_eq!(bundle.entries[0].data, profile);
    let manifest = bundle.manifest.unwrap();
    assert_eq!(manifest.started, "2023-11-14T22:13:20.123Z");
    assert_eq!((manifest.service.as_str(), manifest.pid), ("shop", 4711));
    assert_eq!(manifest.source, Source::Consolidated);
    assert_eq!(manifest.rates, BTreeMap::from([("cpu".to_owned(), 100)]));
    let entry = &manifest.entries[0];
    assert_eq!((entry.bytes, entry.took_seconds), (profile.len() as u64, 1.5));
    let unavailable = |i: usize| {
        let it = &manifest.unavailable[i];
        (it.kind.as_str(), it.reason.as_str(), it.hint.as_str())
    };
    assert_eq!(unavailable(0), ("mutex", "no hooks", "link them"));
    assert_eq!(unavailable(1), ("block", "no hooks", ""));
    assert_eq!(manifest.errors[0].error, "heap could not be collected: disk on fire");
    assert_eq!(manifest.errors[1].kind, "trace");
}

#[test]
fn what_is_made_as_it_is_written_is_an_entry_like_any_other() {
    // Of more blocks than one, and with something left over.
    let lines = |writer: &mut dyn Write| (0..10_000).try_for_each(|n| writeln!(writer, "line {n}"));
    let mut expected = Vec::new();
    lines(&mut expected).unwrap();
    assert_ne!(expected.len() % 512, 0);
    let mut whole = BundleWriter::new(Vec::new(), facts()).unwrap();
    append(&mut whole, Kind::Trace, &expected.clone().into()).unwrap();
    let mut made = BundleWriter::new(Vec::new(), facts()).unwrap();
    let written = Content::written(lines).unwrap();
    append(&mut made, Kind::Trace, &written).unwrap();
    assert!(written.in_memory().is_none(), "it never was");
    let [whole, made] = [whole, made].map(|writer| {
        let file = writer.finish().unwrap();
        Bundle::read(&file[..], &Limits::default()).unwrap()
    });
    assert_eq!((made.truncated, made.warnings), (false, Vec::new()));
    assert_eq!(made.entries[0].data, expected);
    assert_eq!(made.manifest.unwrap().entries, whole.manifest.unwrap().entries);
}

#[test]
fn content_that_changes_as_it_is_written_breaks_the_bundle() {
    let times = Mutex::new(Cell::new(0));
    let content = Content::written(move |writer| {
        let times = times.lock().unwrap();
        times.set(times.get() + 1);
        writer.write_all(&vec![b'x'; times.get()])
    });
    let mut writer = BundleWriter::new(Vec::new(), facts()).unwrap();
    let failed = append(&mut writer, Kind::Trace, &content.unwrap());
    assert!(matches!(failed, Err(Error::Write(_))));
    assert!(matches!(writer.finish(), Err(Error::Broken)));
}

#[test]
fn the_hash_is_the_known_one() {
    let file = bundle(&[("cpu.prof", b"abc")]);
    // FIPS 180-2, appendix B.1.
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let contents = BundleReader::open(&file[..], &Limits::default()).unwrap().finish();
    assert_eq!(contents.entries[0].sha256, sha256);
    assert_eq!(contents.manifest.unwrap().entries[0].sha256, sha256);
}

#[test]
fn another_reader_sees_plain_files() {
    let file = small_bundle();
    let mut archive = tar::Archive::new(GzDecoder::new(&file[..]));
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(header.entry_type(), tar::EntryType::Regular);
        assert_eq!(header.mode().unwrap(), 0o644);
        assert_eq!((header.username(), header.groupname()), (Ok(Some("")), Ok(Some(""))));
        assert!(header.mtime().unwrap().abs_diff(now) < 3600);
        names.push(entry.path().unwrap().display().to_string());
        io::copy(&mut entry, &mut io::sink()).unwrap();
    }
    assert_eq!(names, ["goroutine.txt", "cpu.prof", "trace.json", "manifest.json"]);
}

#[test]
fn profiles_are_stored_and_text_is_compressed() {
    let profile = gzip(b"samples that are gzip'd already");
    let text = b"main.worker\n".repeat(10_000);
    let file = bundle(&[("cpu.prof", &profile), ("goroutine.txt", &text)]);
    assert!(file.windows(profile.len()).any(|window| window == profile));
    assert!(file.len() < text.len() / 50);
}

#[test]
fn names_are_given_once() {
    let mut writer = BundleWriter::new(Vec::new(), facts()).unwrap();
    let name: EntryName = "cpu.prof".parse().unwrap();
    let manifest: EntryName = "manifest.json".parse().unwrap();
    writer.append_bytes("cpu", &name, b"1", Duration::ZERO).unwrap();
    for name in [&name, &manifest] {
        let refused = writer.append_bytes("cpu", name, b"2", Duration::ZERO);
        assert!(matches!(refused, Err(Error::NameTaken(taken)) if taken == *name));
    }
    let odd = writer.append(Kind::Cpu, "../cpu.prof", &Vec::new().into(), TOOK);
    assert!(matches!(odd, Err(Error::Name(_))));
    // A refusal leaves the bundle as it was.
    let file = writer.finish().unwrap();
    let bundle = Bundle::read(&file[..], &Limits::default()).unwrap();
    assert_eq!((bundle.truncated, bundle.entries.len()), (false, 1));
    assert_eq!(bundle.entries[0].data, b"1");
}

/// A writer whose bytes can be looked at, and that fails once it holds too many.
#[derive(Clone)]
struct Shared {
    bytes: Rc<RefCell<Vec<u8>>>,
    most: usize,
}

impl Shared {
    fn new(most: usize) -> Shared {
        Shared { bytes: Rc::default(), most }
    }

    fn len(&self) -> usize {
        self.bytes.borrow().len()
    }
}

impl Write for Shared {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.len() + buf.len() > self.most {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.bytes.borrow_mut().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn bytes_leave_as_they_come() {
    let shared = Shared::new(usize::MAX);
    let mut writer = BundleWriter::new(shared.clone(), facts()).unwrap();
    writer.flush().unwrap();
    assert_eq!(shared.len(), 10, "the gzip header, before any profile is there");
    let profile = gzip(b"samples");
    append(&mut writer, Kind::Cpu, &profile.clone().into()).unwrap();
    writer.flush().unwrap();
    let so_far = shared.bytes.borrow().clone();
    drop(writer);
    assert_eq!(shared.len(), so_far.len(), "a dropped writer writes no end");
    let bundle = Bundle::read(&so_far[..], &Limits::default()).unwrap();
    assert!(bundle.truncated);
    assert_eq!(bundle.entries[0].data, profile);
    assert!(bundle.entries[0].complete);
}

#[test]
fn nothing_follows_a_failed_write() {
    let shared = Shared::new(200);
    let mut writer = BundleWriter::new(shared.clone(), facts()).unwrap();
    let profile = [&[0x1f, 0x8b], &[7; 1000][..]].concat();
    let failed = append(&mut writer, Kind::Cpu, &profile.into());
    assert!(matches!(failed, Err(Error::Write(_))));
    assert!(matches!(writer.flush(), Err(Error::Broken)));
    let len = shared.len();
    assert!(matches!(writer.finish(), Err(Error::Broken)));
    assert_eq!(shared.len(), len);
}

#[test]
fn a_dump_of_equal_stacks_is_within_the_ratio() {
    let frames: String = (0..30)
        .map(|i| format!("example.com/shop/internal/checkout.(*Worker).step{i}(0xc000123456)\n\t/src/shop/internal/checkout/worker.go:{} +0x1d\n", 7 * i))
        .collect();
    let dump: String =
        (1..800).map(|id| format!("goroutine {id} [select, 5 minutes]:\n{frames}\n")).collect();
    let file = bundle(&[("goroutine.txt", dump.as_bytes())]);
    let bundle = Bundle::read(&file[..], &Limits::default()).unwrap();
    assert!(dump.len() > 2 << 20);
    assert_eq!((bundle.truncated, bundle.warnings), (false, Vec::new()));
}

#[test]
fn one_entry_is_taken_and_the_rest_only_walked() {
    let file = small_bundle();
    let limits = Limits::default();
    let one = Bundle::read_matching(&file[..], &limits, |name| *name == "cpu.prof").unwrap();
    assert_eq!(one.entries.len(), 1);
    assert_eq!(one.entry("cpu.prof").unwrap().data, gzip(b"a profile, gzip'd once"));
    assert_eq!((one.truncated, one.warnings), (false, Vec::new()));

    let mut reader = BundleReader::open(&file[..], &limits).unwrap();
    let mut first = reader.next_entry().unwrap();
    assert_eq!((first.name().as_str(), first.size()), ("goroutine.txt", 35));
    let mut start = [0; 9];
    first.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"goroutine");
    let contents = reader.finish();
    let listed: Vec<_> =
        contents.entries.iter().map(|e| (e.name.as_str(), e.bytes, e.complete)).collect();
    let profile = gzip(b"a profile, gzip'd once").len() as u64;
    let expected =
        [("goroutine.txt", 35, true), ("cpu.prof", profile, true), ("trace.json", 0, true)];
    assert_eq!(listed, expected);
    assert_eq!((contents.truncated, contents.warnings), (false, Vec::new()));
}

#[test]
fn writers_and_readers_move_between_threads() {
    fn check<T: Send>() {}
    check::<BundleWriter<Vec<u8>>>();
    check::<BundleReader<&[u8]>>();
    check::<Bundle>();
    check::<Error>();
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..1500),
        proptest::collection::vec(any::<u8>(), 0..600).prop_map(|data| gzip(&data)),
        (0..3000_usize).prop_map(|len| b"goroutine 1 [running]:\n"[..].repeat(len / 23)),
        Just([&[0x1f, 0x8b], &[0; 70_000][..]].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_entries_read_back(
        entries in proptest::collection::btree_map("[a-z0-9][a-z0-9._-]{0,20}", data(), 0..6),
    ) {
        let entries: Vec<_> = entries.iter().map(|(n, d)| (n.as_str(), d.as_slice())).collect();
        let bundle = Bundle::read(&bundle(&entries)[..], &Limits::default()).unwrap();
        let read: Vec<_> =
            bundle.entries.iter().map(|e| (e.name.as_str(), e.data.as_slice())).collect();
        prop_assert!(read == entries);
        prop_assert_eq!((bundle.truncated, bundle.warnings), (false, Vec::new()));
        prop_assert_eq!(bundle.manifest.unwrap().entries.len(), entries.len());
    }
}
