//! Our own frames at the leaf of a thread that waits through a function of ours.

#[cfg(intercepted)]
use crate::waits::raw::syscall;

/// Functions that count frames of ours, where this build has any.
static COUNTS: &[fn(&[u64]) -> usize] = &[
    #[cfg(intercepted)]
    syscall::own_frames,
];

/// Takes our own frames from the leaf of a stack.
pub(crate) fn trim_own_frames(mut stack: Vec<u64>) -> Vec<u64> {
    for count in COUNTS {
        let own = count(&stack);
        stack.drain(..own);
    }
    stack
}
