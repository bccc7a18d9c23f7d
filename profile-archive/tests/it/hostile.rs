//! Bundles made to do harm. Endless inputs show that reading stops: a test that fails hangs.

use std::io::Read;

use profile_archive::{Bundle, BundleReader, Limits};

use crate::archives::{Endless, file, gzip, header, member, octal, problems, read, seal, tail};

/// What is wrong with an archive besides that its manifest lists nothing.
#[track_caller]
fn check(members: &[Vec<u8>], entries: &[(&str, &[u8])], truncated: bool, expected: &[&str]) {
    let (bundle, mut problems) = read(members, &Limits::default());
    let found: Vec<_> = bundle.entries.iter().map(|e| (e.name.as_str(), &e.data[..])).collect();
    assert_eq!(found, entries);
    problems.retain(|problem| !problem.ends_with("is not in the manifest"));
    assert_eq!(problems, expected);
    assert_eq!(bundle.truncated, truncated);
}

#[test]
fn names_are_only_labels() {
    for (name, label) in [
        (&b"../../etc/passwd"[..], "_._.._etc_passwd"),
        (b"/etc/shadow", "_etc_shadow"),
        (b"C:\\boot.ini", "C__boot.ini"),
        (b"\x1b[2J\x07\n", "__2J__"),
        (b"\xff\xfe.prof", "__.prof"),
        (b".", "_"),
    ] {
        let renamed = format!("an entry with an unsafe name is called {label} here");
        check(&[member(name, b'0', b"x"), tail()], &[(label, b"x")], false, &[&renamed]);
    }
}

#[test]
fn a_prefix_field_makes_no_path() {
    let mut entry = file("passwd", b"x");
    entry[345..349].copy_from_slice(b"/etc");
    seal(&mut entry[..512]);
    let renamed = ["an entry with an unsafe name is called _etc_passwd here"];
    check(&[entry, tail()], &[("_etc_passwd", b"x")], false, &renamed);
}

#[test]
fn only_regular_files_are_entries() {
    for (kind, what) in [
        (b'1', "a hard link"),
        (b'2', "a symbolic link"),
        (b'3', "a character device"),
        (b'4', "a block device"),
        (b'6', "a named pipe"),
    ] {
        let mut link = header(b"cpu.prof", kind, &octal(4096));
        link[157..168].copy_from_slice(b"/etc/passwd");
        seal(&mut link);
        let skipped = format!("cpu.prof was skipped: it is {what}");
        check(&[link, file("b.prof", b"b"), tail()], &[("b.prof", b"b")], false, &[&skipped]);
    }
    let vendor = member(b"x", b'V', b"volume");
    let skipped = ["x was skipped: it is of an unknown type"];
    check(&[vendor, file("b.prof", b"b"), tail()], &[("b.prof", b"b")], false, &skipped);
}

#[test]
fn folders_are_part_of_names() {
    let folder = member(b"server/", b'5', b"");
    let entry = file("server/cpu.prof", b"b");
    check(&[folder, entry, tail()], &[("server/cpu.prof", b"b")], false, &[]);
}

#[test]
fn extensions_give_names_and_nothing_else() {
    let b_prof = || file("b.prof", b"b");
    let long = "folder/".repeat(20) + "cpu.prof";
    let long_name = member(b"././@LongLink", b'L', [long.as_bytes(), b"\0"].concat().as_slice());
    check(&[long_name, b_prof(), tail()], &[(&long, b"b")], false, &[]);
    let pax = |records: &[u8]| member(b"pax", b'x', records);
    let sizes = pax(b"26 size=99999999999999999\n12 path=a/x\n");
    check(&[sizes, b_prof(), tail()], &[("a/x", b"b")], false, &[]);
    // A name that leads elsewhere, no record at all, and one of which nothing is kept.
    let renamed = ["an entry with an unsafe name is called _etc_x here"];
    check(&[pax(b"15 path=/etc/x\n"), b_prof(), tail()], &[("_etc_x", b"b")], false, &renamed);
    check(&[pax(b"nonsense"), b_prof(), tail()], &[("b.prof", b"b")], false, &[]);
    let skipped = ["_/_LongLink was skipped: it is a long name for the next entry"];
    let endless = member(b"././@LongLink", b'L', &[b'n'; 20_000]);
    check(&[endless, b_prof(), tail()], &[("b.prof", b"b")], false, &skipped);
}

