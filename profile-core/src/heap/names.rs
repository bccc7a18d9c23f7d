//! Names of addresses, kept between calls.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Frame;
use super::owner::{ALLOCATOR_DEPTH, Owner};
use crate::symbol::Symbolizer;
use crate::sys::unwind;

/// Every frame that was asked for, and those of each address.
#[derive(Default)]
pub(super) struct Names {
    frames: Vec<(Frame, Owner)>,
    ids: HashMap<Frame, u32>,
    texts: HashSet<Arc<str>>,
    by_address: HashMap<u64, Box<[u32]>>,
    /// What is loaded as long as the addresses mean the same.
    generation: Option<unwind::Generation>,
    /// Memory that all this takes, roughly.
    bytes: usize,
}

/// Beyond this everything is forgotten before the next call.
const LIMIT: usize = 16 << 20;

static NAMES: Mutex<Option<Names>> = Mutex::new(None);

/// The names, for one reader at a time.
pub(super) struct Locked(MutexGuard<'static, Option<Names>>);

impl Names {
    pub(super) fn lock() -> Locked {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = Some(unwind::generation());
        let usable = |names: &Names| names.generation == generation && names.bytes <= LIMIT;
        if !names.as_ref().is_some_and(usable) {
            *names = Some(Names { generation, ..Names::default() });
        }
        Locked(names)
    }

    fn learn(&mut self, addresses: impl Iterator<Item = u64>) {
        // Reading debug information is slow, and takes memory while it lasts.
        let mut symbolizer = None;
        for address in addresses {
            if self.by_address.contains_key(&address) {
                continue;
            }
            let symbolizer = symbolizer.get_or_insert_with(Symbolizer::new);
            let ids: Box<[u32]> = match symbolizer.find(address) {
                Some((object, _)) => {
                    let frames = symbolizer.frames(object, address);
                    frames.iter().map(|f| self.id(&f.name, &f.file, f.line)).collect()
                }
                None => Box::new([self.id(&format!("[{address:#x}]"), "", 0)]),
            };
            self.bytes += 48 + 4 * ids.len();
            self.by_address.insert(address, ids);
        }
    }

    fn id(&mut self, function: &str, file: &str, line: u32) -> u32 {
        let frame = Frame { function: self.text(function), file: self.text(file), line };
        if let Some(&id) = self.ids.get(&frame) {
            return id;
        }
        let id = self.frames.len() as u32;
        let owner = Owner::of(function, file);
        self.frames.push((frame.clone(), owner));
        self.ids.insert(frame, id);
        self.bytes += 2 * size_of::<Frame>() + 32;
        id
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        self.texts.insert(Arc::clone(&new));
        self.bytes += text.len() + 48;
        new
    }

    fn stack(&self, addresses: impl Iterator<Item = u64>) -> Vec<u32> {
        let mut stack = Vec::with_capacity(64);
        // The frames that may be the allocator's.
        let mut low = 0;
        for (depth, address) in addresses.enumerate() {
            if let Some(ids) = self.by_address.get(&address) {
                stack.extend_from_slice(ids);
            }
            if depth < ALLOCATOR_DEPTH {
                low = stack.len();
            }
        }
        let owner = |id: &u32| self.frames[*id as usize].1;
        let entry = stack[..low].iter().rposition(|id| owner(id) == Owner::Allocator);
        let above = entry.map_or(0, |at| at + 1);
        if let Some(user) = stack[above..].iter().position(|id| owner(id) == Owner::User) {
            stack.drain(..above + user);
        }
        stack
    }
}

impl Locked {
    /// Looks up what is new among these addresses.
    pub(super) fn learn(&mut self, addresses: impl Iterator<Item = u64>) {
        self.0.get_or_insert_default().learn(addresses);
    }

    /// The frames of a stack of known addresses, by number, without the allocator's.
    pub(super) fn stack(&self, addresses: impl Iterator<Item = u64>) -> Vec<u32> {
        self.0.as_ref().map_or_else(Vec::new, |names| names.stack(addresses))
    }

    /// The frames of these numbers.
    pub(super) fn frames(&self, ids: &[u32]) -> Vec<Frame> {
        let Some(names) = self.0.as_ref() else { return Vec::new() };
        ids.iter().map(|id| names.frames[*id as usize].0.clone()).collect()
    }
}
