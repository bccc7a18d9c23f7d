//! Stands in for the task dump where it is not built in.

use std::ops::ControlFlow;

use tokio::runtime::Handle;

use crate::Unavailable;
use crate::task::detail::Awaits;

pub(super) fn offers(_: &Handle) -> Option<Result<(), Unavailable>> {
    None
}

pub(super) fn awaits(
    _: &Handle,
    _: &mut dyn FnMut(Awaits) -> ControlFlow<()>,
) -> Result<(), Unavailable> {
    Ok(())
}
