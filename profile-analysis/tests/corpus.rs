//! The corpus of the fuzz targets, as ordinary tests.

use std::fs;
use std::path::Path;

/// Runs a target over all files of its corpus.
fn run(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        println!("{}", path.display());
        check(&bytes);
        // And everything that it begins with.
        (0..bytes.len().min(2000)).for_each(|end| check(&bytes[..end]));
        files += 1;
    }
    assert!(files > 0, "{} is empty", folder.display());
}

#[test]
fn dumps() {
    run("dump", profile_analysis::dump::check);
}

#[test]
fn rules() {
    run("rules", profile_analysis::rules::check);
}