#[test]
fn sparse_files_are_skipped_with_their_maps() {
    let mut sparse = header(b"holes", b'S', &octal(5));
    sparse[257..265].copy_from_slice(b"ustar  \0");
    sparse[482] = 1;
    seal(&mut sparse);
    let mut more = vec![0; 1024];
    more[504] = 1;
    let data = [&b"dense"[..], &[0; 507]].concat();
    check(
        &[sparse, more, data, file("b.prof", b"b"), tail()],
        &[("b.prof", b"b")],
        false,
        &["holes was skipped: it is a sparse file"],
    );
}

#[test]
fn sizes_are_only_claims() {
    let claims = |size: &[u8]| {
        let claim = [&header(b"big.prof", b'0', size)[..], b"xyz"].concat();
        read(&[file("a.prof", b"abc"), claim], &Limits::default())
    };
    // Within the limit: what arrived is kept, and memory is taken for no more.
    let (bundle, problems) = claims(&octal(500 << 20));
    assert_eq!(problems, ["the bundle breaks off", "there is no manifest"]);
    assert_eq!((&bundle.entries[1].data[..], bundle.entries[1].complete), (&b"xyz"[..], false));
    assert!(bundle.entries[1].data.capacity() < 1 << 20);
    // Beyond it, up to the largest number there is.
    for size in [octal((8 << 30) - 1), [&[0x80, 0, 0, 0][..], &[0xff; 8]].concat()] {
        let (bundle, problems) = claims(&size);
        assert!(problems[0].starts_with("big.prof was skipped"), "{problems:?}");
        assert!(problems[0].ends_with("max_entry_bytes = 536870912"), "{problems:?}");
        assert_eq!(problems[1], "the bundle breaks off");
        assert!(bundle.truncated && bundle.entries.len() == 1);
    }
    // No number at all, and a negative one.
    for size in [b"nonsense\0\0\0\0".to_vec(), vec![0xff; 12], b"-0000000001\0".to_vec()] {
        let (bundle, problems) = claims(&size);
        assert_eq!(problems, ["an entry header is damaged", "there is no manifest"]);
        assert!(bundle.truncated && bundle.entries.len() == 1);
    }
}

