//! Bundles that were cut, damaged or added to on their way.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use profile_archive::{Bundle, Error, Limits};
use proptest::prelude::*;

use crate::archives::{file, gzip, problems, read, small_bundle, tail};

#[test]
fn every_prefix_gives_a_prefix() {
    let whole = small_bundle();
    let complete = Bundle::read(&whole[..], &Limits::default()).unwrap();
    assert!(!complete.truncated);
    let mut most = 0;
    for len in 0..whole.len() {
        let bundle = Bundle::read(&whole[..len], &Limits::default()).unwrap();
        assert!(bundle.truncated, "{len} of {}", whole.len());
        assert!(bundle.entries.len() <= complete.entries.len());
        let last = bundle.entries.len().saturating_sub(1);
        for (i, (entry, original)) in bundle.entries.iter().zip(&complete.entries).enumerate() {
            assert_eq!(entry.name, original.name);
            if entry.complete {
                assert_eq!(entry.data, original.data);
            } else {
                assert_eq!(i, last, "only the last can be a part");
                assert!(original.data.starts_with(&entry.data));
            }
        }
        let arrived: usize = bundle.entries.iter().map(|entry| entry.data.len()).sum();
        assert!(arrived >= most, "more input gives no less");
        most = arrived;
        let breaks = problems(&bundle).iter().filter(|p| *p == "the bundle breaks off").count();
        assert_eq!(breaks, 1, "the reason is said once");
    }
}

/// What another decompressor makes of it.
fn decompressed(bundle: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    MultiGzDecoder::new(bundle).read_to_end(&mut data).unwrap();
    data
}

#[test]
fn no_flipped_byte_goes_unnoticed() {
    let whole = small_bundle();
    let complete = Bundle::read(&whole[..], &Limits::default()).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        match Bundle::read(&damaged[..], &Limits::default()) {
            Ok(bundle) if bundle.warnings.is_empty() => {
                // The gzip header's time, extra flags and operating system say nothing of the data,
                // and deflate can say the same in several ways.
                assert_eq!(decompressed(&damaged), decompressed(&whole), "byte {at}");
                assert_eq!(bundle, complete);
            }
            Ok(_) => {}
            Err(Error::NotGzip | Error::NotTar) => assert!(at < 200, "byte {at}"),
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn a_wrong_checksum_is_a_loss() {
    let mut damaged = small_bundle();
    let at = damaged.len() - 8;
    damaged[at] ^= 1;
    let bundle = Bundle::read(&damaged[..], &Limits::default()).unwrap();
    assert!(bundle.truncated);
    assert!(bundle.manifest.is_some());
    assert_eq!(bundle.entries.len(), 3);
    assert!(problems(&bundle)[0].starts_with("the compressed data is damaged"));
}

#[test]
fn what_follows_the_end_is_ignored() {
    let whole = small_bundle();
    let complete = Bundle::read(&whole[..], &Limits::default()).unwrap();
    let additions: [(&[u8], &[&str]); 4] = [
        (b"\0\0\0", &["data after the end of the bundle was ignored"]),
        (b"garbage", &["data after the end of the bundle was ignored"]),
        (b"\x1f\x8b", &["data after the end of the bundle was ignored"]),
        (
            &whole,
            &[
                "data after the end of the bundle was ignored",
                "the bundle is made of several gzip members",
            ],
        ),
    ];
    for (addition, expected) in additions {
        let bundle = Bundle::read(&[&whole, addition].concat()[..], &Limits::default()).unwrap();
        assert_eq!(bundle.entries, complete.entries);
        assert!(!bundle.truncated, "nothing is missing");
        assert_eq!(problems(&bundle), expected);
    }
}

#[test]
fn members_in_a_row_are_one_bundle() {
    let archive = [file("a.prof", b"abc"), tail()].concat();
    for cut in [1, 512, 514, 1024, 1500] {
        let input = [gzip(&archive[..cut]), gzip(&archive[cut..])].concat();
        let bundle = match Bundle::read(&input[..], &Limits::default()) {
            Ok(bundle) => bundle,
            Err(error) => panic!("cut at {cut}: {error}"),
        };
        assert!(!bundle.truncated);
        assert_eq!(bundle.entries[0].data, b"abc");
        assert!(problems(&bundle).contains(&"the bundle is made of several gzip members".into()));
    }
}

#[test]
fn an_archive_without_its_end_is_truncated() {
    let (bundle, problems) = read(&[file("a.prof", b"abc")], &Limits::default());
    assert!(bundle.truncated && bundle.entries[0].complete);
    assert_eq!(problems, ["the bundle breaks off", "there is no manifest"]);
    // With it the archive is another tool's.
    let (bundle, problems) = read(&[file("a.prof", b"abc"), vec![0; 1024]], &Limits::default());
    assert!(!bundle.truncated);
    assert_eq!(problems, ["there is no manifest"]);
}

#[test]
fn what_gunzip_has_unpacked_is_a_bundle_still() {
    let archive = [file("a.prof", b"abc"), tail()].concat();
    let plain = Bundle::read(&archive[..], &Limits::default()).unwrap();
    assert_eq!(plain, Bundle::read(&gzip(&archive)[..], &Limits::default()).unwrap());
    let cut = Bundle::read(&archive[..514], &Limits::default()).unwrap();
    assert!(cut.truncated && cut.entries[0].data == b"ab");
    let more = Bundle::read(&[&archive[..], b"garbage"].concat()[..], &Limits::default()).unwrap();
    assert!(problems(&more).contains(&"data after the end of the bundle was ignored".into()));
}

#[test]
fn other_things_are_refused() {
    let read = |input: &[u8]| Bundle::read(input, &Limits::default()).unwrap_err();
    assert!(matches!(read(b"PK\x03\x04"), Error::NotGzip));
    assert!(matches!(read(&vec![0; 1024]), Error::NotGzip));
    assert!(matches!(read(&gzip(b"")), Error::NotTar));
    assert!(matches!(read(&gzip(b"a profile")), Error::NotTar));
    assert!(matches!(read(&gzip(&[b'x'; 5000])), Error::NotTar));
    assert_eq!(read(b"text").to_string(), "not a bundle: neither in gzip format nor a tar archive");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ = Bundle::read(&bytes[..], &Limits::default());
        // Behind a gzip header, and inside a good gzip stream, it gets further.
        let deflated = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], &bytes[..]].concat();
        let _ = Bundle::read(&deflated[..], &Limits::default());
        let _ = Bundle::read(&gzip(&bytes)[..], &Limits::default());
        let after_an_entry = [file("a.prof", b"abc"), bytes].concat();
        let bundle = Bundle::read(&gzip(&after_an_entry)[..], &Limits::default()).unwrap();
        prop_assert!(bundle.truncated);
        prop_assert_eq!(&bundle.entries[0].data, b"abc");
    }

    #[test]
    fn any_damage_is_survived(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut damaged = small_bundle();
        for (at, byte) in &changes {
            let len = damaged.len();
            damaged[at.index(len)] = *byte;
        }
        let _ = Bundle::read(&damaged[..], &Limits::default());
    }

    #[test]
    fn any_damage_inside_is_survived(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut damaged = [file("a.prof", b"abc"), file("b.prof", &[7; 700]), tail()].concat();
        for (at, byte) in &changes {
            let len = damaged.len();
            damaged[at.index(len)] = *byte;
        }
        let _ = Bundle::read(&gzip(&damaged)[..], &Limits::default());
    }
}
