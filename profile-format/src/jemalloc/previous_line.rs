//! The stack before. The stacks of a thread end alike, and an end that was just read is not read
//! again.

/// A line of addresses and what stands for them.
pub(super) struct AddressLine<'a, P> {
    /// Empty where something on it is no address.
    pub(super) text: &'a [u8],
    pub(super) places: Vec<P>,
    /// Offsets at which the addresses begin, in bytes from the end of the line.
    pub(super) begins: Vec<usize>,
}

/// The last addresses of a line that are also the last of the next.
pub(super) struct SharedEnd {
    /// Number of addresses that come before them.
    pub(super) skip: usize,
    /// Their bytes.
    pub(super) len: usize,
}

impl<'a, P: Copy> AddressLine<'a, P> {
    pub(super) fn new() -> AddressLine<'a, P> {
        AddressLine { text: &[], places: Vec::new(), begins: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.text = &[];
        self.places.clear();
        self.begins.clear();
    }

    /// Returns the addresses that end `next` as they end this line.
    pub(super) fn shared_end(&self, next: &[u8]) -> SharedEnd {
        let common = common_end(self.text, next);
        // An address is the same one where the blank before it is the same too.
        let skip = self.begins.partition_point(|&begin| begin >= common);
        SharedEnd { skip, len: self.begins.get(skip).copied().unwrap_or(0) }
    }

    /// Adds the last addresses of another line.
    pub(super) fn end_like(&mut self, other: &AddressLine<'_, P>, shared: &SharedEnd) {
        self.places.extend_from_slice(&other.places[shared.skip..]);
        self.begins.extend_from_slice(&other.begins[shared.skip..]);
    }
}

/// Returns the number of bytes at the end of both texts that are the same.
fn common_end(one: &[u8], other: &[u8]) -> usize {
    let words = one.rchunks_exact(16).zip(other.rchunks_exact(16));
    let same = 16 * words.take_while(|(one, other)| one == other).count();
    let rest = one[..one.len() - same].iter().rev().zip(other[..other.len() - same].iter().rev());
    same + rest.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_common_end_is_found(one in "[ab]{0,4}[a]{0,40}", other in "[ab]{0,4}[a]{0,40}") {
            let same = (0..=one.len().min(other.len()))
                .rev()
                .find(|&len| one.ends_with(&other[other.len() - len..]));
            prop_assert_eq!(Some(common_end(one.as_bytes(), other.as_bytes())), same);
        }
    }
}
