//! Bundles of which one thing is lost, in every way that came to mind: none of them is called whole.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use profilez::archive::{Bundle, Limits, Manifest};
use profilez::core::Kind;
use profilez::http::Result;
use profilez::http::client::{Client, Collected, Request};
use tempfile::tempdir;

use super::sources::serving;
use super::{listed, path, run};
use crate::support::fakes::{Fake, service};
use crate::support::http::get;

const BLOCK: usize = 512;
/// Two blocks of zeros.
const END: usize = 2 * BLOCK;
/// The checksum and the size at the end of a gzip member.
const TRAILER: usize = 8;

/// The answer of a service.
#[derive(Clone)]
struct Answer {
    framing: Framing,
    bytes: Vec<u8>,
}

/// How the end of an answer is told.
#[derive(Clone, Copy)]
enum Framing {
    /// It is said how long it is to be.
    Length(usize),
    /// In pieces, of which the last one is empty; `false` leaves that out.
    Chunked(bool),
    /// The connection ends with it.
    Close,
}

impl Answer {
    /// One that is told to be as long as it is.
    fn new(bytes: Vec<u8>) -> Answer {
        Answer { framing: Framing::Length(bytes.len()), bytes }
    }

    fn write(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let (framing, body) = match self.framing {
            Framing::Length(length) => {
                (format!("Content-Length: {length}\r\n"), self.bytes.clone())
            }
            Framing::Close => (String::new(), self.bytes.clone()),
            Framing::Chunked(ends) => {
                let mut body = super::sources::chunk(&self.bytes);
                body.extend_from_slice(if ends { b"0\r\n\r\n" } else { b"" });
                ("Transfer-Encoding: chunked\r\n".to_owned(), body)
            }
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\nProfilez-Format: 1\r\n{framing}\
             Connection: close\r\n\r\n"
        );
        // In one piece: the second of two would wait for the first to be acknowledged.
        stream.write_all(&[head.as_bytes(), &body].concat())
    }
}

/// A server that answers with what it is given, one after the other.
struct Replay {
    url: String,
    next: Arc<Mutex<Option<Answer>>>,
}

impl Replay {
    fn start() -> Replay {
        let next: Arc<Mutex<Option<Answer>>> = Arc::default();
        let answers = Arc::clone(&next);
        let url = serving(move |_, stream| {
            let answer = answers.lock().unwrap().clone();
            // A client that has seen enough hangs up.
            let _ = answer.unwrap().write(stream);
        });
        Replay { url, next }
    }

    /// What the client makes of an answer, and what it writes.
    fn collect(&self, answer: &Answer) -> (Result<Collected>, Vec<u8>) {
        *self.next.lock().unwrap() = Some(answer.clone());
        let client = Client::builder(&self.url).unwrap().build();
        let mut written = Vec::new();
        let request = Request::default().duration("10ms");
        (client.collect(&request, &mut written, &mut |_| {}), written)
    }
}

/// A bundle from a service: packed, unpacked, and the members of its archive.
struct Whole {
    packed: Vec<u8>,
    archive: Vec<u8>,
    /// Entries with their headers and padding, the manifest last.
    members: Vec<Vec<u8>>,
}

fn whole() -> Whole {
    // Of different lengths, since what they hold is the same noise.
    let fakes = [(Kind::Cpu, 700), (Kind::Heap, 710), (Kind::Mutex, 720)];
    let fakes = fakes.map(|(kind, bytes)| Fake::new(kind, bytes));
    let server = service(fakes).build().serve("127.0.0.1:0").unwrap();
    let answer = get(server.local_addr().unwrap(), "/debug/profile?duration=10ms");
    assert_eq!(answer.header("profilez-format"), Some("1"), "it promises a manifest");
    server.shut_down();
    let mut archive = Vec::new();
    GzDecoder::new(&answer.body[..]).read_to_end(&mut archive).unwrap();
    let mut members = Vec::new();
    let mut rest = &archive[..archive.len() - END];
    while !rest.is_empty() {
        let size = std::str::from_utf8(&rest[124..135]).unwrap();
        let size = usize::from_str_radix(size, 8).unwrap();
        let (member, after) = rest.split_at(BLOCK + size.next_multiple_of(BLOCK));
        members.push(member.to_vec());
        rest = after;
    }
    assert_eq!(members.len(), 4);
    Whole { packed: answer.body, archive, members }
}

