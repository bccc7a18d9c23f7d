//! How to get from one place in the code to its caller, in eight bytes.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, NativeEndian, Register, RegisterRule,
    UnwindContext, UnwindContextStorage, UnwindSection as _, UnwindTableRow,
};

use crate::stacks::raw::arch::{DWARF_FP, DWARF_RA, DWARF_SP};

/// A rule that finds a caller's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnwindRule {
    /// The frame begins at a register plus an offset; the rest is found from there.
    Frame { base: CfaBase, offset: i32, fp: FramePointerRule, ra: ReturnAddressRule },
    /// A stub of the procedure linkage table, whose frame grows by a word at this byte of 16.
    Plt { threshold: u8 },
    /// The trampoline that a signal handler returns to.
    Signal,
    /// The thread's first function.
    Root,
    /// Code without unwind tables.
    Unknown,
    /// No code of any object.
    Nowhere,
}

/// The register from which the frame's beginning (DWARF's canonical frame address) is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CfaBase {
    Sp,
    Fp,
}

/// The place of the caller's frame pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FramePointerRule {
    Same,
    /// At this offset from the frame's beginning.
    At(i16),
}

/// The place of the return address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReturnAddressRule {
    InRegister,
    /// At this offset from the frame's beginning.
    At(i16),
}

impl UnwindRule {
    /// Packs the rule into a word that is not 0; `None` where an offset is too large for one.
    pub(crate) fn pack(self) -> Option<u64> {
        // A tag in the lowest three bits; offsets as multiples of 8, or of 1 where they are not.
        Some(match self {
            UnwindRule::Unknown => 1,
            UnwindRule::Root => 2,
            UnwindRule::Signal => 3,
            UnwindRule::Nowhere => 6,
            UnwindRule::Plt { threshold } => 4 | u64::from(threshold) << 8,
            UnwindRule::Frame { base, offset, fp, ra } => {
                let offset = u64::from(offset as u32);
                // Offsets of saved registers are kept in 13 bits of words below the frame.
                let word = |at: i16| {
                    let words = -(i32::from(at) / 8);
                    (at % 8 == 0 && (0..0x1000).contains(&words)).then_some(words as u64)
                };
                let fp = match fp {
                    FramePointerRule::Same => 0,
                    FramePointerRule::At(at) => word(at)? << 1 | 1,
                };
                let ra = match ra {
                    ReturnAddressRule::InRegister => 0,
                    ReturnAddressRule::At(at) => word(at)? << 1 | 1,
                };
                5 | u64::from(base == CfaBase::Fp) << 3 | fp << 4 | ra << 17 | offset << 32
            }
        })
    }

    pub(crate) fn unpack(packed: u64) -> UnwindRule {
        let at = |bits: u64| -(((bits >> 1 & 0xfff) * 8) as i16);
        match packed & 7 {
            2 => UnwindRule::Root,
            3 => UnwindRule::Signal,
            6 => UnwindRule::Nowhere,
            4 => UnwindRule::Plt { threshold: (packed >> 8) as u8 },
            5 => {
                let (fp, ra) = (packed >> 4 & 0x1fff, packed >> 17 & 0x1fff);
                UnwindRule::Frame {
                    base: if packed & 8 == 0 { CfaBase::Sp } else { CfaBase::Fp },
                    offset: (packed >> 32) as u32 as i32,
                    fp: if fp & 1 == 0 {
                        FramePointerRule::Same
                    } else {
                        FramePointerRule::At(at(fp))
                    },
                    ra: if ra & 1 == 0 {
                        ReturnAddressRule::InRegister
                    } else {
                        ReturnAddressRule::At(at(ra))
                    },
                }
            }
            _ => UnwindRule::Unknown,
        }
    }
}

/// Room for evaluating unwind tables, so that none is taken from the stack or the heap.
pub(crate) struct UnwindScratch {
    context: UnwindContext<usize, SmallStorage>,
}

impl UnwindScratch {
    pub(crate) fn new() -> UnwindScratch {
        UnwindScratch { context: UnwindContext::new_in() }
    }
}

impl Default for UnwindScratch {
    fn default() -> UnwindScratch {
        UnwindScratch::new()
    }
}

/// Storage for evaluating: few registers are saved by any function, and rows are remembered two
/// deep at most.
struct SmallStorage;

impl UnwindContextStorage<usize> for SmallStorage {
    type Rules = [(Register, RegisterRule<usize>); 32];
    type Stack = [UnwindTableRow<usize, Self>; 4];
}

type TableSlice<'a> = EndianSlice<'a, NativeEndian>;

/// Looks an address up in an object's tables.
pub(crate) fn look_up(
    scratch: &mut UnwindScratch,
    hdr: &[u8],
    frames: &[u8],
    bases: &BaseAddresses,
    address: u64,
) -> UnwindRule {
    find(scratch, hdr, frames, bases, address).unwrap_or(UnwindRule::Unknown)
}

