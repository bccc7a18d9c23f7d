//! What the controller is told, and how its answer is waited for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cpu::sampler::{SampledStacks, StartError};

/// Time for which an answer is waited for, in slices: a process that was stopped all the while, by
/// a debugger or `SIGSTOP`, has used up one of them.
const SLICE: Duration = Duration::from_millis(100);
const SLICES: u32 = 100;

/// The orders for the controller, and their state.
#[derive(Default)]
pub(crate) struct ControllerCommands {
    state: Mutex<CommandState>,
    /// Told when the state changes.
    changed: Condvar,
    /// Told when the controller has taken notice.
    noticed: Condvar,
}

/// The subscribers, and the orders that are given and done.
#[derive(Default)]
pub(crate) struct CommandState {
    pub(crate) subscribers: Vec<Arc<Mutex<SampledStacks>>>,
    /// Windows that are to be closed.
    pub(crate) leaving: Vec<Arc<Mutex<SampledStacks>>>,
    /// Counts what was asked, and how much of it is done.
    pub(crate) asked: u64,
    pub(crate) done: u64,
    pub(crate) stop: bool,
    /// The reason why nothing can be sampled, where that was found at the start.
    pub(crate) failed: Option<StartError>,
}

/// The controller did not answer in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoAnswer;

impl ControllerCommands {
    pub(crate) fn lock(&self) -> MutexGuard<'_, CommandState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and waits until the controller has acted on it, for ten seconds at most (`SLICE` times `SLICES`).
    pub(crate) fn ask(
        &self,
        change: impl FnOnce(&mut CommandState),
    ) -> Result<MutexGuard<'_, CommandState>, NoAnswer> {
        let mut state = self.lock();
        change(&mut state);
        state.asked += 1;
        let ticket = state.asked;
        self.changed.notify_all();
        self.wait_until(state, SLICES, |state| state.done >= ticket)
    }

    /// Asks the controller to end, and waits for that as long.
    pub(crate) fn stop(&self) -> Result<(), NoAnswer> {
        let mut state = self.lock();
        state.stop = true;
        self.changed.notify_all();
        self.wait_until(state, SLICES, |state| state.done == u64::MAX).map(drop)
    }

    fn wait_until<'a>(
        &'a self,
        mut state: MutexGuard<'a, CommandState>,
        slices: u32,
        is_done: impl Fn(&CommandState) -> bool,
    ) -> Result<MutexGuard<'a, CommandState>, NoAnswer> {
        for _ in 0..slices {
            let waited = self.noticed.wait_timeout_while(state, SLICE, |state| !is_done(state));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if is_done(&state) {
                return Ok(state);
            }
        }
        Err(NoAnswer)
    }

    /// Waits until something is asked, or until `time` has passed.
    pub(crate) fn wait_for_orders(&self, time: Duration) -> MutexGuard<'_, CommandState> {
        let idle = |state: &mut CommandState| state.asked == state.done && !state.stop;
        let waited = self.changed.wait_timeout_while(self.lock(), time, idle);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Tells those who wait that everything up to a ticket is done.
    pub(crate) fn answer(&self, ticket: u64) {
        self.lock().done = ticket;
        self.noticed.notify_all();
    }
}

/// Answers everybody who waits, now and later, when the controller ends: even by a panic.
pub(crate) struct AnswerOnDrop(pub(crate) Arc<ControllerCommands>);

impl Drop for AnswerOnDrop {
    fn drop(&mut self) {
        self.0.answer(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_does_not_come_is_not_waited_for_without_end() {
        let commands = ControllerCommands::default();
        assert!(commands.wait_until(commands.lock(), 2, |_| false).is_err());
        commands.answer(u64::MAX);
        assert!(commands.ask(|_| {}).is_ok() && commands.stop().is_ok());
    }
}
