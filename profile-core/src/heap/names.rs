//! Names of addresses and of whole stacks, kept between calls.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::heap::Frame;
use crate::heap::allocator_frames::{ALLOCATOR_DEPTH, AllocationFrame, find_caller};
use crate::heap::sites::SiteView;
use crate::stacks::gap::name_outside;
use crate::stacks::own_frames::without_thread_root;
use crate::stacks::symbol::AddressSymbolizer;
use crate::stacks::unwind;

/// Every frame that was asked for, those of each address, and those of each site.
#[derive(Default)]
pub(super) struct SiteNames {
    frames: Vec<KnownFrame>,
    ids: HashMap<Frame, u32>,
    texts: HashSet<Arc<str>>,
    by_address: HashMap<u64, Box<[u32]>>,
    /// The set of loaded objects for which the addresses mean the same.
    generation: Option<unwind::TableGeneration>,
    /// Memory that all this takes, roughly.
    bytes: usize,
    stacks: NamedStacks,
    /// Whether names are whole, however long.
    in_full: bool,
}

struct KnownFrame {
    frame: Frame,
    part: AllocationFrame,
    /// Hash of the frame's texts, and so the same when they are learnt again.
    hash: u64,
}

/// Stacks of names. Sites whose addresses differ may have the same one.
#[derive(Default)]
struct NamedStacks {
    by_site: HashMap<usize, u32>,
    by_frames: HashMap<Arc<[u32]>, u32>,
    all: Vec<NamedStack>,
    /// Memory that all this takes, roughly.
    bytes: usize,
}

/// A stack of names, the allocator's left out.
struct NamedStack {
    /// Identity that is the same for the same names, as long as the process lives.
    id: u64,
    numbers: Arc<[u32]>,
    /// Once somebody wants them.
    frames: Option<Arc<[Frame]>>,
}

/// Beyond this everything is forgotten before the next call.
const LIMIT: usize = 16 << 20;
/// Beyond this the stacks are.
const STACKS_LIMIT: usize = 8 << 20;

static NAMES: Mutex<Option<SiteNames>> = Mutex::new(None);