fn find(
    scratch: &mut UnwindScratch,
    hdr: &[u8],
    frames: &[u8],
    bases: &BaseAddresses,
    address: u64,
) -> Option<UnwindRule> {
    let hdr = EhFrameHdr::new(hdr, NativeEndian).parse(bases, 8).ok()?;
    let section: EhFrame<TableSlice<'_>> = EhFrame::new(frames, NativeEndian);
    let fde =
        hdr.table()?.fde_for_address(&section, bases, address, EhFrame::cie_from_offset).ok()?;
    if fde.cie().is_signal_trampoline() {
        return Some(UnwindRule::Signal);
    }
    let row = fde.unwind_info_for_address(&section, bases, &mut scratch.context, address).ok()?;
    rule_of_row(row, &section)
}

/// Returns the beginning of the function that holds an address.
pub(crate) fn function_start(
    hdr: &[u8],
    frames: &[u8],
    bases: &BaseAddresses,
    address: u64,
) -> Option<u64> {
    let hdr = EhFrameHdr::new(hdr, NativeEndian).parse(bases, 8).ok()?;
    let section: EhFrame<TableSlice<'_>> = EhFrame::new(frames, NativeEndian);
    let fde = hdr.table()?.fde_for_address(&section, bases, address, EhFrame::cie_from_offset);
    Some(fde.ok()?.initial_address())
}

fn rule_of_row(
    row: &UnwindTableRow<usize, SmallStorage>,
    section: &EhFrame<TableSlice<'_>>,
) -> Option<UnwindRule> {
    let ra = match row.register(Register(DWARF_RA)) {
        Some(RegisterRule::Undefined) => return Some(UnwindRule::Root),
        Some(RegisterRule::Offset(offset)) => ReturnAddressRule::At(i16::try_from(offset).ok()?),
        None | Some(RegisterRule::SameValue) => ReturnAddressRule::InRegister,
        Some(_) => return None,
    };
    let fp = match row.register(Register(DWARF_FP)) {
        Some(RegisterRule::Offset(offset)) => FramePointerRule::At(i16::try_from(offset).ok()?),
        None | Some(RegisterRule::SameValue | RegisterRule::Undefined) => FramePointerRule::Same,
        Some(_) => return None,
    };
    match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } => {
            let base = match register.0 {
                DWARF_SP => CfaBase::Sp,
                DWARF_FP => CfaBase::Fp,
                _ => return None,
            };
            Some(UnwindRule::Frame { base, offset: i32::try_from(*offset).ok()?, fp, ra })
        }
        CfaRule::Expression(expression) => parse_plt(expression.get(section).ok()?.0.slice()),
    }
}

/// Reads the one expression by which linkers describe every stub of the procedure linkage table:
/// `rsp + 8 + (((rip & 15) >= N) << 3)`.
fn parse_plt(expression: &[u8]) -> Option<UnwindRule> {
    const LIT0: u8 = 0x30;
    match *expression {
        [0x77, 0x08, 0x80, 0x00, 0x3f, 0x1a, threshold, 0x2a, 0x33, 0x24, 0x22] => {
            Some(UnwindRule::Plt { threshold: threshold.checked_sub(LIT0)? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_survive_packing() {
        let mut rules = vec![
            UnwindRule::Unknown,
            UnwindRule::Nowhere,
            UnwindRule::Root,
            UnwindRule::Signal,
            UnwindRule::Plt { threshold: 11 },
            UnwindRule::Plt { threshold: 10 },
        ];
        for base in [CfaBase::Sp, CfaBase::Fp] {
            for offset in [8, 16, 0x1234, -8, i32::MAX & !7] {
                for fp in [
                    FramePointerRule::Same,
                    FramePointerRule::At(-16),
                    FramePointerRule::At(-32760),
                    FramePointerRule::At(0),
                ] {
                    for ra in [
                        ReturnAddressRule::InRegister,
                        ReturnAddressRule::At(-8),
                        ReturnAddressRule::At(-16),
                    ] {
                        rules.push(UnwindRule::Frame { base, offset, fp, ra });
                    }
                }
            }
        }
        for rule in rules {
            let packed = rule.pack().unwrap();
            assert_ne!(packed, 0);
            assert_eq!(UnwindRule::unpack(packed), rule, "{packed:#x}");
        }
        let odd = UnwindRule::Frame {
            base: CfaBase::Sp,
            offset: 8,
            fp: FramePointerRule::At(-12),
            ra: ReturnAddressRule::At(-8),
        };
        assert_eq!(odd.pack(), None, "what doesn't fit is not remembered");
        let above = UnwindRule::Frame {
            base: CfaBase::Sp,
            offset: 8,
            fp: FramePointerRule::At(8),
            ra: ReturnAddressRule::At(-8),
        };
        assert_eq!(above.pack(), None);
    }
}
