//! What `block` and `mutex` share: from stacks and times to a profile.

use profile_format::ProfileShape;
use profile_format::owner::{FrameText, WaitKind, find_idle_word, find_release, find_wait};
use profile_format::profile::{Builder, Profile};

use crate::stacks::locate::{AddressLocator, Symbols, unix_nanos};
use crate::waits::recorded::{RecordedWaits, SITE, WaitProfile, WaitWeight};

/// Settings of the way in which a profile is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitProfileStyle {
    pub(crate) of: WaitProfile,
    pub(crate) symbols: Symbols,
    /// True where threads that have nothing to do are in it.
    pub(crate) idle: bool,
    /// True where it is of a window, and not of all since the start.
    pub(crate) is_window: bool,
}

/// Waiting, of threads with something to do and of those without.
#[derive(Default)]
struct LeftOut {
    stacks: usize,
    nanos: u64,
}

/// Encodes what was recorded as a profile.
pub(crate) fn build_profile(
    recorded: &RecordedWaits,
    style: WaitProfileStyle,
    notes: &[String],
) -> Profile {
    let mut builder = ProfileShape::CONTENTION.builder(ProfileShape::CONTENTION.period);
    // What a stack is told from are names, also where the profile has none.
    let mut locator = AddressLocator::new(&mut builder, style.symbols);
    let mut left_out = LeftOut::default();
    let mut truncated = 0;
    let mut stacks: Vec<_> = recorded.stacks.iter().collect();
    stacks.sort_by_key(|(stack, weighed)| (std::cmp::Reverse(weighed.nanos), *stack));
    for ((addresses, is_truncated), weighed) in stacks {
        let (waiter, addresses) =
            addresses.split_at(count_waiter_addresses(style.of).min(addresses.len()));
        let mut locate = |addresses: &[u64]| -> Vec<u32> {
            let known = addresses.iter().copied().filter(|&address| address != 0);
            locator.stack(&mut builder, known)
        };
        let (waiter, locations) = (locate(waiter), locate(addresses));
        let stack = StackFrames::of(&builder, &locations);
        let mut labels = Vec::new();
        let (decides, idles) = match style.of {
            _ if style.symbols == Symbols::Raw => (0, None),
            WaitProfile::Block => {
                let idles = find_idle_word(&stack.frames);
                let (wait, index) = find_wait(&stack.frames);
                labels.push(("wait", wait.word()));
                (index, idles)
            }
            WaitProfile::Mutex => {
                let (wait, _) = find_wait(&StackFrames::of(&builder, &waiter).frames);
                if !matches!(wait, WaitKind::Mutex | WaitKind::RwLock) {
                    // A condition, a channel or a thread was woken: nobody held it.
                    continue;
                }
                labels.push(("wait", wait.word()));
                (find_release(&stack.frames).unwrap_or(0), None)
            }
        };
        if let Some(what) = idles {
            if !style.idle {
                left_out.stacks += 1;
                left_out.nanos += weighed.nanos;
                continue;
            }
            labels.push(("idle", what));
        }
        let first = stack.location(decides);
        let labels: Vec<_> =
            labels.into_iter().map(|(key, text)| builder.text_label(key, text)).collect();
        truncated += usize::from(*is_truncated);
        builder.sample(&locations[first..], &values(*weighed), &labels);
    }
    for note in notes {
        builder.comment(note);
    }
    if left_out.nanos > 0 {
        builder.comment(&format!(
            "idle: {:.1} s of workers with nothing to do are left out, {} stacks",
            left_out.nanos as f64 / 1e9,
            left_out.stacks,
        ));
    }
    if recorded.open > 0 && style.of == WaitProfile::Block {
        builder.comment(&format!(
            "open: {} waits were still under way, and count up to then",
            recorded.open
        ));
    }
    if truncated > 0 {
        builder.comment(&format!("truncated: {truncated} stacks without a way up to their root"));
    }
    if recorded.lost != WaitWeight::default() {
        builder.comment(&format!(
            "dropped: {} events of {:.1} s at stacks beyond those there is room for",
            recorded.lost.count(),
            recorded.lost.nanos as f64 / 1e9,
        ));
    }
    if recorded.unlisted > 0 {
        builder.comment(&format!(
            "{} waits began while too many others were under way to follow them to the end",
            recorded.unlisted
        ));
    }
    let profile = builder.profile_mut();
    let from = recorded.from.filter(|_| style.is_window);
    profile.time_nanos = unix_nanos(from.unwrap_or(recorded.to));
    if let Some(from) = from {
        let duration = recorded.to.duration_since(from).unwrap_or_default();
        profile.duration_nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    }
    builder.finish()
}

/// Counts the addresses at the beginning of a stack that are the waiter's: of a stack that wakes
/// others, what they waited for is told by theirs, as the functions that wake are often inlined or
/// jumped from.
fn count_waiter_addresses(of: WaitProfile) -> usize {
    if of == WaitProfile::Mutex { SITE } else { 0 }
}

fn values(weighed: WaitWeight) -> [i64; 2] {
    let nanos = i64::try_from(weighed.nanos).unwrap_or(i64::MAX);
    [i64::try_from(weighed.count()).unwrap_or(i64::MAX).max(1), nanos]
}

/// The functions of a stack, the leaf first and inlined ones included.
pub(crate) struct StackFrames<'a> {
    pub(crate) frames: Vec<FrameText<'a>>,
    /// The index in the stack of each one's location.
    locations: Vec<usize>,
}

impl<'a> StackFrames<'a> {
    /// Collects the functions of locations.
    pub(crate) fn of(builder: &'a Builder, stack: &[u32]) -> StackFrames<'a> {
        let profile = builder.profile();
        let (mut frames, mut locations) = (Vec::new(), Vec::new());
        for (at, &location) in stack.iter().enumerate() {
            for line in profile.lines_of(&profile.locations[location as usize]) {
                let function = profile.functions[line.function as usize];
                let (name, file) = (profile.str(function.name), profile.str(function.filename));
                frames.push(FrameText::new(name, file));
                locations.push(at);
            }
        }
        StackFrames { frames, locations }
    }

    /// Returns the index in the stack of the location that a function is of.
    pub(crate) fn location(&self, index: usize) -> usize {
        self.locations.get(index).copied().unwrap_or(0)
    }
}
