//! A place in the source that can be changed while others look at it.

use std::panic::Location;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A [`Location`], or none.
#[derive(Debug, Default)]
pub(crate) struct AtomicLocation(AtomicPtr<Location<'static>>);

impl AtomicLocation {
    #[inline]
    pub(crate) fn set(&self, place: Option<&'static Location<'static>>) {
        let pointer =
            place.map_or(std::ptr::null_mut(), |place| std::ptr::from_ref(place).cast_mut());
        self.0.store(pointer, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<&'static Location<'static>> {
        // SAFETY: null, or a reference for the rest of the process's life to a constant: `set` stores
        // nothing else, and nobody writes through it.
        unsafe { self.0.load(Ordering::Relaxed).as_ref() }
    }
}
