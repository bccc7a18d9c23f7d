//! `block`: how long threads were blocked, at the stack that waited.
//!
//! What is measured: every wait for a std or `parking_lot` lock, a condition variable, a channel, a
//! parked thread or a `Once` that came to sleep in the kernel, from the call to its return, seen by
//! standing in for libc's `syscall` (feature `intercept`). A wait of a millisecond and more is
//! recorded; a shorter one as likely as it is long, and with the weight of those left out. A wait
//! that is still under way at the end counts up to then, and one that was under way at the
//! beginning from then. Cost: about 3 µs of CPU for a recorded wait of 40 frames, and 0.2 µs for
//! another; one relaxed load for each futex call while nothing records.
//!
//! Where it is blind: spinning before the wait; waits inside libc itself (`pthread_mutex_lock` of C
//! libraries, joining a thread), which are seen only where they last for the whole window; async
//! tasks, which are not threads; sleeping, and waits for I/O.

use profile_format::{Kind, Unavailable};

use crate::collector::{Collector, File, Pending, Window};
use crate::error::Error;
use crate::stacks::locate::Symbols;
use crate::stacks::raw::capture;
use crate::waits::encode::{WaitProfileStyle, build_profile};
use crate::waits::in_progress::WaitSums;
use crate::waits::raw::{births, syscall};
use crate::waits::recorded::WaitProfile;
use crate::waits::{BLOCK_RATE, RaisedRate};

/// Profiles of waiting, at the stack that waited.
#[derive(Clone, Copy, Debug)]
pub struct BlockProfile {
    nanos: u64,
    idle: bool,
    symbols: Symbols,
}

/// Nanoseconds of waiting for each event within a window. Coarse enough for a lock that is held for
/// 20 µs and fought for by four threads to lose less than 3 % of its throughput.
const RATE: u64 = 1_000_000;

impl BlockProfile {
    /// Makes a collector of one event for each millisecond of waiting within a window.
    pub fn new() -> BlockProfile {
        BlockProfile { nanos: RATE, idle: false, symbols: Symbols::Resolved }
    }

    /// Returns the same with one event for each `nanos` nanoseconds; every wait at 1.
    #[must_use]
    pub fn rate(self, nanos: u64) -> BlockProfile {
        BlockProfile { nanos: nanos.max(1), ..self }
    }

    /// Returns the same with or without workers that have nothing to do. They have the label
    /// `idle`, and are left out unless asked for.
    #[must_use]
    pub fn idle(self, idle: bool) -> BlockProfile {
        BlockProfile { idle, ..self }
    }

    /// Returns the same, naming functions in the profile or leaving that to its reader. Without
    /// names nothing tells idle workers from others, nor what is waited for.
    #[must_use]
    pub fn symbols(self, symbols: Symbols) -> BlockProfile {
        BlockProfile { symbols, ..self }
    }

    fn style(self, is_window: bool) -> WaitProfileStyle {
        WaitProfileStyle {
            of: WaitProfile::Block,
            symbols: self.symbols,
            idle: self.idle,
            is_window,
        }
    }
}

impl Default for BlockProfile {
    fn default() -> BlockProfile {
        BlockProfile::new()
    }
}

/// Checks that the symbols that stand in for libc's are those that the program calls.
pub(crate) fn check_intercepted(kind: Kind) -> Result<(), Unavailable> {
    if syscall::present() && births::present() {
        return Ok(());
    }
    Err(Unavailable::new(
        kind,
        "another library in this program defines `syscall` before profilez does",
        "leave out what else interposes libc's functions, such as a sanitizer or a preloaded library",
    ))
}

impl Collector for BlockProfile {
    fn kind(&self) -> Kind {
        Kind::Block
    }

    fn check(&self) -> Result<(), Unavailable> {
        check_intercepted(Kind::Block)
    }

    fn rate(&self) -> Option<u64> {
        Some(self.nanos)
    }

    /// Encodes everything recorded since the program started, at the rate that it has set.
    fn snapshot(&self) -> Result<Vec<File>, Error> {
        self.check()?;
        let recorded = WaitSums::take(WaitProfile::Block)
            .recorded_since(WaitProfile::Block, &WaitSums::default());
        let note = engine(BLOCK_RATE.load(std::sync::atomic::Ordering::Relaxed));
        let bytes = build_profile(&recorded, self.style(false), &[note]);
        Ok(vec![File { name: Kind::Block.file_name(), bytes: bytes.into() }])
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        self.check()?;
        capture::refresh();
        // What is under way is counted before recording begins: from then on it counts as new.
        let before = WaitSums::take(WaitProfile::Block);
        let raised = RaisedRate::new(WaitProfile::Block, self.nanos);
        Ok(Box::new(BlockWindow { profile: *self, before, raised }))
    }
}

struct BlockWindow {
    profile: BlockProfile,
    before: WaitSums,
    raised: RaisedRate,
}

impl Window for BlockWindow {
    fn close(self: Box<Self>) -> Pending {
        let BlockWindow { profile, before, raised } = *self;
        let recorded =
            WaitSums::take(WaitProfile::Block).recorded_since(WaitProfile::Block, &before);
        let note = engine(BLOCK_RATE.load(std::sync::atomic::Ordering::Relaxed));
        drop(raised);
        Box::new(move || {
            let bytes = build_profile(&recorded, profile.style(true), &[note]);
            Ok(vec![File { name: Kind::Block.file_name(), bytes: bytes.into() }])
        })
    }
}

fn engine(rate: u64) -> String {
    match rate {
        0 => "engine: profilez, interposed futex calls; no rate is set".to_owned(),
        1 => "engine: profilez, interposed futex calls, every wait".to_owned(),
        rate => format!("engine: profilez, interposed futex calls, one event for each {rate} ns"),
    }
}
