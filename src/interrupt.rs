//! Ctrl-C: ends what is under way, so that what there is can be kept.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::output;

static HAPPENED: AtomicBool = AtomicBool::new(false);

/// Time that the end may take. Looking up a name and connecting can't be called off; they are left
/// behind after this.
const GRACE: Duration = Duration::from_millis(1500);

/// Lets an interrupt run `cancel` from now on, which makes the rest of the command come to its end.
///
/// # Errors
///
/// The signals can't be caught.
pub(crate) fn call_on_interrupt(cancel: impl Fn() + Send + 'static) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || {
        HAPPENED.store(true, Ordering::SeqCst);
        cancel();
        thread::sleep(GRACE);
        output::error("interrupted");
        process::exit(output::INTERRUPTED.into());
    })
}

/// Returns whether there was an interrupt.
pub(crate) fn has_happened() -> bool {
    HAPPENED.load(Ordering::SeqCst)
}
