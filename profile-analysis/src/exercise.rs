//! Everything that can be asked of a profile, for fuzzing.

use profile_format::profile::{DecodeLimits, Profile, Stacks};

use crate::changes::{ChangesOptions, changes};
use crate::flame::{Flame, folded, html, svg};
use crate::inspect::facts;
use crate::read;
use crate::report::{ReportOptions, report};
use crate::top::{By, TopOptions, saturate, top};

/// Reads bytes as a profile and asks everything; the answers must agree with each other.
///
/// # Panics
///
/// Where two answers disagree, which is a fault of this crate.
pub fn exercise(bytes: &[u8]) {
    let limits = DecodeLimits {
        max_bytes: 16 << 20,
        max_memory: 64 << 20,
        max_ratio: 200,
        // Samples are counted in one way, and stacks in the other.
        max_frames: u64::MAX,
    };
    let decoded = Profile::decode(bytes, &limits);
    let stacks = Stacks::read(bytes, &limits);
    assert_eq!(decoded.is_ok(), stacks.is_ok(), "two ways to read it");
    if let Ok(profile) = decoded {
        let again =
            Profile::decode(&profile.encode(), &limits).expect("what was written reads back");
        assert_eq!(again.encode(), profile.encode());
    }
    let Ok(read) = read(bytes) else { return };
    let sums = facts(&read).value_sums;
    for by in [By::Function, By::Caller, By::Line, By::File, By::Site] {
        let options = TopOptions { by, ..TopOptions::default() };
        let Ok(top) = top(&read.stacks, &options) else { return };
        assert!(sums.contains(&top.total));
        let options = ChangesOptions { by, ..ChangesOptions::default() };
        let same = changes(&read.stacks, &read.stacks, &options).expect("it has a sample type");
        assert_eq!(same.rows, [], "nothing has changed");
    }
    let totals = report([("", bytes)], &ReportOptions::rows(1)).profiles.remove(0).totals;
    assert!(totals.iter().map(|total| total.value).eq(sums.iter().copied()), "one total for all");
    let flame = Flame::new(&read.stacks, Some(&read.stacks), None).expect("it has a sample type");
    assert!(sums.contains(&saturate(flame.total())), "a picture of all samples");
    if let Ok(text) = svg(&flame, "", false) {
        assert!(text.ends_with("</svg>\n"));
        assert_eq!(
            html(&flame, "", true).map(|page| page.matches("<script").count()).ok(),
            Some(2)
        );
        let lines = folded(&flame).expect("what can be drawn can be written").to_string();
        assert!(lines.ends_with('\n'));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_corpus_is_no_trouble() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/profile");
        let mut read = 0;
        for entry in fs::read_dir(corpus).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            exercise(&bytes);
            // Cut off and changed it is no trouble either.
            for length in 0..bytes.len().min(300) {
                exercise(&bytes[..length]);
                let mut changed = bytes.clone();
                changed[length] ^= 0x55;
                exercise(&changed);
            }
            read += usize::from(crate::read(&bytes).is_ok());
        }
        assert!(read >= 8, "{read} of the corpus can be read");
    }
}
