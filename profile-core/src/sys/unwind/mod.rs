//! From registers to a stack of addresses, without disturbing anything.
//!
//! [`Unwinder::unwind`] runs inside signal handlers. It does not allocate, lock, panic on purpose,
//! format, call into libc or touch a thread-local; it reads the stack through a [`Stack`] that says
//! no where memory may not be there; and it needs less than two kilobytes of stack.

mod blocked;
mod rule;
mod tables;

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use blocked::Prologues;
pub(crate) use rule::Scratch;
use rule::{Base, Fp, Ra, Rule};
use tables::Modules;
pub(crate) use tables::{Generation, generation};

use super::arch;

/// The registers that unwinding needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    pub(crate) pc: u64,
    pub(crate) sp: u64,
    pub(crate) fp: u64,
    /// The link register, where the processor has one.
    pub(crate) lr: u64,
}

/// The stack that is being unwound.
pub(crate) trait Stack {
    /// The word at an address, if it can be read.
    fn read(&mut self, address: u64) -> Option<u64>;
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// At the thread's first function.
    Root,
    /// There was no room for more.
    Full,
    /// The way up could not be found.
    Lost,
}

/// The unwind tables of everything that is loaded, and what was found in them so far.
pub(crate) struct Unwinder {
    modules: Modules,
    /// The rules of addresses seen before. Direct-mapped; written by whoever looks one up.
    cache: Box<[Cached]>,
}

/// A rule and the address it is for, mixed with it. Two words that were written by two writers at
/// once don't fit each other, and count as nothing.
#[derive(Default)]
struct Cached {
    rule: AtomicU64,
    mixed: AtomicU64,
}

/// A power of two. At 16 bytes each this is 64 KiB.
const CACHE: usize = 4096;

impl Unwinder {
    /// An unwinder for what is loaded now.
    pub(crate) fn load() -> Unwinder {
        let cache = (0..CACHE).map(|_| Cached::default()).collect();
        Unwinder { modules: Modules::load(), cache }
    }

    /// Writes the addresses of a stack to `out`, the leaf first: the interrupted instruction, then
    /// of each caller an address inside its call. How many there are, and how the walk ended.
    pub(crate) fn unwind(
        &self,
        scratch: &mut Scratch,
        registers: Registers,
        stack: &mut impl Stack,
        out: &[AtomicU64],
    ) -> (usize, End) {
        self.walk(scratch, registers, registers.pc, true, stack, out)
    }

    /// The same without the function that the registers are in: its caller comes first, by an
    /// address inside the call.
    pub(crate) fn unwind_callers(
        &self,
        scratch: &mut Scratch,
        registers: Registers,
        stack: &mut impl Stack,
        out: &[AtomicU64],
    ) -> (usize, End) {
        match step(self.rule(scratch, registers.pc), &registers, stack, true) {
            Step::Caller(caller) if caller.pc != 0 => {
                self.walk(scratch, caller, caller.pc.wrapping_sub(1), false, stack, out)
            }
            Step::Interrupted(at) => self.walk(scratch, at, at.pc, true, stack, out),
            Step::Caller(_) | Step::Root => (0, End::Root),
            Step::Lost => (0, End::Lost),
        }
    }

    /// `leaf`: whether the registers are those of a function that may have no frame of its own yet.
    fn walk(
        &self,
        scratch: &mut Scratch,
        mut registers: Registers,
        mut lookup: u64,
        mut leaf: bool,
        stack: &mut impl Stack,
        out: &[AtomicU64],
    ) -> (usize, End) {
        for (depth, place) in out.iter().enumerate() {
            let rule = self.rule(scratch, lookup);
            if rule == Rule::Nowhere && depth > 0 {
                return (depth, End::Lost);
            }
            place.store(lookup, Ordering::Relaxed);
            match step(rule, &registers, stack, leaf) {
                Step::Caller(caller) => {
                    registers = caller;
                    lookup = caller.pc.wrapping_sub(1);
                }
                Step::Interrupted(interrupted) => {
                    registers = interrupted;
                    lookup = interrupted.pc;
                }
                Step::Root => return (depth + 1, End::Root),
                Step::Lost => return (depth + 1, End::Lost),
            }
            if registers.pc == 0 {
                return (depth + 1, End::Root);
            }
            leaf = false;
        }
        (out.len(), End::Full)
    }