/// The names, for one reader at a time.
pub(super) struct LockedNames(MutexGuard<'static, Option<SiteNames>>);

impl SiteNames {
    pub(super) fn lock() -> LockedNames {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = Some(unwind::generation());
        let usable = |names: &SiteNames| names.generation == generation && names.bytes <= LIMIT;
        if !names.as_ref().is_some_and(usable) {
            *names = Some(SiteNames { generation, ..SiteNames::default() });
        }
        if let Some(names) = names.as_mut().filter(|names| names.stacks.bytes > STACKS_LIMIT) {
            names.stacks = NamedStacks::default();
        }
        LockedNames(names)
    }

    /// Names the stacks of the sites that are new.
    fn learn_sites(&mut self, sites: impl Iterator<Item = SiteView>) {
        let new: Vec<SiteView> =
            sites.filter(|site| !self.stacks.by_site.contains_key(&site.key())).collect();
        self.learn(new.iter().flat_map(SiteView::stack));
        for site in new {
            let stack = self.stack(without_thread_root(site.stack().collect()).into_iter());
            let number = self.stack_number(&stack);
            self.stacks.by_site.insert(site.key(), number);
            self.stacks.bytes += 24;
        }
    }

    fn stack_number(&mut self, stack: &[u32]) -> u32 {
        if let Some(&number) = self.stacks.by_frames.get(stack) {
            return number;
        }
        let hashes = stack.iter().map(|number| self.frames[*number as usize].hash);
        let hashes: Vec<u64> = hashes.collect();
        let id = BuildHasherDefault::<DefaultHasher>::default().hash_one(hashes);
        let numbers: Arc<[u32]> = stack.into();
        let number = self.stacks.all.len() as u32;
        self.stacks.by_frames.insert(Arc::clone(&numbers), number);
        self.stacks.all.push(NamedStack { id, numbers, frames: None });
        self.stacks.bytes += 96 + 4 * stack.len();
        number
    }

    fn learn(&mut self, addresses: impl Iterator<Item = u64>) {
        // Reading debug information is slow, and takes memory while it lasts.
        let mut symbolizer = None;
        for address in addresses {
            if self.by_address.contains_key(&address) {
                continue;
            }
            let symbolizer = symbolizer.get_or_insert_with(AddressSymbolizer::new);
            let ids: Box<[u32]> = match symbolizer.find(address) {
                Some((object, _)) => {
                    let frames = if self.in_full {
                        symbolizer.frames_in_full(object, address).into()
                    } else {
                        symbolizer.frames(object, address)
                    };
                    frames.iter().map(|f| self.id(address, &f.name, &f.file, f.line)).collect()
                }
                None => {
                    Box::new([self.id(address, &name_outside(address).into(), &Arc::default(), 0)])
                }
            };
            self.bytes += 48 + 4 * ids.len();
            self.by_address.insert(address, ids);
        }
    }

    fn id(&mut self, address: u64, function: &Arc<str>, file: &Arc<str>, line: u32) -> u32 {
        let frame = Frame { function: self.text(function), file: self.text(file), line };
        if let Some(&id) = self.ids.get(&frame) {
            return id;
        }
        let id = self.frames.len() as u32;
        let part = AllocationFrame::of(address, function, file);
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&frame);
        self.frames.push(KnownFrame { frame: frame.clone(), part, hash });
        self.ids.insert(frame, id);
        self.bytes += 2 * size_of::<Frame>() + 40;
        id
    }

    fn text(&mut self, text: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        self.texts.insert(Arc::clone(text));
        self.bytes += text.len() + 48;
        Arc::clone(text)
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
        let part = |id: &u32| self.frames[*id as usize].part;
        if let Some(caller) = find_caller(stack.iter().map(part), low) {
            stack.drain(..caller);
            stack.retain(|id| {
                part(id) == AllocationFrame::Caller || part(id) == AllocationFrame::Way
            });
        }
        stack
    }
}

/// Returns the stacks of sites with whole names, which are not kept.
pub(super) fn stacks_in_full(
    sites: impl Iterator<Item = (u64, SiteView)> + Clone,
) -> HashMap<u64, Arc<[Frame]>> {
    let mut names = SiteNames { in_full: true, ..SiteNames::default() };
    names.learn(sites.clone().flat_map(|(_, site)| site.stack()));
    let frame = |number: &u32| names.frames[*number as usize].frame.clone();
    sites.map(|(id, site)| (id, names.stack(site.stack()).iter().map(frame).collect())).collect()
}

impl LockedNames {
    /// Looks up what is new among these sites.
    pub(super) fn learn(&mut self, sites: impl Iterator<Item = SiteView>) {
        self.0.get_or_insert_default().learn_sites(sites);
    }

    /// Returns the number of a known site's stack. It holds as long as this lock.
    pub(super) fn number(&self, site: SiteView) -> Option<u32> {
        self.0.as_ref()?.stacks.by_site.get(&site.key()).copied()
    }

    /// Returns the identity of a known site's stack.
    pub(super) fn id(&self, site: SiteView) -> Option<u64> {
        let names = self.0.as_ref()?;
        Some(names.stacks.all[self.number(site)? as usize].id)
    }

    /// Returns the identity and the frames of a stack.
    pub(super) fn stack(&mut self, number: u32) -> (u64, Arc<[Frame]>) {
        let names = self.0.get_or_insert_default();
        let stack = &mut names.stacks.all[number as usize];
        let frames = stack.frames.get_or_insert_with(|| {
            names.stacks.bytes += 16 + size_of::<Frame>() * stack.numbers.len();
            let frame = |number: &u32| names.frames[*number as usize].frame.clone();
            stack.numbers.iter().map(frame).collect()
        });
        (stack.id, Arc::clone(frames))
    }
}
