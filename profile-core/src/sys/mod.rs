//! The operating system, as far as all of the crate asks for it.

pub(crate) mod clock;
#[cfg_attr(not(intercepted), allow(dead_code))]
pub(crate) mod own_work;
#[allow(unsafe_code)]
pub(crate) mod raw;
