//! jemalloc's samples, recorded by its hooks: against the truth, and against jemalloc's own dump.

use std::ffi::CString;
use std::thread;

use profilez::core::heap::{self, Amounts, Feeder};
use profilez::core::{Collectors, Kind};
use profilez::format::jemalloc::{HeapDump, HeapDumpLimits, unbias};

use crate::sites;
use crate::support::go;
use crate::support::own_process::is_own_process;
use crate::support::server::heap_sampling;

/// As `main` has set it.
const RATE: u64 = 1 << 16;

#[test]
fn four_sites_are_estimated_as_theory_and_jemalloc_say() {
    if !is_own_process("heap::four_sites_are_estimated_as_theory_and_jemalloc_say") {
        return;
    }
    assert_eq!(heap::install(), Some(Feeder::Jemalloc));
    assert!(!heap_sampling(), "the hooks change nothing");
    let collectors = Collectors::new();
    let allocs = collectors.collector(Kind::Allocs);
    let window = allocs.start().unwrap();
    assert!(heap_sampling());
    let kept = thread::spawn(sites::run).join().unwrap();
    let top = heap::top(10_000).unwrap();
    assert_eq!((top.feeder, top.rate, top.dropped), (Feeder::Jemalloc, RATE, 0));
    let files = window.close()().unwrap();
    assert!(!heap_sampling(), "put back to what it was");
    sites::check(&top, RATE, true);
    for frame in top.by_alloc.iter().flat_map(|site| site.stack.first()) {
        assert!(!frame.function.contains("_rjem_"), "{frame:?}");
    }

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(files[0].name);
    std::fs::write(&path, &files[0].bytes).unwrap();
    go::check_totals(&path, &files[0].bytes);

    // jemalloc has sampled the same blocks. It knows their mean size only, at each stack.
    let top = heap::top(10_000).unwrap();
    let dump = dump(&directory.path().join("dump"));
    assert_eq!(dump.rate, RATE);
    let mut theirs = Amounts::default();
    for stack in dump.stacks() {
        let counts = stack.counts;
        let (objects, bytes) = unbias(counts.cur_objects, counts.cur_bytes, RATE);
        theirs.inuse_objects += objects;
        theirs.inuse_bytes += bytes;
        let (objects, bytes) = unbias(counts.accum_objects, counts.accum_bytes, RATE);
        theirs.alloc_objects += objects;
        theirs.alloc_bytes += bytes;
    }
    let ours = top.total;
    for (what, ours, theirs) in [
        ("alloc_space", ours.alloc_bytes, theirs.alloc_bytes),
        ("inuse_space", ours.inuse_bytes, theirs.inuse_bytes),
        ("alloc_objects", ours.alloc_objects, theirs.alloc_objects),
        ("inuse_objects", ours.inuse_objects, theirs.inuse_objects),
    ] {
        let ratio = ours as f64 / theirs as f64;
        assert!((0.98..1.02).contains(&ratio), "{what}: {ours}, and {theirs} in jemalloc's dump");
    }

    drop(kept);
    sites::check(&heap::top(10_000).unwrap(), RATE, false);
}

/// A dump of jemalloc's own.
fn dump(path: &std::path::Path) -> HeapDump {
    let text = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: `prof.dump` takes a `const char *` that is read during the call (jemalloc(3)).
    unsafe { tikv_jemalloc_ctl::raw::write(b"prof.dump\0", text.as_ptr()) }.unwrap();
    HeapDump::parse(&std::fs::read(path).unwrap(), &HeapDumpLimits::default()).unwrap()
}
