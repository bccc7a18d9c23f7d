//! From a dump's groups to rows: first one for each distinct stack without the runtime's frames,
//! each judged, then those that are to be one.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use profile_format::owner::{FrameText, find_idle_word};

use super::creators::{OriginNames, find_origin};
use super::frames::FrameKinds;
use super::stuck::judge;
use super::{By, Category, GroupOptions, Row, RowStack, add};
use crate::dump::{Dump, Group, labels_by_group};
use crate::rules::{PatternBits, RuleSet, RuleSubject};

/// Keys that tell rows apart, as numbers; equal ones are compared, so that a hash decides nothing.
struct GroupKeys {
    state: RandomState,
    rows: HashMap<u64, Vec<(usize, Vec<u32>)>>,
}

impl GroupKeys {
    fn new() -> GroupKeys {
        GroupKeys { state: RandomState::new(), rows: HashMap::new() }
    }

    /// Returns the row of a key, or `next` where it is new.
    fn find_row(&mut self, key: Vec<u32>, next: usize) -> usize {
        let same = self.rows.entry(self.state.hash_one(&key)).or_default();
        match same.iter().find(|(_, known)| *known == key) {
            Some(&(row, _)) => row,
            None => {
                same.push((next, key));
                next
            }
        }
    }
}

/// Returns one judged row for each state, stack without the runtime's frames, creator and label.
pub(super) fn make_exact_rows<'a>(
    dump: &'a Dump,
    rules: &'a RuleSet,
    kinds: &FrameKinds,
    options: &GroupOptions,
) -> Vec<Row<'a>> {
    let mut labels = labels_by_group(dump);
    let mut keys = GroupKeys::new();
    let mut rows: Vec<Row<'_>> = Vec::new();
    for group in dump.groups() {
        let labels = std::mem::take(&mut labels[group.index() as usize]);
        let mut frames = group.frames();
        let all = frames.len();
        kinds.drop_runtime_frames(&mut frames);
        // A stack that lost nothing is one that other forms of dump show as it is.
        let key = [group.state_number(), group.creator_number(), group.label_number()];
        let key = [&key[..], &frames].concat();
        let full = frames.len() == all;
        let row = make_row(group, labels, full, &frames, kinds, rules);
        match keys.find_row(key, rows.len()) {
            number if number == rows.len() => rows.push(row),
            number => merge_row(&mut rows[number], row),
        }
    }
    for row in &mut rows {
        row.stuck = judge(row, options);
    }
    rows
}

fn make_row<'a>(
    group: Group<'a>,
    labels: Vec<(String, String, u64)>,
    full: bool,
    frames: &[u32],
    kinds: &FrameKinds,
    rules: &'a RuleSet,
) -> Row<'a> {
    let bits_of = |frame: u32| &kinds.bits[kinds.kinds[frame as usize].function as usize];
    let none = rules.no_bits();
    let mut any_frame = none.clone();
    for &frame in frames {
        let words = any_frame.iter_mut().zip(bits_of(frame));
        words.for_each(|(all, one)| *all |= one);
    }
    let user = frames.iter().find(|&&frame| kinds.kinds[frame as usize].user);
    let program = frames.iter().find(|&&frame| kinds.kinds[frame as usize].program);
    let state = group.state();
    let verdict = rules.verdict(&RuleSubject {
        any_frame: &any_frame,
        top_user_frame: user.map_or(&none, |&frame| bits_of(frame)),
        created_by: group.creator().map_or(&none, bits_of) as &PatternBits,
        state: &state,
        labels: &labels,
    });
    // A thread that waits on a futex and that no rule knows may have nothing to do.
    let is_idle = verdict.category == Category::Unknown && is_futex_state(&state) && is_idle(group);
    let (category, rule) = if is_idle {
        (Category::Background, Some("idle-worker"))
    } else {
        (verdict.category, verdict.rule)
    };
    let functions = || frames.iter().map(|&frame| group.function(frame));
    Row {
        count: group.count(),
        lock: is_lock_state(&state)
            || (is_futex_state(&state)
                && frames.iter().any(|&frame| kinds.kinds[frame as usize].lock)),
        in_main: functions().any(|name| name == "main.main"),
        state,
        other_states: Vec::new(),
        waits: group.waits().clone(),
        category,
        rule,
        stuck: None,
        ids: group.ids().to_vec(),
        labels,
        label: group.label(),
        locked: group.locked(),
        leaked: group.leaked(),
        partial: group.partial(),
        stuck_after: verdict.stuck_after,
        severity: verdict.severity,
        user: program.or(user).copied(),
        origin: None,
        stack: RowStack { group, full, most: usize::MAX },
    }
}

