//! Kinds of task: a name, a place in the source and a category, each combination kept once, so that
//! a task, a poll and an event in a trace need no more than its number.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::events::KindId;
use crate::sys::own_work::OwnWork;

/// Says whether a task is part of the program or belongs to one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Category {
    /// Nobody said.
    #[default]
    Unknown,
    /// Lives as long as the program: to wait for long is what it is for.
    Background,
    /// Serves one request: to wait for long is a finding.
    PerRequest,
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Category::Unknown => "unknown",
            Category::Background => "background",
            Category::PerRequest => "per-request",
        })
    }
}

/// The facts that tasks have in common which were started at one place under one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskKind {
    name: Arc<str>,
    file: &'static str,
    line: u32,
    category: Category,
}

impl TaskKind {
    /// Makes a kind. Of the name 128 bytes are kept, without control characters.
    pub fn new(name: &str, file: &'static str, line: u32, category: Category) -> TaskKind {
        TaskKind { name: bounded(name).into(), file, line, category }
    }

    /// Returns the task's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the source file in which it was started; empty where unknown.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// Returns the line there; 0 where unknown.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Returns whether it belongs to the program or to a request.
    pub fn category(&self) -> Category {
        self.category
    }
}

/// So many kinds are told apart; names that come after them are one.
const MOST: usize = 8192;
const NAME: usize = 128;

#[derive(Default)]
struct KindTable {
    ids: HashMap<Arc<TaskKind>, u32>,
    all: Vec<Arc<TaskKind>>,
}

fn kinds() -> &'static RwLock<KindTable> {
    static KINDS: OnceLock<RwLock<KindTable>> = OnceLock::new();
    KINDS.get_or_init(|| {
        let mut kinds = KindTable::default();
        kinds.add(TaskKind::new("(too many names)", "", 0, Category::Unknown));
        RwLock::new(kinds)
    })
}

impl KindTable {
    fn add(&mut self, kind: TaskKind) -> u32 {
        let (kind, id) = (Arc::new(kind), self.all.len() as u32);
        self.ids.insert(Arc::clone(&kind), id);
        self.all.push(kind);
        id
    }
}

/// Returns the number of a kind, a new one where it is new.
pub(crate) fn intern(kind: TaskKind) -> KindId {
    let known = kinds().read().unwrap_or_else(PoisonError::into_inner);
    if let Some(&id) = known.ids.get(&kind) {
        return KindId(id);
    }
    if known.all.len() >= MOST {
        return KindId(0);
    }
    drop(known);
    let _own = OwnWork::begin();
    let mut kinds = kinds().write().unwrap_or_else(PoisonError::into_inner);
    if let Some(&id) = kinds.ids.get(&kind) {
        return KindId(id);
    }
    KindId(if kinds.all.len() < MOST { kinds.add(kind) } else { 0 })
}

/// Returns the kind of a number.
pub(crate) fn find(id: KindId) -> Arc<TaskKind> {
    let kinds = kinds().read().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(kinds.all.get(id.0 as usize).unwrap_or(&kinds.all[0]))
}

/// Name, place and category as addresses: what names a kind without looking at texts.
type KindKey = (usize, usize, usize, Category);

/// Entries of a thread's memory of kinds.
const REMEMBERED: usize = 64;

thread_local! {
    /// Kinds that this thread has used. Without it every task would take the lock above.
    static RECENT: [Cell<(KindKey, u32)>; REMEMBERED] =
        const { [const { Cell::new(((0, 0, 0, Category::Unknown), 0)) }; REMEMBERED] };
}

/// Returns the number of the kind of a task that is started at `place`.
#[inline]
pub(super) fn intern_at(
    name: &'static str,
    place: &'static Location<'static>,
    category: Category,
) -> KindId {
    let at = std::ptr::from_ref(place) as usize;
    let key = (name.as_ptr() as usize, name.len(), at, category);
    let slot = (key.0 ^ at >> 3 ^ key.1) % REMEMBERED;
    RECENT.with(|recent| {
        let (known, id) = recent[slot].get();
        if known == key {
            return KindId(id);
        }
        let id = look_up(name, place, category);
        recent[slot].set((key, id.0));
        id
    })
}

/// Returns the same for a name that was made up as the program runs, so that it may count:
/// `connection-17`.
pub(super) fn intern_made_up(
    name: &str,
    place: &'static Location<'static>,
    category: Category,
) -> KindId {
    look_up(without_number(name), place, category)
}

#[cold]
#[inline(never)]
fn look_up(name: &str, place: &'static Location<'static>, category: Category) -> KindId {
    intern(TaskKind::new(name, place.file(), place.line(), category))
}

/// Returns a name without a number at its end, and without what sets the number apart.
fn without_number(name: &str) -> &str {
    let rest = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let bare = rest.trim_end_matches(['-', '_', '#', ':', ' ']);
    if bare.is_empty() || rest.len() == name.len() { name } else { bare }
}

fn bounded(name: &str) -> String {
    let mut kept = String::with_capacity(name.len().min(NAME));
    for c in name.chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > NAME {
            break;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_count_are_one() {
        for (name, kept) in [
            ("connection-17", "connection"),
            ("worker #3", "worker"),
            ("http2", "http"),
            ("17", "17"),
            ("plain", "plain"),
            ("plain-", "plain-"),
        ] {
            assert_eq!(without_number(name), kept);
        }
    }

    #[test]
    fn a_kind_is_kept_once() {
        let place = Location::caller();
        let named = |name: &'static str| intern_at(name, place, Category::Background);
        assert_eq!(named("once"), named("once"));
        assert_ne!(named("once"), named("twice"));
        let made_up = intern_made_up("once-5", place, Category::Background);
        assert_eq!(made_up, named("once"));
        assert_ne!(made_up, intern_at("once", place, Category::PerRequest));
        let kind = find(made_up);
        assert_eq!((kind.name(), kind.file(), kind.line()), ("once", file!(), place.line()));
    }

    #[test]
    fn names_are_bounded_and_clean() {
        let kind = TaskKind::new(&format!("a\n{}", "ä".repeat(1000)), "", 0, Category::Unknown);
        assert!(kind.name().len() <= NAME && kind.name().starts_with("aä"), "{}", kind.name());
    }
}
