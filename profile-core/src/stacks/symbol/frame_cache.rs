//! The names of addresses that were asked for before: a process's profiles hold the same few
//! thousand addresses over and over, and reading debug information anew for each costs tens of
//! milliseconds.

use std::collections::{HashMap, HashSet};
use std::mem::size_of;
use std::sync::Arc;

use crate::stacks::objects::LoadedObject;
use crate::stacks::symbol::SourceFrame;

/// Frames by address, for one set of loaded objects.
#[derive(Default)]
pub(crate) struct FrameCache {
    objects: Vec<LoadedObject>,
    /// Counts the sets of objects.
    generation: u64,
    frames: HashMap<u64, Arc<[SourceFrame]>>,
    /// Every text of the frames, once.
    texts: HashSet<Arc<str>>,
    /// Bytes that the frames and texts take.
    size: usize,
}

/// Bytes that are kept; beyond them nothing is added until other objects are loaded.
pub(crate) const ROOM: usize = 2 << 20;

/// Bytes that an entry of a map takes beside its key and value, roughly: unused places and control
/// bytes.
const ENTRY: usize = 16;

impl FrameCache {
    /// Forgets everything if what is loaded has changed. Returns the number of this set of objects.
    pub(crate) fn for_objects(&mut self, objects: &[LoadedObject]) -> u64 {
        if self.objects != objects {
            let generation = self.generation + 1;
            *self = FrameCache { objects: objects.to_vec(), generation, ..FrameCache::default() };
        }
        self.generation
    }

    /// Returns the frames of an address of a set of objects.
    pub(crate) fn get(&self, generation: u64, address: u64) -> Option<Arc<[SourceFrame]>> {
        (generation == self.generation).then(|| self.frames.get(&address).cloned())?
    }

    /// Remembers frames as far as there is room, and returns them with their texts shared.
    pub(crate) fn add(
        &mut self,
        generation: u64,
        address: u64,
        mut frames: Vec<SourceFrame>,
    ) -> Arc<[SourceFrame]> {
        let size = ENTRY
            + size_of::<(u64, Arc<[SourceFrame]>)>()
            + frames.len() * size_of::<SourceFrame>();
        if generation != self.generation || self.size + size > ROOM {
            return frames.into();
        }
        self.size += size;
        for frame in &mut frames {
            for text in [&mut frame.name, &mut frame.system_name, &mut frame.file] {
                self.share(text);
            }
        }
        let frames: Arc<[SourceFrame]> = frames.into();
        self.frames.insert(address, Arc::clone(&frames));
        frames
    }

    fn share(&mut self, text: &mut Arc<str>) {
        if let Some(known) = self.texts.get(text) {
            *text = Arc::clone(known);
        } else {
            self.size += ENTRY + size_of::<Arc<str>>() + 2 * size_of::<usize>() + text.len();
            self.texts.insert(Arc::clone(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str) -> SourceFrame {
        SourceFrame { name: name.into(), file: "src/lib.rs".into(), ..SourceFrame::default() }
    }

    #[test]
    fn texts_are_kept_once_and_found_again() {
        let mut cache = FrameCache::default();
        cache.add(0, 1, vec![frame("a"), frame("b")]);
        cache.add(0, 2, vec![frame("a")]);
        let (first, second) = (cache.get(0, 1).unwrap(), cache.get(0, 2).unwrap());
        assert_eq!(*first, [frame("a"), frame("b")]);
        assert!(Arc::ptr_eq(&first[0].name, &second[0].name));
        assert!(Arc::ptr_eq(&first[0].file, &first[1].file));
        assert_eq!(cache.get(0, 3), None);
        assert_eq!(cache.get(1, 1), None);
    }

    #[test]
    fn the_room_is_limited() {
        let mut cache = FrameCache::default();
        let long = "x".repeat(1000);
        let mut kept = 0;
        for address in 0..10_000 {
            let name = format!("{long}{address}");
            assert_eq!(cache.add(0, address, vec![frame(&name)])[0].name.as_ref(), name);
            kept += usize::from(cache.get(0, address).is_some());
        }
        assert!((1000..2500).contains(&kept), "{kept}");
        assert!(cache.size < ROOM + 2000, "{}", cache.size);
    }

    #[test]
    fn other_objects_make_a_new_beginning() {
        let mut cache = FrameCache::default();
        let objects = crate::stacks::objects::loaded();
        let first = cache.for_objects(&objects);
        cache.add(first, 1, vec![frame("a")]);
        assert_eq!(cache.for_objects(&objects), first);
        assert!(cache.get(first, 1).is_some());
        let second = cache.for_objects(&objects[1..]);
        assert_ne!(first, second);
        assert!(cache.get(second, 1).is_none());
        // A symbolizer that began before adds nothing.
        cache.add(first, 1, vec![frame("a")]);
        assert!(cache.get(second, 1).is_none());
    }
}