fn is_lock_state(state: &str) -> bool {
    matches!(
        state,
        "sync.Mutex.Lock"
            | "sync.RWMutex.Lock"
            | "sync.RWMutex.RLock"
            | "semacquire"
            | "futex lock"
    )
}

fn is_futex_state(state: &str) -> bool {
    state.starts_with("futex") || state == "syscall"
}

/// Returns whether a group's stack is that of a worker with nothing to do.
fn is_idle(group: Group<'_>) -> bool {
    let stack = group.stack();
    let texts: Vec<FrameText<'_>> =
        stack.iter().map(|frame| FrameText::new(&frame.function, &frame.file)).collect();
    find_idle_word(&texts).is_some()
}

/// Merges rows that `by` does not tell apart.
pub(super) fn merge_rows<'a>(exact: Vec<Row<'a>>, kinds: &FrameKinds, by: &By) -> Vec<Row<'a>> {
    if *by == By::Exact {
        return exact;
    }
    let mut keys = GroupKeys::new();
    let mut origins = OriginNames::default();
    let mut rows: Vec<Row<'_>> = Vec::new();
    // The largest gives its face.
    let mut exact = exact;
    super::sort(&mut exact, kinds);
    exact.sort_by_key(|row| std::cmp::Reverse(row.count));
    for mut row in exact {
        let group = row.stack.group;
        let function = |frame: u32| kinds.kinds[frame as usize].function;
        let mut frames = group.frames();
        kinds.drop_runtime_frames(&mut frames);
        let creator = group.creator().map_or(u32::MAX, function);
        let key = match by {
            By::Exact => unreachable!("those are rows already"),
            By::Function => {
                let functions = frames.into_iter().map(function);
                [group.state_number(), creator].into_iter().chain(functions).collect()
            }
            By::Top(most) => {
                row.stack.most = *most;
                std::iter::once(group.state_number())
                    .chain(frames.into_iter().take(*most))
                    .collect()
            }
            By::Creator => {
                row.origin = find_origin(&group);
                match &row.origin {
                    // Beyond the numbers of frames.
                    Some(name) => vec![u32::MAX, origins.find_or_add(name)],
                    None => vec![group.creator_number()],
                }
            }
            By::Label => vec![group.label_number()],
        };
        match keys.find_row(key, rows.len()) {
            number if number == rows.len() => rows.push(row),
            number => merge_row(&mut rows[number], row),
        }
    }
    rows
}

/// Adds the members of another row.
fn merge_row(into: &mut Row<'_>, row: Row<'_>) {
    const IDS: usize = 8;
    add(&mut into.count, row.count);
    into.waits.merge(&row.waits);
    add(&mut into.locked, row.locked);
    add(&mut into.leaked, row.leaked);
    add(&mut into.partial, row.partial);
    let room = IDS.saturating_sub(into.ids.len());
    into.ids.extend(row.ids.into_iter().take(room));
    for state in std::iter::once(row.state).chain(row.other_states) {
        if into.state != state && !into.other_states.contains(&state) {
            into.other_states.push(state.into_owned().into());
        }
    }
    for (key, value, count) in row.labels {
        match into.labels.iter_mut().find(|(k, v, _)| *k == key && *v == value) {
            Some((.., known)) => add(known, count),
            None => into.labels.push((key, value, count)),
        }
    }
    into.labels.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| (&a.0, &a.1).cmp(&(&b.0, &b.1))));
    if into.category != row.category {
        into.category = Category::Unknown;
        into.rule = None;
    }
    into.stuck = match (into.stuck.take(), row.stuck) {
        (Some(mut ours), Some(theirs)) => {
            let count = ours.count.saturating_add(theirs.count);
            if theirs.evidence < ours.evidence {
                ours = theirs;
            }
            ours.count = count;
            Some(ours)
        }
        (ours, theirs) => ours.or(theirs),
    };
}
