//! A future and what stands beside it, taken apart while it is pinned.

use std::pin::Pin;

/// A future with something beside it, which is pinned with its holder while the other isn't. The
/// future is dropped first.
#[derive(Debug)]
pub struct Pinned<F, B> {
    inner: F,
    beside: B,
}

impl<F, B> Pinned<F, B> {
    pub(crate) fn new(inner: F, beside: B) -> Pinned<F, B> {
        Pinned { inner, beside }
    }

    /// The two, the first still pinned.
    #[inline]
    pub(crate) fn project(self: Pin<&mut Self>) -> (Pin<&mut F>, &mut B) {
        // SAFETY: `inner` is not moved out of the reference here or anywhere else: the fields are
        // private, no function gives `&mut F`, there is no `Drop`, and the type is `Unpin` only where
        // both fields are.
        unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.inner), &mut this.beside)
        }
    }
}
