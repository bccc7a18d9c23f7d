//! The timer of the whole process, which stands in for threads that have none of their own.

use std::io;

use crate::cpu::sampler::places::{PROCESS, timer_value};
use crate::cpu::sampler::raw::handler::HandlerState;
use crate::cpu::sampler::raw::timer::{CpuClock, CpuTimer};
use crate::cpu::sampler::strata::SplitMix;

/// A signal that was sent and not handled while the process used so much CPU time is lost.
const LOST: i64 = 200_000_000;

/// The process's timer, where it runs.
///
/// Its signal goes to the thread that is running when it expires, but to another that may be asleep where
/// that one blocks it, and stays pending where all do (kernel/signal.c, `complete_signal`). So it does not
/// run while threads that block the signal are at work.
pub(crate) struct StandIn {
    epoch: u32,
    timer: Option<CpuTimer>,
    /// Length of its strata, in nanoseconds.
    period: u64,
    random: SplitMix,
    /// The reason why there is no timer.
    pub(crate) refused: Option<io::Error>,
}

impl StandIn {
    pub(crate) fn new(epoch: u32, seed: u64) -> StandIn {
        StandIn { epoch, timer: None, period: 0, random: SplitMix::new(seed), refused: None }
    }

    /// Runs the timer with strata of so many nanoseconds.
    pub(crate) fn run(&mut self, shared: &HandlerState, period: u64) {
        if self.timer.is_some() && self.period == period {
            return;
        }
        self.period = period;
        let clock = &shared.threads[PROCESS as usize].clock;
        let Some(now) = CpuClock::Process.now() else { return };
        if let Some(timer) = &self.timer {
            let _ = timer.set(clock.begin_anew(now, period, &mut self.random));
            return;
        }
        let timer =
            CpuTimer::new(CpuClock::Process, timer_value(self.epoch, clock.next_arming(), PROCESS))
                .and_then(|timer| {
                    timer.set(clock.begin(timer.id(), now, period, self.random.word()))?;
                    Ok(timer)
                });
        match timer {
            Ok(timer) => (self.timer, self.refused) = (Some(timer), None),
            Err(error) => {
                clock.end();
                self.refused = Some(error);
            }
        }
    }

    /// Deletes the timer. Returns whether its signal may still be pending.
    pub(crate) fn stop(&mut self, shared: &HandlerState) -> bool {
        let Some(timer) = self.timer.take() else { return false };
        shared.threads[PROCESS as usize].clock.end();
        !timer.is_running()
    }

    /// Sets the timer anew where its signal is lost. Returns whether it was.
    pub(crate) fn renew_if_lost(&mut self, shared: &HandlerState) -> bool {
        let Some(timer) = &self.timer else { return false };
        let clock = &shared.threads[PROCESS as usize].clock;
        let Some(now) = CpuClock::Process.now() else { return false };
        if clock.pending(now) < self.period.cast_signed() + LOST || timer.is_running() {
            return false;
        }
        let _ = timer.set(clock.begin_anew(now, self.period, &mut self.random));
        true
    }

    /// Returns whether there is a timer.
    pub(crate) fn has_timer(&self) -> bool {
        self.timer.is_some()
    }
}
