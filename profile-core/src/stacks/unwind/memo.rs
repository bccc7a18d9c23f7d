//! The last stack, so that the next one is unwound only as far as it differs.
//!
//! From one sample to the next most of a thread's stack stays. How a frame leads to its caller depends on
//! its address, its registers, and the words of the stack that are read on the way: a frame that was
//! here before leads where it led then if those words are what they were. To look at them takes a
//! fraction of what the rules take, and reads memory in order.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::stacks::raw::arch;
use crate::stacks::unwind::rule::{FramePointerRule, ReturnAddressRule, UnwindRule};
use crate::stacks::unwind::{StackMemory, UnwindFrame, UnwindRegisters};

/// Frames that are remembered.
const MOST: usize = 128;

/// A frame and how it leads to the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct MemoFrame {
    lookup: u64,
    sp: u64,
    fp: u64,
    link: FrameLink,
}

/// The words of the stack that lead from one frame to the next: offsets from the next one's stack
/// pointer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameLink {
    /// It does not lead there by such words alone, or there is no next one.
    None,
    Words {
        pc: i16,
        fp: Option<i16>,
    },
}

/// The frames of the stack that was unwound last, of whichever thread.
pub(crate) struct StackMemo {
    /// Whose rules they were found by.
    unwinder: u64,
    /// `frames[start..]`, the leaf first.
    frames: [MemoFrame; MOST],
    start: usize,
    /// Index at which the next frame is looked for.
    at: usize,
    /// The frames of the stack that is being unwound: `new[..len]`, and after them `frames[same]`. With a `len`
    /// beyond [`MOST`] they are too many to be remembered.
    new: [MemoFrame; MOST],
    len: usize,
    same: Range<usize>,
}

impl FrameLink {
    /// Makes the link of a frame whose caller was found by a rule.
    pub(crate) fn from_rule(rule: UnwindRule) -> FrameLink {
        match rule {
            UnwindRule::Frame { fp, ra: ReturnAddressRule::At(pc), .. } => {
                let fp = match fp {
                    FramePointerRule::Same => None,
                    FramePointerRule::At(offset) => Some(offset),
                };
                FrameLink::Words { pc, fp }
            }
            // By the frame pointer.
            UnwindRule::Unknown => FrameLink::Words { pc: -8, fp: Some(-16) },
            _ => FrameLink::None,
        }
    }
}

impl Default for StackMemo {
    fn default() -> StackMemo {
        let none = MemoFrame { lookup: 0, sp: 0, fp: 0, link: FrameLink::None };
        StackMemo {
            unwinder: 0,
            frames: [none; MOST],
            start: MOST,
            at: MOST,
            new: [none; MOST],
            len: 0,
            same: 0..0,
        }
    }
}

impl StackMemo {
    /// Begins another stack, which this unwinder unwinds.
    pub(crate) fn begin_stack(&mut self, unwinder: u64) {
        if self.unwinder != unwinder {
            self.unwinder = unwinder;
            self.start = MOST;
        }
        self.at = self.start;
        self.len = 0;
        self.same = 0..0;
    }

    /// Goes up from a caller for as long as the last stack went the same way. Writes the frames
    /// that it leaves behind to `out`, of which it leaves one word at least, and returns their
    /// number.
    #[inline]
    pub(crate) fn follow(
        &mut self,
        place: &mut UnwindFrame,
        stack: &mut impl StackMemory,
        out: &[AtomicU64],
    ) -> usize {
        let UnwindRegisters { sp, fp, .. } = place.registers;
        let lower = self.frames[self.at..].iter().take_while(|frame| frame.sp < sp).count();
        self.at += lower;
        let last = &self.frames[self.at..];
        let is_known = last
            .first()
            .is_some_and(|frame| frame.sp == sp && frame.lookup == place.lookup && frame.fp == fp);
        let (Some((_, room)), true) = (out.split_last(), is_known) else { return 0 };
        let mut followed = 0;
        for (pair, out) in last.windows(2).zip(room) {
            let (frame, next) = (&pair[0], &pair[1]);
            let FrameLink::Words { pc, fp } = frame.link else { break };
            let mut read = |offset: i16| stack.read(next.sp.wrapping_add_signed(offset.into()));
            let lookup = read(pc).map(|pc| arch::strip(pc).wrapping_sub(1));
            if lookup != Some(next.lookup) || fp.is_some_and(|fp| read(fp) != Some(next.fp)) {
                break;
            }
            out.store(frame.lookup, Ordering::Relaxed);
            followed += 1;
        }
        if followed > 0 {
            let now = &last[followed];
            place.registers =
                UnwindRegisters { pc: now.lookup.wrapping_add(1), sp: now.sp, fp: now.fp, lr: 0 };
            place.lookup = now.lookup;
            self.keep_frames(followed);
        }
        followed
    }

    /// Notes that the next `count` of the last stack's frames are this one's, too.
    fn keep_frames(&mut self, count: usize) {
        if self.same.end != self.at {
            self.append_same_frames();
            self.same = self.at..self.at;
        }
        self.at += count;
        self.same.end = self.at;
    }