#[test]
fn doubles_are_reported_and_the_first_is_found() {
    let manifest = br#"{"format":1,"service":"second"}"#;
    let members = [
        file("a.prof", b"1"),
        file("a.prof", b"2"),
        file("manifest.json", br#"{"format":1,"service":"first"}"#),
        file("manifest.json", manifest),
        file("late.prof", b"3"),
        vec![0; 1024],
    ];
    let (bundle, problems) = read(&members, &Limits::default());
    assert_eq!(bundle.entries.len(), 3);
    assert_eq!(bundle.entry("a.prof").unwrap().data, b"1");
    assert_eq!(bundle.manifest.unwrap().service, "first");
    assert!(!bundle.truncated);
    let expected = [
        "there is more than one a.prof",
        "there is more than one manifest.json",
        "late.prof stands after the manifest",
        "a.prof is not in the manifest",
        "late.prof is not in the manifest",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn a_manifest_that_is_none_is_a_loss() {
    let with = |json: &[u8]| {
        let members = [file("a.prof", b"1"), file("manifest.json", json), vec![0; 1024]];
        read(&members, &Limits { max_manifest_bytes: 10_000, ..Limits::default() })
    };
    let deep = "[".repeat(9_000);
    let wordy = format!(r#"{{"format":"{}"}}"#, "x".repeat(5_000));
    for json in [&b""[..], b"{}", b"\xff", deep.as_bytes(), wordy.as_bytes()] {
        let (bundle, problems) = with(json);
        assert!(bundle.truncated && bundle.manifest.is_none() && bundle.entries.len() == 1);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("the manifest can't be read: "), "{problems:?}");
        assert!(problems[0].len() < 300);
    }
    let (bundle, problems) = with(&[b' '; 10_001]);
    assert!(bundle.truncated && bundle.manifest.is_none());
    let expected =
        "manifest.json was skipped: 10001 bytes are more than max_manifest_bytes = 10000";
    assert_eq!(problems, [expected]);
    let (bundle, problems) = with(br#"{"format":2}"#);
    assert!(!bundle.truncated);
    assert_eq!(problems[0], "the bundle is in format 2, which is newer than this reader");
}

#[test]
fn a_bomb_stops_at_the_ratio() {
    let bomb = gzip(&[header(b"bomb", b'0', &octal(2 << 20)), vec![0; 2 << 20]].concat());
    assert!(bomb.len() < 64 << 10);
    let bundle = Bundle::read(&bomb[..], &Limits::default()).unwrap();
    assert!(bundle.truncated && !bundle.entries[0].complete);
    assert!((500 << 10..2 << 20).contains(&bundle.entries[0].data.len()));
    assert!(problems(&bundle).contains(&"more than max_ratio = 200".into()));
    // It need not be inside an entry.
    let after_the_end = gzip(&[tail(), vec![0; 2 << 20]].concat());
    let bundle = Bundle::read(&after_the_end[..], &Limits::default()).unwrap();
    assert!(bundle.truncated && bundle.manifest.is_some());
    assert_eq!(problems(&bundle), ["more than max_ratio = 200"]);
}

#[test]
fn entries_without_end_stop_at_their_number() {
    let input = Endless::archive(&file("a.prof", b"abc"), &file("b.prof", b""));
    let bundle = Bundle::read(input, &Limits::default()).unwrap();
    assert!(bundle.truncated);
    assert_eq!(bundle.entries.len(), 1000);
    assert!(bundle.warnings.len() < 110);
    assert!(problems(&bundle).contains(&"more than max_entries = 1000".into()));
    // What is skipped counts as well.
    let input = Endless::archive(&file("a.prof", b"abc"), &header(b"link", b'2', b"0"));
    let bundle = Bundle::read(input, &Limits::default()).unwrap();
    assert_eq!(bundle.entries.len(), 1);
    assert!(problems(&bundle).contains(&"more than max_entries = 1000".into()));
}

#[test]
fn bytes_without_end_stop_at_the_total() {
    let limits = Limits { max_total_bytes: 300_000, ..Limits::default() };
    let claim = octal(1 << 30);
    let heads = [
        header(b"././@LongLink", b'L', &claim),
        header(b"pax", b'x', &claim),
        header(b"big.prof", b'0', &claim),
        header(b"fits.prof", b'0', &octal(400 << 20)),
        header(b"manifest.json", b'0', &octal(1 << 20)),
        tail(),
    ];
    for head in heads {
        let head = [file("a.prof", b"abc"), head].concat();
        let input = Endless::archive(&head, &[b'n'; 4096]);
        let bundle = Bundle::read(input, &limits).unwrap();
        assert!(bundle.truncated);
        assert_eq!(bundle.entries[0].data, b"abc");
        assert!(problems(&bundle).contains(&"more than max_total_bytes = 300000".into()));
    }
    // What counts is also what comes out of the decoder.
    let input = gzip(&member(b"a.prof", b'0', &[0; 400_000]));
    let bundle = Bundle::read(&input[..], &limits).unwrap();
    assert!(bundle.entries[0].data.len() < 300_000);
    assert!(problems(&bundle).contains(&"more than max_total_bytes = 300000".into()));
    // Blocks that hold nothing give the decoder work and the reader nothing to count.
    let input = Endless::archive(&file("a.prof", b"abc"), b"");
    let bundle = Bundle::read(input, &limits).unwrap();
    assert_eq!(bundle.entries[0].data, b"abc");
    assert!(problems(&bundle).contains(&"more than max_total_bytes = 300000".into()));
    // Nor does a gzip header whose file name never ends make it wait.
    let endless_name = (&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0][..]).chain(std::io::repeat(b'n'));
    assert!(Bundle::read(endless_name, &limits).is_err());
}

#[test]
fn a_bundle_in_a_bundle_is_an_entry_like_any_other() {
    let inner = gzip(&[file("a.prof", b"abc"), tail()].concat());
    check(&[file("inner.tar.gz", &inner), tail()], &[("inner.tar.gz", &inner)], false, &[]);
}

#[test]
fn reading_an_entry_fails_where_the_bundle_breaks_off() {
    let whole = gzip(&[header(b"a.prof", b'0', &octal(1000)), b"abc".to_vec()].concat());
    let mut reader = BundleReader::open(&whole[..], &Limits::default()).unwrap();
    let mut entry = reader.next_entry().unwrap();
    let mut data = Vec::new();
    let error = entry.read_to_end(&mut data).unwrap_err();
    assert_eq!((error.kind(), &data[..]), (std::io::ErrorKind::UnexpectedEof, &b"abc"[..]));
    assert!(entry.read(&mut [0]).is_err(), "and goes on failing");
    assert!(reader.next_entry().is_none());
    let contents = reader.finish();
    assert_eq!((contents.entries[0].bytes, contents.entries[0].complete), (3, false));
}
