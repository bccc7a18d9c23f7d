//! The stacks of threads that are blocked in the kernel, from what `/proc` tells of them.
//!
//! The kernel gives their program counter and stack pointer, and not their frame pointer. A function
//! that keeps one set it up in its first instructions, from which its value can be computed once;
//! from there on the stack holds the others.

use std::collections::HashMap;

use crate::stacks::gap;
use crate::stacks::unwind::rule::{CfaBase, UnwindRule};
use crate::stacks::unwind::{
    StackMemory, StackUnwinder, UnwindFrame, UnwindRegisters, UnwindScratch, WalkEnd, step,
};

/// A frame pointer that isn't known.
const UNKNOWN: u64 = 0;

/// The distances from frame pointer to stack pointer after the prologues of functions, by the
/// functions' beginnings: their code is read once.
#[derive(Default)]
pub(crate) struct PrologueCache(HashMap<u64, Option<u64>>);

impl StackUnwinder {
    /// Returns the addresses of a blocked thread's stack, the leaf first, at most `depth`; see
    /// [`StackUnwinder::unwind`].
    pub(crate) fn unwind_blocked(
        &self,
        scratch: &mut UnwindScratch,
        prologues: &mut PrologueCache,
        (pc, sp): (u64, u64),
        stack: &mut impl StackMemory,
        depth: usize,
    ) -> (Vec<u64>, WalkEnd) {
        let (mut addresses, end) = self.walk_blocked(scratch, prologues, (pc, sp), stack, depth);
        gap::shorten(&mut addresses, depth);
        (addresses, end)
    }

    /// Returns all of a blocked thread's stack, in whatever room both its ends are to be kept.
    fn walk_blocked(
        &self,
        scratch: &mut UnwindScratch,
        prologues: &mut PrologueCache,
        (pc, sp): (u64, u64),
        stack: &mut impl StackMemory,
        depth: usize,
    ) -> (Vec<u64>, WalkEnd) {
        let most = if depth < 2 * gap::ROOTS { depth } else { depth.max(gap::MOST_FRAMES) };
        let registers = UnwindRegisters { pc, sp, fp: UNKNOWN, lr: 0 };
        let mut place = UnwindFrame { registers, lookup: pc, leaf: true };
        // What most stacks need.
        let mut addresses = Vec::with_capacity(depth.min(32));
        while addresses.len() < most {
            addresses.push(place.lookup);
            let rule = self.rule(scratch, place.lookup);
            if let UnwindRule::Frame { base: CfaBase::Fp, .. } = rule
                && place.registers.fp == UNKNOWN
            {
                let begin = self.modules.function_start(place.lookup);
                let fp = begin.filter(|_| !place.leaf).and_then(|begin| {
                    let below = prologues.0.entry(begin);
                    let below = *below.or_insert_with(|| below_frame_pointer(begin, stack));
                    let fp = place.registers.sp.checked_add(below?)?;
                    // The word above the saved frame pointer must be a return address.
                    self.modules.contains(stack.read(fp + 8)?.wrapping_sub(1)).then_some(fp)
                });
                match fp {
                    Some(fp) => place.registers.fp = fp,
                    None => return (addresses, WalkEnd::Lost),
                }
            }
            place = match step(rule, &place, stack) {
                Ok(next) => next,
                Err(end) => return (addresses, end),
            };
            if !self.modules.contains(place.lookup) {
                return (addresses, WalkEnd::Lost);
            }
        }
        (addresses, WalkEnd::Full)
    }
}

/// Returns the bytes by which a function's stack pointer is below its frame pointer after its
/// prologue: `[endbr64] push rbp; mov rbp, rsp; push …; sub rsp, N`. None where it begins
/// otherwise.
fn below_frame_pointer(begin: u64, memory: &mut impl StackMemory) -> Option<u64> {
    let mut bytes = [0u8; 64];
    for (word, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        // Functions begin at any byte; memory is read in aligned words.
        let at = begin + 8 * word as u64;
        let (low, shift) = (memory.read(at & !7)?, at % 8 * 8);
        let value = if shift == 0 {
            low
        } else {
            low >> shift | memory.read((at & !7) + 8)? << (64 - shift)
        };
        chunk.copy_from_slice(&value.to_le_bytes());
    }
    prologue(&bytes)
}

fn prologue(mut code: &[u8]) -> Option<u64> {
    code = code.strip_prefix(b"\xf3\x0f\x1e\xfa").unwrap_or(code);
    code = code.strip_prefix(b"\x55")?;
    // Two encodings of `mov rbp, rsp`.
    code = code.strip_prefix(b"\x48\x89\xe5").or_else(|| code.strip_prefix(b"\x48\x8b\xec"))?;
    let mut pushed = 0;
    loop {
        match *code {
            [0x50..=0x57, ref rest @ ..] | [0x41, 0x50..=0x57, ref rest @ ..] => {
                pushed += 8;
                code = rest;
            }
            [0x48, 0x83, 0xec, size, ..] => return Some(pushed + u64::from(size)),
            [0x48, 0x81, 0xec, a, b, c, d, ..] => {
                return Some(pushed + u64::from(u32::from_le_bytes([a, b, c, d])));
            }
            // A stack pointer that is aligned anew is at a distance that depends on the caller.
            [0x48, 0x83, 0xe4, ..] | [0x48, 0x81, 0xe4, ..] => return None,
            _ => return Some(pushed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_prologues() {
        let cases: [(&[u8], Option<u64>); 7] = [
            (b"\x55\x48\x89\xe5\x48\x83\xec\x20\xc3", Some(0x20)),
            (b"\xf3\x0f\x1e\xfa\x55\x48\x89\xe5\x41\x57\x53\x50\xc3", Some(24)),
            (b"\x55\x48\x8b\xec\x53\x48\x81\xec\x00\x01\0\0", Some(264)),
            (b"\x55\x48\x89\xe5\xc3", Some(0)),
            (b"\x53\xc3", None),
            (b"\x55\x48\x89\xe5\x48\x83\xe4\xe0", None),
            (b"", None),
        ];
        for (code, distance) in cases {
            assert_eq!(prologue(code), distance, "{code:x?}");
        }
    }
}