    /// Adds a frame that was found by its rule, and how it leads to the next one.
    #[inline]
    pub(crate) fn add_frame(&mut self, place: &UnwindFrame, link: FrameLink) {
        let UnwindRegisters { sp, fp, .. } = place.registers;
        let frame = MemoFrame { lookup: place.lookup, sp, fp, link };
        if !self.same.is_empty() {
            if self.frames.get(self.same.end) == Some(&frame) {
                self.at = self.same.end;
                return self.keep_frames(1);
            }
            self.append_same_frames();
        }
        if let Some(new) = self.new.get_mut(self.len) {
            *new = frame;
        }
        self.len += 1;
    }

    /// Appends to the new frames those that are the same as the last stack's.
    fn append_same_frames(&mut self) {
        let same = &self.frames[std::mem::take(&mut self.same)];
        if let Some(new) = self.new.get_mut(self.len..self.len + same.len()) {
            new.copy_from_slice(same);
        }
        self.len += same.len();
    }

    /// Ends the stack: it is the last one from here on.
    pub(crate) fn end_stack(&mut self) {
        if self.same.end != MOST || self.len > self.same.start {
            self.append_same_frames();
            self.same = MOST..MOST;
        }
        let Some(new) = self.new.get(..self.len) else {
            self.start = MOST;
            return;
        };
        self.start = self.same.start - new.len();
        self.frames[self.start..self.same.start].copy_from_slice(new);
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;
    use crate::stacks::raw::mapping;
    use crate::stacks::raw::window::{MappedStack, MemoryWindow};
    use crate::stacks::unwind::{StackUnwinder, UnwindScratch, WalkEnd};

    /// Calls itself or [`other`] from two places, as the bits say.
    #[inline(never)]
    fn one(bits: u64, depth: u32, then: &mut dyn FnMut()) {
        match (depth, bits & 3) {
            (0, _) => then(),
            (_, 0) => one(bits >> 2, depth - 1, then),
            (_, 1) => {
                one(bits >> 2, depth - 1, then);
                black_box(bits);
            }
            _ => other(bits >> 2, depth - 1, then),
        }
        black_box(depth);
    }

    /// Does the same as [`one`] with a larger frame.
    #[inline(never)]
    fn other(bits: u64, depth: u32, then: &mut dyn FnMut()) {
        let frame = black_box([bits; 7]);
        one(frame[3], depth, then);
        black_box(frame);
    }

    fn unwind(unwinder: &StackUnwinder, memo: &mut StackMemo, most: usize) -> (Vec<u64>, WalkEnd) {
        let registers = arch::here();
        let (low, high) = mapping::own_stack().unwrap();
        assert!((low..high).contains(&registers.sp));
        let mut window = MemoryWindow::default();
        let mut stack = MappedStack { low: registers.sp, high, window: &mut window };
        let out: Vec<AtomicU64> = (0..most).map(|_| AtomicU64::new(0)).collect();
        let mut scratch = UnwindScratch::new();
        let (len, end) = unwinder.unwind(&mut scratch, memo, registers, &mut stack, &out);
        (out[..len].iter().map(|word| word.load(Ordering::Relaxed)).collect(), end)
    }

    /// Unwinds the same stack twice, from the same place.
    fn with_and_without(
        unwinder: &StackUnwinder,
        memo: &mut StackMemo,
        most: usize,
    ) -> [(Vec<u64>, WalkEnd); 2] {
        [memo, &mut StackMemo::default()].map(|memo| unwind(unwinder, memo, most))
    }

    #[test]
    fn a_stack_is_the_same_whatever_the_last_one_was() {
        let unwinder = StackUnwinder::load();
        let (mut memo, mut random) = (StackMemo::default(), 1_u64);
        let (mut frames, mut same, mut bits) = (0, 0, 0);
        for round in 0..3000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // A call that is another one, anywhere; sometimes all of them.
            bits ^= if round % 50 == 0 { random } else { 3 << (random >> 58) };
            let depth = if round % 3 == 0 { random >> 40 & 63 } else { 30 } as u32;
            let most = if round % 7 == 0 { 1 + (random >> 30 & 63) as usize } else { MOST };
            one(bits, depth, &mut || {
                let [remembered, anew] = with_and_without(&unwinder, &mut memo, most);
                assert_eq!(remembered, anew, "round {round}");
                frames += anew.0.len();
                same += memo.same.len();
                assert_eq!(MOST - memo.start, anew.0.len());
            });
        }
        assert!(same * 4 > frames, "{same} of {frames} frames were known");
    }

    #[test]
    fn another_unwinder_may_have_other_rules() {
        let mut memo = StackMemo::default();
        for unwinder in [StackUnwinder::load(), StackUnwinder::load()] {
            for known in [false, true] {
                let (stack, _) = unwind(&unwinder, &mut memo, MOST);
                assert_eq!(!memo.same.is_empty(), known, "{} frames", stack.len());
            }
        }
    }

    #[test]
    fn a_stack_beyond_what_is_remembered_is_no_harm() {
        let unwinder = StackUnwinder::load();
        let mut memo = StackMemo::default();
        one(0, 300, &mut || {
            for _ in 0..3 {
                let (stack, end) = unwind(&unwinder, &mut memo, 2 * MOST);
                assert_eq!((stack.len(), end), (2 * MOST, WalkEnd::Root));
                assert_eq!(memo.start, MOST);
            }
        });
        one(0, 30, &mut || {
            let [remembered, anew] = with_and_without(&unwinder, &mut memo, MOST);
            assert_eq!(remembered, anew);
        });
    }
}
