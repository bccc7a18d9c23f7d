//! From registers to a stack of addresses, without disturbing anything.
//!
//! [`StackUnwinder::unwind`] runs inside signal handlers. It does not allocate, lock, panic on purpose,
//! format, call into libc or touch a thread-local; and it reads the stack through a [`StackMemory`] that says
//! no where memory may not be there. It takes some seven kilobytes itself: it runs on a stack of our own.

mod blocked;
mod memo;
#[allow(unsafe_code)]
mod raw;
mod rule;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::stacks::gap::RootsEnd;
use crate::stacks::raw::arch;
pub(crate) use crate::stacks::unwind::blocked::PrologueCache;
use crate::stacks::unwind::memo::FrameLink;
pub(crate) use crate::stacks::unwind::memo::StackMemo;
use crate::stacks::unwind::raw::UnwindModules;
pub(crate) use crate::stacks::unwind::raw::{TableGeneration, generation};
pub(crate) use crate::stacks::unwind::rule::UnwindScratch;
use crate::stacks::unwind::rule::{CfaBase, FramePointerRule, ReturnAddressRule, UnwindRule};

/// The registers that unwinding needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnwindRegisters {
    pub(crate) pc: u64,
    pub(crate) sp: u64,
    pub(crate) fp: u64,
    /// The link register, where the processor has one.
    pub(crate) lr: u64,
}

/// The stack that is being unwound.
pub(crate) trait StackMemory {
    /// Reads the word at an address, if it can be read.
    fn read(&mut self, address: u64) -> Option<u64>;
}

/// The way in which a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalkEnd {
    /// At the thread's first function.
    Root,
    /// There was no room for more.
    Full,
    /// The way up could not be found.
    Lost,
}

/// The unwind tables of everything that is loaded, and what was found in them so far.
pub(crate) struct StackUnwinder {
    /// A number that no other unwinder has.
    id: u64,
    modules: UnwindModules,
    /// The rules of addresses seen before. Direct-mapped; written by whoever looks one up.
    cache: Box<[CachedRule]>,
}

/// A rule and the address it is for, mixed with it. Two words that were written by two writers at
/// once don't fit each other, and count as nothing.
#[derive(Default)]
struct CachedRule {
    rule: AtomicU64,
    mixed: AtomicU64,
}

/// A power of two. At 16 bytes each this is 64 KiB.
const CACHE: usize = 4096;

impl StackUnwinder {
    /// Makes an unwinder for what is loaded now.
    pub(crate) fn load() -> StackUnwinder {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let cache = (0..CACHE).map(|_| CachedRule::default()).collect();
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        StackUnwinder { id, modules: UnwindModules::load(), cache }
    }

    /// Writes the addresses of a stack to `out`, the leaf first: the interrupted instruction, then
    /// of each caller an address inside its call. Of a stack that is too deep for `out` both ends are
    /// written, with a [mark](crate::stacks::gap) between them. Returns their number, and how the walk ended.
    /// What the stack shares with the last one that was unwound with this memo is not unwound
    /// again.
    pub(crate) fn unwind(
        &self,
        scratch: &mut UnwindScratch,
        memo: &mut StackMemo,
        registers: UnwindRegisters,
        stack: &mut impl StackMemory,
        out: &[AtomicU64],
    ) -> (usize, WalkEnd) {
        memo.begin_stack(self.id);
        let place = UnwindFrame { registers, lookup: registers.pc, leaf: true };
        let walked = self.walk(scratch, Some(memo), place, stack, out);
        memo.end_stack();
        walked
    }

    /// Does the same as [`unwind`](Self::unwind) without the function that the registers are in:
    /// its caller comes first, by an address inside the call.
    pub(crate) fn unwind_callers(
        &self,
        scratch: &mut UnwindScratch,
        registers: UnwindRegisters,
        stack: &mut impl StackMemory,
        out: &[AtomicU64],
    ) -> (usize, WalkEnd) {
        let leaf = UnwindFrame { registers, lookup: registers.pc, leaf: true };
        match step(self.rule(scratch, leaf.lookup), &leaf, stack) {
            Ok(caller) => self.walk(scratch, None, caller, stack, out),
            Err(end) => (0, end),
        }
    }

    #[inline(always)]
    fn walk(
        &self,
        scratch: &mut UnwindScratch,
        mut memo: Option<&mut StackMemo>,
        mut place: UnwindFrame,
        stack: &mut impl StackMemory,
        out: &[AtomicU64],
    ) -> (usize, WalkEnd) {
        let mut depth = 0;
        while depth < out.len() {
            if let Some(memo) = &mut memo
                && !place.leaf
            {
                depth += memo.follow(&mut place, stack, &out[depth..]);
            }
            let rule = self.rule(scratch, place.lookup);
            if rule == UnwindRule::Nowhere && depth > 0 {
                return (depth, WalkEnd::Lost);
            }
            out[depth].store(place.lookup, Ordering::Relaxed);
            depth += 1;
            let next = step(rule, &place, stack);
            if let Some(memo) = &mut memo {
                memo.add_frame(
                    &place,
                    if next.is_ok() { FrameLink::from_rule(rule) } else { FrameLink::None },
                );
            }
            match next {
                Ok(next) => place = next,
                Err(end) => return (depth, end),
            }
        }
        (out.len(), self.walk_on(scratch, place, stack, out))
    }

