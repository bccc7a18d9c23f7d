//! The controller as the rest sees it: a thread of its own, which is asked to open and close windows.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::cpu::sampler::StartError;
use crate::cpu::sampler::commands::{ControllerCommands, NoAnswer};
use crate::cpu::sampler::controller_thread::ControllerThread;
use crate::cpu::sampler::raw::signals::{self, SigprofBlocked};
use crate::cpu::sampler::stacks::SampledStacks;

/// A running engine.
pub(crate) struct SamplerController {
    commands: Arc<ControllerCommands>,
    thread: JoinHandle<()>,
}

/// A window that is closed.
pub(crate) struct ClosedWindow {
    /// True where it was the last one.
    pub(crate) is_last: bool,
    /// True where the controller has said in time that it has handed over everything.
    pub(crate) is_answered: bool,
}

impl SamplerController {
    /// Starts the engine, which has nothing to do before it has a subscriber.
    pub(crate) fn start(epoch: u32) -> Result<SamplerController, StartError> {
        signals::install(libc::SIGPROF, signals::our_handler())
            .map_err(|source| StartError::Os { what: "sigaction", source })?;
        let commands = Arc::new(ControllerCommands::default());
        let theirs = Arc::clone(&commands);
        let thread = {
            let _blocked = SigprofBlocked::new();
            thread::Builder::new()
                .name("profilez-cpu".to_owned())
                .spawn(move || ControllerThread::new(epoch, theirs).run())
                .map_err(|source| StartError::Os {
                    what: "starting the CPU engine's thread",
                    source,
                })?
        };
        Ok(SamplerController { commands, thread })
    }

    /// Samples for a subscriber. By the time this returns every thread has its timer.
    pub(crate) fn add(&self, subscriber: &Arc<Mutex<SampledStacks>>) -> Result<(), StartError> {
        let answer = self.commands.ask(|state| state.subscribers.push(Arc::clone(subscriber)));
        match answer.map(|mut state| state.failed.take()) {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error),
            Err(NoAnswer) => {
                self.commands.lock().subscribers.retain(|known| !Arc::ptr_eq(known, subscriber));
                Err(no_answer_error())
            }
        }
    }

    /// Closes a subscriber's window.
    pub(crate) fn remove(&self, subscriber: &Arc<Mutex<SampledStacks>>) -> ClosedWindow {
        let answer = self.commands.ask(|state| {
            let (leaving, staying): (Vec<_>, Vec<_>) = std::mem::take(&mut state.subscribers)
                .into_iter()
                .partition(|known| Arc::ptr_eq(known, subscriber));
            state.subscribers = staying;
            state.leaving.extend(leaving);
        });
        let is_answered = answer.is_ok();
        let state = answer.unwrap_or_else(|NoAnswer| self.commands.lock());
        ClosedWindow { is_last: state.subscribers.is_empty(), is_answered }
    }

    /// Ends the engine. Afterwards nothing of it is left but the handler; where its thread doesn't end in
    /// time, it is left alone and given back.
    pub(crate) fn stop(self) -> Result<(), SamplerController> {
        if self.commands.stop().is_err() {
            return Err(self);
        }
        // A panic of the controller was reported where it happened. What is left of the thread by now
        // waits for nobody.
        let _ = self.thread.join();
        Ok(())
    }

    /// Returns whether its thread has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Lets go of an engine whose thread is not there, in a forked child.
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

/// Makes the watchdog's error.
pub(crate) fn no_answer_error() -> StartError {
    let source = io::Error::new(io::ErrorKind::TimedOut, "it has not answered for ten seconds");
    StartError::Os { what: "the CPU engine's thread", source }
}
