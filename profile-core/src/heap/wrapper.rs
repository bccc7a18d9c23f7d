//! The global allocator around another.

/// A global allocator that samples what it is asked for, so that `heap` and `allocs` can be had.
///
/// Any byte has the same chance to make the block that it is in a sample: one of 524288 unless
/// [`set_rate`](crate::alloc::set_rate) says otherwise. Sampled blocks are aligned to 1024 bytes,
/// so that a free tells the others by their address; they and their stacks are kept in memory of
/// the recorder's own. Sampling is on from the first allocation.
///
/// It sees what Rust code allocates through it, and neither C code nor memory maps. Where stacks
/// can't be read (not Linux on x86_64 or aarch64) it hands everything on and records nothing.
///
/// A sampled block that is resized is allocated anew and copied, because its alignment changes: a
/// block of several megabytes is nearly always sampled, and never grows in place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampled<A>(pub(crate) A);

impl<A> Sampled<A> {
    /// Makes the allocator with sampling around it.
    pub const fn new(allocator: A) -> Sampled<A> {
        Sampled(allocator)
    }
}