fn gzip(archive: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(archive).unwrap();
    encoder.finish().unwrap()
}

/// An archive of these members, packed.
fn packed<'a>(members: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u8> {
    let mut archive: Vec<u8> = members.into_iter().flatten().copied().collect();
    archive.resize(archive.len() + END, 0);
    gzip(&archive)
}

/// A header's checksum is made good again, after a change.
fn sealed(mut member: Vec<u8>) -> Vec<u8> {
    member[148..156].fill(b' ');
    let sum: u32 = member[..BLOCK].iter().map(|&byte| u32::from(byte)).sum();
    member[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    member
}

/// A member whose data is this long.
fn resized(member: &[u8], size: usize) -> Vec<u8> {
    let mut member = member[..BLOCK + size].to_vec();
    member[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    member.resize(BLOCK + size.next_multiple_of(BLOCK), 0);
    sealed(member)
}

/// Every case, by a name that says what is lost.
fn cases(whole: &Whole) -> Vec<(String, Answer)> {
    let mut cases = Vec::new();
    let mut case = |name: String, bytes: Vec<u8>| cases.push((name, Answer::new(bytes)));
    let Whole { packed: file, archive, members } = whole;

    // One of the entries, or the manifest.
    for at in 0..members.len() {
        let with = |member: Vec<u8>| {
            let mut members = members.clone();
            members[at] = member;
            packed(&members)
        };
        let member = &members[at];
        let mut others = members.clone();
        others.remove(at);
        case(format!("{at} missing"), packed(&others));
        let mut doubled = members.clone();
        doubled.insert(at, member.clone());
        case(format!("{at} doubled"), packed(&doubled));
        case(format!("{at} again at the end"), packed(members.iter().chain([member])));
        for size in [0, 1, 100, 255] {
            case(format!("{at} is cut to {size}"), with(resized(member, size)));
        }
        for byte in [0, 1, 350, 699] {
            let mut changed = member.clone();
            changed[BLOCK + byte] ^= 1;
            // In the middle of the manifest a letter is as good as another.
            if at < members.len() - 1 {
                case(format!("{at} differs at {byte}"), with(changed));
            }
        }
        for (kind, what) in [(b'2', "a link"), (b'S', "sparse"), (b'Z', "of no known kind")] {
            let mut changed = member.clone();
            changed[156] = kind;
            case(format!("{at} is {what}"), with(sealed(changed)));
        }
        let mut changed = member.clone();
        changed[0] ^= 1;
        case(format!("{at} has another name"), with(sealed(changed)));
        for byte in (0..BLOCK).step_by(11) {
            let mut changed = member.clone();
            changed[byte] ^= 1;
            case(format!("{at} has a bad header at {byte}"), with(changed));
        }
    }
    for (a, b) in [(0, 1), (1, 2)] {
        let mut swapped = members.clone();
        let (first, second) = (swapped[a][BLOCK..].to_vec(), swapped[b][BLOCK..].to_vec());
        swapped[a].splice(BLOCK.., second);
        swapped[b].splice(BLOCK.., first);
        case(format!("{a} and {b} are swapped"), packed(&swapped));
    }

    // The end of the archive.
    let end = archive.len() - END;
    for at in (0..END).step_by(11) {
        let mut changed = archive.clone();
        changed[end + at] = 1;
        case(format!("byte {at} of the end is wrong"), gzip(&changed));
        case(format!("the end is cut at {at}"), gzip(&archive[..end + at]));
    }
    case("the end lacks a byte".to_owned(), gzip(&archive[..archive.len() - 1]));
    for more in [&b"x"[..], &members[0], &archive[..]] {
        let more = [&archive[..], more].concat();
        case("something follows the archive".to_owned(), gzip(&more));
    }

    // The end of the stream.
    for cut in 1..=40 {
        case(format!("{cut} bytes are cut"), file[..file.len() - cut].to_vec());
    }
    for len in (200..file.len()).step_by(61) {
        case(format!("cut to {len}"), file[..len].to_vec());
    }
    for at in 0..TRAILER {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = file.clone();
            let at = changed.len() - TRAILER + at;
            changed[at] ^= flip;
            case(format!("the trailer is wrong: {flip:x}"), changed);
        }
    }
    for more in [&b"\0"[..], b"\0\0\0\0\0\0\0\0", b"garbage", b"\x1f", b"\x1f\x8b", file] {
        case(format!("{} bytes follow", more.len()), [&file[..], more].concat());
    }
    let member = gzip(b"x");
    case("a member follows".to_owned(), [&file[..], &member].concat());
    case("half a member follows".to_owned(), [&file[..], &member[..member.len() - 4]].concat());

    // The answer around it.
    let length = file.len();
    let whole = |framing: Framing| Answer { framing, bytes: file.clone() };
    for more in [1, 2, 100, 1 << 40] {
        cases.push((format!("{more} were to come"), whole(Framing::Length(length + more))));
    }
    for less in 1..=TRAILER {
        cases.push((format!("{less} too many came"), whole(Framing::Length(length - less))));
    }
    cases.push(("no last chunk".to_owned(), whole(Framing::Chunked(false))));
    for cut in 1..=2 * TRAILER {
        for framing in [Framing::Close, Framing::Chunked(true), Framing::Chunked(false)] {
            let bytes = file[..length - cut].to_vec();
            cases.push((format!("{cut} cut at the end"), Answer { framing, bytes }));
        }
    }
    cases
}

#[test]
fn no_loss_is_called_whole() {
    let whole = whole();
    let theirs = Bundle::read(&whole.packed[..], &Limits::default()).unwrap().manifest.unwrap();
    let cases = cases(&whole);
    assert!(cases.len() >= 500, "{}", cases.len());
    // Most of the time is spent waiting for the other side.
    std::thread::scope(|scope| {
        for part in cases.chunks(cases.len().div_ceil(8)) {
            scope.spawn(|| are_not_called_whole(part, &theirs));
        }
    });
}

fn are_not_called_whole(cases: &[(String, Answer)], theirs: &Manifest) {
    let replay = Replay::start();
    for (name, answer) in cases {
        let (collected, written) = replay.collect(answer);
        // What nothing came of is no bundle, and said to be none.
        let Ok(collected) = collected else { continue };
        let error = collected.broke_off.unwrap_or_else(|| panic!("{name} is called whole")).chain();
        let kept = Bundle::read(&written[..], &Limits::default()).unwrap();
        assert!(kept.truncated, "{name}: it reads as whole");
        let manifest = kept.manifest.unwrap();
        assert_eq!(manifest, collected.manifest, "{name}");
        assert_eq!(manifest.incomplete, error, "{name}");
        // A manifest that came is the service's, with what is lost; else it has only what is known here.
        if manifest.service == theirs.service {
            is_amended(theirs, &manifest, name);
        } else {
            assert_eq!(manifest.pid, 0, "{name}");
        }
    }
}

#[track_caller]
fn is_amended(theirs: &Manifest, manifest: &Manifest, name: &str) {
    let told =
        Manifest { incomplete: String::new(), errors: theirs.errors.clone(), ..manifest.clone() };
    assert_eq!(&told, theirs, "{name}");
    assert!(manifest.errors.starts_with(&theirs.errors), "{name}");
}

#[test]
fn what_is_whole_is_passed_on_as_it_is() {
    let whole = whole();
    let replay = Replay::start();
    let file = &whole.packed;
    let second = whole.archive.len() / 2;
    let halves = [gzip(&whole.archive[..second]), gzip(&whole.archive[second..])].concat();
    let mut folder = vec![0; BLOCK];
    folder[..7].copy_from_slice(b"folder/");
    folder[124..135].copy_from_slice(b"00000000000");
    folder[156] = b'5';
    let json = br#"{"format":1,"service":"sparse","pid":7,"later":true}"#;
    for (answer, warnings) in [
        (Answer::new(file.clone()), 0),
        (Answer { framing: Framing::Close, bytes: file.clone() }, 0),
        (Answer { framing: Framing::Chunked(true), bytes: file.clone() }, 0),
        // Odd, and nothing is lost.
        (Answer::new(halves), 1),
        (Answer::new(packed([&sealed(folder)].into_iter().chain(&whole.members))), 0),
    ] {
        let (collected, written) = replay.collect(&answer);
        let collected = collected.unwrap();
        assert!(collected.broke_off.is_none(), "{:?}", collected.broke_off);
        assert_eq!(collected.warnings.len(), warnings, "{:?}", collected.warnings);
        let (came, kept) = (Bundle::read(&file[..], &Limits::default()).unwrap(), &written[..]);
        let kept = Bundle::read(kept, &Limits::default()).unwrap();
        assert_eq!((kept.entries, kept.manifest), (came.entries, came.manifest));
        assert!(!kept.truncated && kept.warnings.is_empty(), "{:?}", kept.warnings);
    }
    // What a manifest doesn't list is there all the same.
    let mut manifest = resized(&whole.members[3], json.len());
    manifest[BLOCK..][..json.len()].copy_from_slice(json);
    let (collected, written) = replay.collect(&Answer::new(packed([&whole.members[0], &manifest])));
    let collected = collected.unwrap();
    assert!(collected.broke_off.is_none(), "{:?}", collected.broke_off);
    assert_eq!(collected.warnings.len(), 1, "{:?}", collected.warnings);
    assert_eq!(Bundle::read(&written[..], &Limits::default()).unwrap().entries.len(), 1);
}

/// Closing a connection of which something is unread resets it. Where nothing else tells how long an answer
/// is, it may have been cut.
#[test]
fn a_reset_is_no_end() {
    let answer = Answer { framing: Framing::Close, bytes: whole().packed };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0]).unwrap();
        answer.write(&mut stream).unwrap();
    });
    let client = Client::builder(&url).unwrap().build();
    let mut written = Vec::new();
    let collected = client.collect(&Request::default(), &mut written, &mut |_| {});
    server.join().unwrap();
    // How much of it was still read is up to the system.
    if let Ok(Collected { broke_off, .. }) = collected {
        assert!(broke_off.unwrap().chain().contains("reset"));
    }
}

