//! `trace`: what happened when, as Chrome trace events.
//!
//! What is measured: each poll of a task that is known, on the thread that polled it; each wait of a
//! thread, with an arrow from what woke it, where waits are recorded; spans and events of `tracing`,
//! where its layer is installed; samples of CPU time, where the sampler is built in; and memory, CPU
//! time and tasks, five times a second. Cost: nothing without a window; within one about 60 ns for each
//! poll, 100 samples for each second of CPU time, and a buffer that is touched as it fills.
//!
//! Where it is blind: tasks that nobody named are only counted; and a buffer that is full loses its
//! oldest events, and says how many.

use profile_format::{Kind, Unavailable};

use crate::collector::{Collector, File, Pending, Window};
use crate::error::Error;
use crate::events::ring::OpenError;
use crate::trace::{StartError, TraceRecording, encode};

/// Traces of the whole process, one at a time.
#[derive(Clone, Copy, Debug)]
pub struct EventTrace {
    buffer: usize,
}

/// Room for half a million events.
const BUFFER: usize = 16 << 20;

impl EventTrace {
    /// Makes a trace with a buffer of 16 MiB, which holds half a million events.
    pub fn new() -> EventTrace {
        EventTrace { buffer: BUFFER }
    }

    /// Returns the same with a buffer of so many bytes, from 1 to 256 MiB. An event takes 32. The
    /// JSON that is made of it is about five times as large, and made as it is read; the buffer is
    /// taken until then.
    #[must_use]
    pub fn buffer(self, bytes: usize) -> EventTrace {
        EventTrace { buffer: bytes }
    }
}

impl Default for EventTrace {
    fn default() -> EventTrace {
        EventTrace::new()
    }
}

impl Collector for EventTrace {
    fn kind(&self) -> Kind {
        Kind::Trace
    }

    fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn start(&self) -> Result<Box<dyn Window>, Error> {
        let recording = TraceRecording::start(self.buffer).map_err(|error| match error {
            StartError::Buffer(OpenError::InUse) => Error::InUse {
                kind: Kind::Trace,
                what: "the trace buffer",
                holder: "another trace".to_owned(),
            },
            StartError::Buffer(OpenError::NoMemory) => Error::Collect {
                kind: Kind::Trace,
                source: "there are no addresses for the trace buffer".into(),
            },
            StartError::Thread(source) => {
                Error::Collect { kind: Kind::Trace, source: source.into() }
            }
        })?;
        Ok(Box::new(TraceWindow { recording }))
    }
}

/// An open window of a trace.
struct TraceWindow {
    recording: TraceRecording,
}

impl Window for TraceWindow {
    fn close(self: Box<Self>) -> Pending {
        let recorded = self.recording.stop();
        Box::new(move || {
            let encoded = encode(recorded);
            let bytes = encoded
                .map_err(|error| Error::Collect { kind: Kind::Trace, source: error.into() })?;
            Ok(vec![File { name: Kind::Trace.file_name(), bytes }])
        })
    }
}
