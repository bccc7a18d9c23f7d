//! Stacks that are too deep to keep: both their ends are, with a mark between them.
//!
//! All but the name runs inside signal handlers and allocators.

use std::sync::atomic::{AtomicU64, Ordering};

use profile_format::owner::gap_name;

/// Frames that are walked at most.
pub(crate) const MOST_FRAMES: usize = 1024;
/// Frames of the root's end that are kept of a deep stack.
pub(crate) const ROOTS: usize = 32;
/// The upper half of the address that stands for frames which are left out: no code has it.
const MARK: u64 = 0xfff0_0000;

/// Returns the address that stands for so many frames.
pub(crate) fn mark(left_out: usize) -> u64 {
    MARK << 32 | left_out as u64
}

/// Returns whether an address stands for frames that are left out.
pub(crate) fn is_mark(address: u64) -> bool {
    address >> 32 == MARK
}

/// Returns the name of the frame that an address stands for, which no object holds.
pub(crate) fn name_outside(address: u64) -> String {
    if is_mark(address) { gap_name(address & 0xffff_ffff) } else { format!("[{address:#x}]") }
}

/// The root's end of a stack whose leaf's end fills its room: of what comes the last frames are kept.
pub(crate) struct RootsEnd<'a> {
    out: &'a [AtomicU64],
    written: usize,
}

impl<'a> RootsEnd<'a> {
    /// Returns the end of a stack's room; `None` where that is too short for two.
    pub(crate) fn new(out: &'a [AtomicU64]) -> Option<RootsEnd<'a>> {
        (out.len() >= 2 * ROOTS).then_some(RootsEnd { out, written: 0 })
    }

    /// Returns whether as many frames were walked as there may be.
    pub(crate) fn is_full(&self) -> bool {
        self.out.len() + self.written >= MOST_FRAMES
    }

    pub(crate) fn add(&mut self, address: u64) {
        let end = &self.out[self.out.len() - ROOTS..];
        end[self.written % ROOTS].store(address, Ordering::Relaxed);
        self.written += 1;
    }

    /// Puts the frames in order, with the mark before them, if there came any.
    pub(crate) fn finish(self) {
        if self.written == 0 {
            return;
        }
        let (before, end) = self.out.split_at(self.out.len() - ROOTS);
        let mut ring = [0; ROOTS];
        ring.iter_mut().zip(end).for_each(|(word, from)| *word = from.load(Ordering::Relaxed));
        for (at, word) in end.iter().enumerate() {
            word.store(ring[(self.written + at) % ROOTS], Ordering::Relaxed);
        }
        // The mark takes the place of one more.
        if let Some(last) = before.last() {
            last.store(mark(self.written + 1), Ordering::Relaxed);
        }
    }
}

/// Leaves out what is in the middle of a stack of more than `most` addresses.
pub(crate) fn shorten(stack: &mut Vec<u64>, most: usize) {
    if stack.len() <= most || most < 2 * ROOTS {
        stack.truncate(most);
        return;
    }
    let (head, tail) = (most - ROOTS - 1, stack.len() - ROOTS);
    let left_out = tail - head;
    stack.splice(head..tail, [mark(left_out)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks what is kept of a stack of so many frames in room for so many.
    #[track_caller]
    fn check(frames: u64, room: usize) {
        let out: Vec<AtomicU64> = (0..room).map(|_| AtomicU64::new(0)).collect();
        let (first, rest) = (frames.min(room as u64), frames.saturating_sub(room as u64));
        (0..first).zip(&out).for_each(|(frame, word)| word.store(frame, Ordering::Relaxed));
        let mut end = RootsEnd::new(&out).unwrap();
        (first..first + rest).for_each(|frame| end.add(frame));
        end.finish();
        let kept: Vec<u64> = out.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        let mut shortened: Vec<u64> = (0..frames).collect();
        shorten(&mut shortened, room);
        assert_eq!(kept[..shortened.len()], shortened);
        if frames as usize > room {
            let at = room - ROOTS - 1;
            assert_eq!(kept[at], mark(frames as usize - (room - 1)));
            assert_eq!((kept[at - 1], kept[room - 1]), (at as u64 - 1, frames - 1));
            assert!(is_mark(kept[at]) && !is_mark(kept[at - 1]));
        }
    }

    #[test]
    fn both_ends_are_kept() {
        for frames in [1, 63, 64, 65, 66, 95, 96, 97, 300, 1000] {
            check(frames, 64);
            check(frames, 128);
        }
        assert!(RootsEnd::new(&[]).is_none());
        let mut short: Vec<u64> = (0..100).collect();
        shorten(&mut short, 5);
        assert_eq!(short, [0, 1, 2, 3, 4]);
        assert_eq!(name_outside(mark(173)), "[173 frames left out]");
        assert_eq!(name_outside(0x1234), "[0x1234]");
    }
}
