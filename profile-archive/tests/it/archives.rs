//! Archives to test with: honest ones from the writer, others from hand-written headers.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use profile_archive::{Bundle, BundleWriter, Header, Limits, Source};

/// What is known of the collections of these tests.
pub(crate) fn facts() -> Header {
    Header {
        service: "shop".into(),
        version: "1.4.2".into(),
        host: "web-3".into(),
        pid: 4711,
        build_id: "c0ffee".into(),
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        window: Duration::from_secs(10),
        source: Source::Consolidated,
        rates: BTreeMap::new(),
    }
}

/// A bundle from the writer.
pub(crate) fn bundle(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = BundleWriter::new(Vec::new(), facts()).unwrap();
    for (name, data) in entries {
        writer.append_bytes("cpu", &name.parse().unwrap(), data, Duration::ZERO).unwrap();
    }
    writer.finish().unwrap()
}

/// A small bundle with a compressed, a stored and an empty entry.
pub(crate) fn small_bundle() -> Vec<u8> {
    bundle(&[
        ("goroutine.txt", b"goroutine 1 [running]:\nmain.main()\n"),
        ("cpu.prof", &gzip(b"a profile, gzip'd once")),
        ("trace.json", b""),
    ])
}

/// One gzip member.
pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A header with a good checksum.
pub(crate) fn header(name: &[u8], kind: u8, size: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..][..size.len()].copy_from_slice(size);
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

/// Makes the checksum good.
pub(crate) fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A size as tar writes it.
pub(crate) fn octal(size: u64) -> Vec<u8> {
    format!("{size:011o}\0").into_bytes()
}

/// An entry of any type with its data and padding.
pub(crate) fn member(name: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = header(name, kind, &octal(data.len() as u64));
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A regular file.
pub(crate) fn file(name: &str, data: &[u8]) -> Vec<u8> {
    member(name.as_bytes(), b'0', data)
}

/// A manifest that lists nothing, and the end of the archive.
pub(crate) fn tail() -> Vec<u8> {
    let mut bytes = file("manifest.json", br#"{"format":1}"#);
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Reads the members as an archive, and says what came of it: names and sizes, warnings without
/// their offsets.
pub(crate) fn read(members: &[Vec<u8>], limits: &Limits) -> (Bundle, Vec<String>) {
    let bundle = Bundle::read(&gzip(&members.concat())[..], limits).unwrap();
    let problems = problems(&bundle);
    (bundle, problems)
}

/// The warnings without their offsets.
pub(crate) fn problems(bundle: &Bundle) -> Vec<String> {
    bundle.warnings.iter().map(|warning| warning.problem.to_string()).collect()
}

/// A head, then the same bytes again and again without end.
pub(crate) struct Endless {
    bytes: Vec<u8>,
    again: usize,
    at: usize,
}

impl Endless {
    /// A gzip'd archive, all in stored blocks, whose last part is repeated without end.
    pub(crate) fn archive(head: &[u8], again: &[u8]) -> Endless {
        let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        bytes.extend(stored(head));
        let start = bytes.len();
        bytes.extend(stored(again));
        Endless { bytes, again: start, at: 0 }
    }
}

fn stored(data: &[u8]) -> Vec<u8> {
    let [low, high] = u16::try_from(data.len()).unwrap().to_le_bytes();
    [&[0, low, high, !low, !high], data].concat()
}

impl Read for Endless {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.bytes.len() {
            self.at = self.again;
        }
        let read = (&self.bytes[self.at..]).read(buf)?;
        self.at += read;
        Ok(read)
    }
}
