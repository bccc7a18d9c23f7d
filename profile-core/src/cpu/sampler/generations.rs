//! The unwind tables that handlers use, and those that they may still be reading.

use crate::cpu::sampler::raw::handler::HandlerState;
use crate::stacks::raw::retired::RetiredUnwinder;
use crate::stacks::unwind::{self, StackUnwinder, TableGeneration};

/// The tables of what was loaded at some moment, and their predecessors.
pub(super) struct UnwinderGenerations {
    generation: TableGeneration,
    /// Unwinders that were replaced, each from a box, with the handlers that may be reading it.
    retired: Vec<RetiredUnwinder>,
}

impl UnwinderGenerations {
    /// Loads the first.
    pub(super) fn load() -> (UnwinderGenerations, Box<StackUnwinder>) {
        let generation = unwind::generation();
        let generations = UnwinderGenerations { generation, retired: Vec::new() };
        (generations, Box::new(StackUnwinder::load()))
    }

    /// Gives handlers new tables where something was loaded or unloaded.
    pub(super) fn reload(&mut self, shared: &HandlerState) {
        self.free_unused();
        let generation = unwind::generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let retired = shared.replace_unwinder(Box::new(StackUnwinder::load()));
        self.retired.extend(retired);
    }

    /// Frees what no handler reads any more.
    pub(super) fn free_unused(&mut self) {
        RetiredUnwinder::free_unused(&mut self.retired);
    }
}