    /// The rule for an address, from the cache or the tables.
    fn rule(&self, scratch: &mut Scratch, address: u64) -> Rule {
        let hash = address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - CACHE.ilog2());
        let cached = &self.cache[hash as usize];
        let packed = cached.rule.load(Ordering::Relaxed);
        if packed != 0 && cached.mixed.load(Ordering::Relaxed) == packed ^ address {
            return Rule::unpack(packed);
        }
        let rule = self.modules.rule(scratch, address);
        if let Some(packed) = rule.pack() {
            cached.rule.store(packed, Ordering::Relaxed);
            cached.mixed.store(packed ^ address, Ordering::Relaxed);
        }
        rule
    }
}

enum Step {
    Caller(Registers),
    /// A signal handler's caller: the instruction that the signal interrupted.
    Interrupted(Registers),
    Root,
    Lost,
}

fn step(rule: Rule, registers: &Registers, stack: &mut impl Stack, leaf: bool) -> Step {
    let found = match rule {
        Rule::Frame { base, offset, fp, ra } => {
            let base = match base {
                Base::Sp => registers.sp,
                Base::Fp => registers.fp,
            };
            let cfa = base.wrapping_add_signed(offset.into());
            caller(cfa, fp, ra, registers, stack, leaf)
        }
        Rule::Plt { threshold } => {
            let pushed = u64::from(registers.pc & 15 >= u64::from(threshold)) * 8;
            let cfa = registers.sp.wrapping_add(8 + pushed);
            caller(cfa, Fp::Same, Ra::At(-8), registers, stack, leaf)
        }
        Rule::Signal => interrupted(registers, stack).map(Step::Interrupted),
        Rule::Root => Some(Step::Root),
        Rule::Unknown | Rule::Nowhere => by_frame_pointer(registers, stack),
    };
    found.unwrap_or(Step::Lost)
}

fn caller(
    cfa: u64,
    fp: Fp,
    ra: Ra,
    registers: &Registers,
    stack: &mut impl Stack,
    leaf: bool,
) -> Option<Step> {
    let pc = match ra {
        Ra::At(offset) => stack.read(cfa.wrapping_add_signed(offset.into()))?,
        // Only a function that calls nothing still has its return address there.
        Ra::InRegister if leaf && registers.lr != 0 => registers.lr,
        Ra::InRegister => return None,
    };
    let fp = match fp {
        Fp::Same => registers.fp,
        Fp::At(offset) => stack.read(cfa.wrapping_add_signed(offset.into()))?,
    };
    // A caller's frame is above its callee's; on some processors a leaf needs none of its own.
    let rises = if leaf && ra == Ra::InRegister { cfa >= registers.sp } else { cfa > registers.sp };
    rises.then_some(Step::Caller(Registers { pc: arch::strip(pc), sp: cfa, fp, lr: 0 }))
}

fn interrupted(registers: &Registers, stack: &mut impl Stack) -> Option<Registers> {
    let frame = arch::SIGNAL_FRAME;
    let mut read = |offset: u64| stack.read(registers.sp.wrapping_add(offset));
    Some(Registers { pc: read(frame.pc)?, sp: read(frame.sp)?, fp: read(frame.fp)?, lr: 0 })
}

/// Code without unwind tables, such as that of a JIT compiler, may keep frame pointers.
fn by_frame_pointer(registers: &Registers, stack: &mut impl Stack) -> Option<Step> {
    let fp = registers.fp;
    if fp < registers.sp || !fp.is_multiple_of(8) {
        return None;
    }
    let pc = arch::strip(stack.read(fp.wrapping_add(8))?);
    let caller = Registers { pc, sp: fp.wrapping_add(16), fp: stack.read(fp)?, lr: 0 };
    Some(Step::Caller(caller))
}