/// The same through the command: what it says, where the bundle is, and how it ends.
#[test]
fn the_command_says_what_is_lost() {
    let whole = whole();
    let replay = Replay::start();
    let Whole { packed: file, members, .. } = &whole;
    let length = file.len();
    let mut wrong = file.clone();
    wrong[length - TRAILER] ^= 1;
    let mut differs = members.clone();
    differs[1][BLOCK + 9] ^= 1;
    let doubled = [&members[0], &members[0], &members[1], &members[2], &members[3]];
    let without_manifest = packed(&members[..3]);
    let cases: [(Vec<u8>, &str, &str); 8] = [
        (packed([&members[0], &members[2], &members[3]]), "heap.prof is missing", "heap"),
        (packed([&members[0], &members[3]]), "heap.prof is missing, mutex.prof is missing", "heap"),
        (packed(&differs), "heap.prof does not match its sha256", "heap"),
        (packed(doubled), "there is more than one cpu.prof", "cpu"),
        (wrong, "the compressed data is damaged", "bundle"),
        (file[..length - 4].to_vec(), "the bundle breaks off", "bundle"),
        ([&file[..], b"garbage"].concat(), "data after the end of the bundle", "bundle"),
        (without_manifest, "there is no manifest", "bundle"),
    ];
    for (bytes, said, kind) in cases {
        *replay.next.lock().unwrap() = Some(Answer::new(bytes));
        let directory = tempdir().unwrap();
        let file = path(&directory, "x.tar.gz");
        let ran = run(["collect", &replay.url, "-d10ms", "-o", &file, "--json"]).code(3);
        assert!(ran.error().contains(said), "{}", ran.stderr);
        let kept = format!("{file}.partial");
        assert_eq!(listed(&directory), ["x.tar.gz.partial"]);
        let line = ran.json();
        assert_eq!((&line["file"], &line["complete"]), (&kept.as_str().into(), &false.into()));
        assert!(line["error"].as_str().unwrap().contains(said), "{line}");
        let facts = run(["inspect", "--json", &kept]).code(3).json();
        let manifest = &facts["manifest"];
        assert!(manifest["incomplete"].as_str().unwrap().contains(said), "{manifest}");
        assert_eq!(manifest["errors"][0]["kind"], kind);
        let pid = if said == "there is no manifest" { 0 } else { std::process::id() };
        assert_eq!(manifest["pid"], pid, "{manifest}");
        let ran = run(["report", &kept]).code(3);
        assert!(ran.text().contains("This file is not whole"), "{}", ran.text());
        fs::remove_file(&kept).unwrap();
    }
}
