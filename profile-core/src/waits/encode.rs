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

/// A stack that is in the profile, and how.
#[derive(Debug)]
struct KeptStack {
    /// The index of the first location that is shown: what the wait is made of is left out.
    first: usize,
    labels: Vec<(&'static str, &'static str)>,
}

/// The decision about a stack.
#[derive(Debug)]
enum StackDecision {
    Keep(KeptStack),
    /// Of a worker with nothing to do.
    Idle,
    /// Nobody held what was waited for.
    NotHeld,
}

impl WaitProfileStyle {
    /// Decides about a stack, given as locations, and of one that wakes others about the waiter's.
    fn decide(self, builder: &Builder, waiter: &[u32], stack: &[u32]) -> StackDecision {
        if self.symbols == Symbols::Raw {
            return StackDecision::Keep(KeptStack { first: 0, labels: Vec::new() });
        }
        let stack = StackFrames::of(builder, stack);
        let keep =
            |index, labels| StackDecision::Keep(KeptStack { first: stack.location(index), labels });
        match self.of {
            WaitProfile::Block => {
                let (wait, index) = find_wait(&stack.frames);
                let wait = ("wait", wait.word());
                match find_idle_word(&stack.frames) {
                    Some(_) if !self.idle => StackDecision::Idle,
                    Some(what) => keep(index, vec![wait, ("idle", what)]),
                    None => keep(index, vec![wait]),
                }
            }
            WaitProfile::Mutex => {
                let (wait, _) = find_wait(&StackFrames::of(builder, waiter).frames);
                if !matches!(wait, WaitKind::Mutex | WaitKind::RwLock) {
                    // A condition, a channel or a thread was woken.
                    return StackDecision::NotHeld;
                }
                let index = find_release(&stack.frames).unwrap_or(0);
                keep(index, vec![("wait", wait.word())])
            }
        }
    }
}

/// What is not in the samples.
#[derive(Debug, Default)]
struct LeftOut {
    idle_stacks: usize,
    idle_nanos: u64,
    truncated: usize,
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
        match style.decide(&builder, &waiter, &locations) {
            StackDecision::Keep(KeptStack { first, labels }) => {
                let label = |(key, text)| builder.text_label(key, text);
                let labels: Vec<_> = labels.into_iter().map(label).collect();
                left_out.truncated += usize::from(*is_truncated);
                builder.sample(&locations[first..], &values(*weighed), &labels);
            }
            StackDecision::Idle => {
                left_out.idle_stacks += 1;
                left_out.idle_nanos += weighed.nanos;
            }
            StackDecision::NotHeld => {}
        }
    }
    notes.iter().for_each(|note| builder.comment(note));
    describe_left_out(recorded, style, &left_out).iter().for_each(|note| builder.comment(note));
    let profile = builder.profile_mut();
    let from = recorded.from.filter(|_| style.is_window);
    profile.time_nanos = unix_nanos(from.unwrap_or(recorded.to));
    if let Some(from) = from {
        let duration = recorded.to.duration_since(from).unwrap_or_default();
        profile.duration_nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    }
    builder.finish()
}

/// Says what is not in the samples, a sentence each.
fn describe_left_out(
    recorded: &RecordedWaits,
    style: WaitProfileStyle,
    left_out: &LeftOut,
) -> Vec<String> {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let LeftOut { idle_stacks, idle_nanos, truncated } = *left_out;
    let RecordedWaits { open, lost, unlisted, .. } = recorded;
    let idle = (idle_nanos > 0).then(|| {
        let seconds = seconds(idle_nanos);
        format!(
            "idle: {seconds:.1} s of workers with nothing to do are left out, {idle_stacks} stacks"
        )
    });
    let open = (*open > 0 && style.of == WaitProfile::Block)
        .then(|| format!("open: {open} waits were still under way, and count up to then"));
    let truncated = (truncated > 0)
        .then(|| format!("truncated: {truncated} stacks without a way up to their root"));
    let lost = (*lost != WaitWeight::default()).then(|| {
        let (count, seconds) = (lost.count(), seconds(lost.nanos));
        format!(
            "dropped: {count} events of {seconds:.1} s at stacks beyond those there is room for"
        )
    });
    let unlisted = (*unlisted > 0).then(|| {
        format!(
            "{unlisted} waits began while too many others were under way to follow them to the end"
        )
    });
    [idle, open, truncated, lost, unlisted].into_iter().flatten().collect()
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