    /// Walks from the first frame that there is no room for up to the root, of whose end so much is
    /// kept as a reader needs.
    #[cold]
    fn walk_on(
        &self,
        scratch: &mut UnwindScratch,
        mut place: UnwindFrame,
        stack: &mut impl StackMemory,
        out: &[AtomicU64],
    ) -> WalkEnd {
        let Some(mut roots) = RootsEnd::new(out) else { return WalkEnd::Full };
        let end = loop {
            if roots.is_full() {
                break WalkEnd::Full;
            }
            let rule = self.rule(scratch, place.lookup);
            if rule == UnwindRule::Nowhere {
                break WalkEnd::Lost;
            }
            roots.add(place.lookup);
            match step(rule, &place, stack) {
                Ok(next) => place = next,
                Err(end) => break end,
            }
        };
        roots.finish();
        end
    }

    /// Returns the rule for an address, from the cache or the tables.
    fn rule(&self, scratch: &mut UnwindScratch, address: u64) -> UnwindRule {
        let hash = address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - CACHE.ilog2());
        let cached = &self.cache[hash as usize];
        let packed = cached.rule.load(Ordering::Relaxed);
        if packed != 0 && cached.mixed.load(Ordering::Relaxed) == packed ^ address {
            return UnwindRule::unpack(packed);
        }
        let rule = self.modules.rule(scratch, address);
        if let Some(packed) = rule.pack() {
            cached.rule.store(packed, Ordering::Relaxed);
            cached.mixed.store(packed ^ address, Ordering::Relaxed);
        }
        rule
    }
}

/// A frame that is being unwound.
pub(crate) struct UnwindFrame {
    registers: UnwindRegisters,
    /// Address by which its rule is looked up: one inside its call; of an interrupted function, the
    /// instruction's.
    lookup: u64,
    /// True where it may have no frame of its own yet.
    leaf: bool,
}

/// Finds the frame above, or the end of the walk.
fn step(
    rule: UnwindRule,
    place: &UnwindFrame,
    stack: &mut impl StackMemory,
) -> Result<UnwindFrame, WalkEnd> {
    let registers = &place.registers;
    let found = match rule {
        UnwindRule::Frame { base, offset, fp, ra } => {
            let base = match base {
                CfaBase::Sp => registers.sp,
                CfaBase::Fp => registers.fp,
            };
            caller_frame(base.wrapping_add_signed(offset.into()), fp, ra, place, stack)
        }
        UnwindRule::Plt { threshold } => {
            let pushed = u64::from(registers.pc & 15 >= u64::from(threshold)) * 8;
            let cfa = registers.sp.wrapping_add(8 + pushed);
            caller_frame(cfa, FramePointerRule::Same, ReturnAddressRule::At(-8), place, stack)
        }
        UnwindRule::Signal => interrupted_frame(registers, stack),
        UnwindRule::Root => return Err(WalkEnd::Root),
        UnwindRule::Unknown | UnwindRule::Nowhere => caller_by_frame_pointer(registers, stack),
    };
    match found {
        Some(place) if place.registers.pc == 0 => Err(WalkEnd::Root),
        Some(place) => Ok(place),
        None => Err(WalkEnd::Lost),
    }
}

fn caller_frame(
    cfa: u64,
    fp: FramePointerRule,
    ra: ReturnAddressRule,
    place: &UnwindFrame,
    stack: &mut impl StackMemory,
) -> Option<UnwindFrame> {
    let UnwindFrame { registers, leaf, .. } = *place;
    let pc = match ra {
        ReturnAddressRule::At(offset) => stack.read(cfa.wrapping_add_signed(offset.into()))?,
        // Only a function that calls nothing still has its return address there.
        ReturnAddressRule::InRegister if leaf && registers.lr != 0 => registers.lr,
        ReturnAddressRule::InRegister => return None,
    };
    let fp = match fp {
        FramePointerRule::Same => registers.fp,
        FramePointerRule::At(offset) => stack.read(cfa.wrapping_add_signed(offset.into()))?,
    };
    // A caller's frame is above its callee's; on some processors a leaf needs none of its own.
    let rises = if leaf && ra == ReturnAddressRule::InRegister {
        cfa >= registers.sp
    } else {
        cfa > registers.sp
    };
    rises.then(|| UnwindFrame::caller(pc, cfa, fp))
}

impl UnwindFrame {
    /// Makes a frame that has called, by its return address.
    fn caller(pc: u64, sp: u64, fp: u64) -> UnwindFrame {
        let pc = arch::strip(pc);
        let registers = UnwindRegisters { pc, sp, fp, lr: 0 };
        UnwindFrame { registers, lookup: pc.wrapping_sub(1), leaf: false }
    }
}

/// Reads the frame that a signal interrupted.
fn interrupted_frame(
    registers: &UnwindRegisters,
    stack: &mut impl StackMemory,
) -> Option<UnwindFrame> {
    let frame = arch::SIGNAL_FRAME;
    let mut read = |offset: u64| stack.read(registers.sp.wrapping_add(offset));
    let registers =
        UnwindRegisters { pc: read(frame.pc)?, sp: read(frame.sp)?, fp: read(frame.fp)?, lr: 0 };
    Some(UnwindFrame { registers, lookup: registers.pc, leaf: false })
}

/// Finds the caller by the frame pointer: code without unwind tables, such as that of a JIT
/// compiler, may keep one.
fn caller_by_frame_pointer(
    registers: &UnwindRegisters,
    stack: &mut impl StackMemory,
) -> Option<UnwindFrame> {
    let fp = registers.fp;
    if fp < registers.sp || !fp.is_multiple_of(8) {
        return None;
    }
    let pc = stack.read(fp.wrapping_add(8))?;
    Some(UnwindFrame::caller(pc, fp.wrapping_add(16), stack.read(fp)?))
}
