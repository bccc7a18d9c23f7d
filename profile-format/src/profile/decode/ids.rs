//! Ids of the wire format, which are any 64-bit numbers, and the indices they stand for.
//!
//! Messages may refer to ids that come later, so references are kept as they are, in 32 bits, and
//! become indices at the end. Nearly every producer numbers from 1 in order; then an index is the
//! id less one, and nothing is looked up.

use std::collections::HashMap;

/// References from here on are indices into [`IdRefs::large`].
const LARGE: u32 = 1 << 31;

/// The ids given to things, in the order of the things.
#[derive(Default)]
pub(super) struct IdList {
    count: u32,
    /// Every id, from the first one out of order.
    listed: Option<Vec<u64>>,
}

impl IdList {
    /// Adds the id of the next thing.
    pub(super) fn push(&mut self, id: u64) {
        if self.listed.is_none() && id != u64::from(self.count) + 1 {
            self.listed = Some((1..=u64::from(self.count)).collect());
        }
        if let Some(listed) = &mut self.listed {
            listed.push(id);
        }
        self.count += 1;
    }

    /// Returns the way from id to index, or the index of the first thing whose id was given before.
    pub(super) fn index(&self) -> Result<IdIndex, u32> {
        let Some(ids) = &self.listed else { return Ok(IdIndex::Sequential(self.count)) };
        let max = ids.iter().copied().max().unwrap_or(0);
        if max <= 4 * u64::from(self.count) + 1024 {
            let mut table = vec![u32::MAX; max as usize + 1];
            for (index, &id) in (0..).zip(ids) {
                let entry = &mut table[id as usize];
                if *entry != u32::MAX {
                    return Err(index);
                }
                *entry = index;
            }
            return Ok(IdIndex::Table(table));
        }
        let mut map = HashMap::with_capacity(ids.len());
        for (index, &id) in (0..).zip(ids) {
            if map.insert(id, index).is_some() {
                return Err(index);
            }
        }
        Ok(IdIndex::Map(map))
    }

    /// Returns the id of the thing at an index.
    pub(super) fn id(&self, index: u32) -> u64 {
        match &self.listed {
            Some(ids) => ids[index as usize],
            None => u64::from(index) + 1,
        }
    }
}

/// The way from id to index.
#[derive(Clone, Debug)]
pub(in crate::profile) enum IdIndex {
    Sequential(u32),
    Table(Vec<u32>),
    Map(HashMap<u64, u32>),
}

impl IdIndex {
    /// Returns the index of what has this id.
    #[inline]
    pub(in crate::profile) fn get(&self, id: u64) -> Option<u32> {
        match self {
            IdIndex::Sequential(count) => {
                (1..=u64::from(*count)).contains(&id).then(|| (id - 1) as u32)
            }
            IdIndex::Table(table) => {
                let index = *table.get(usize::try_from(id).ok()?)?;
                (index != u32::MAX).then_some(index)
            }
            IdIndex::Map(map) => map.get(&id).copied(),
        }
    }
}

/// References to ids, in 32 bits each.
#[derive(Default)]
pub(super) struct IdRefs {
    large: Vec<u64>,
    seen: HashMap<u64, u32>,
}

impl IdRefs {
    /// Makes a reference to an id.
    #[inline]
    pub(super) fn shorten(&mut self, id: u64) -> u32 {
        if id < u64::from(LARGE) { id as u32 } else { self.shorten_large(id) }
    }

    #[cold]
    fn shorten_large(&mut self, id: u64) -> u32 {
        *self.seen.entry(id).or_insert_with(|| {
            self.large.push(id);
            LARGE | (self.large.len() - 1) as u32
        })
    }

    /// Returns the id of a reference.
    pub(super) fn id(&self, reference: u32) -> u64 {
        match reference.checked_sub(LARGE) {
            Some(index) => self.large[index as usize],
            None => u64::from(reference),
        }
    }

    /// Returns the number of ids that did not fit.
    pub(super) fn large(&self) -> usize {
        self.large.len()
    }

    /// Returns the index that a reference means.
    pub(super) fn resolve(&self, reference: u32, index: &IdIndex) -> Option<u32> {
        index.get(self.id(reference))
    }

    /// Turns references into indices, or returns the position of the first that leads nowhere.
    pub(super) fn resolve_all(&self, refs: &mut [u32], index: &IdIndex) -> Result<(), usize> {
        if let IdIndex::Sequential(count) = *index {
            // One sweep without a branch: id 0 wraps to the largest number.
            let max = refs.iter().map(|id| id.wrapping_sub(1)).max();
            if max.is_none_or(|max| max < count) {
                refs.iter_mut().for_each(|id| *id -= 1);
                return Ok(());
            }
        }
        for (position, reference) in refs.iter_mut().enumerate() {
            *reference = self.resolve(*reference, index).ok_or(position)?;
        }
        Ok(())
    }
}
