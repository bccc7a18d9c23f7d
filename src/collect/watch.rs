//! Reads a bundle while it passes by, so that it is known what arrived, wherever it goes.

use std::io::{self, PipeWriter, Write as _};
use std::thread::{self, JoinHandle};

use profilez::archive::{BundleReader, Contents, Limits, Result};

/// A bundle that is being read.
pub(super) struct Watch {
    /// `None` once the reader has seen enough.
    pipe: Option<PipeWriter>,
    reader: JoinHandle<Result<Contents>>,
}

impl Watch {
    pub(super) fn start() -> io::Result<Watch> {
        let (reader, pipe) = io::pipe()?;
        let reader = thread::Builder::new().name("bundle-reader".to_owned()).spawn(move || {
            BundleReader::open(reader, &Limits::default()).map(BundleReader::finish)
        })?;
        Ok(Watch { pipe: Some(pipe), reader })
    }

    pub(super) fn see(&mut self, bytes: &[u8]) {
        if let Some(pipe) = &mut self.pipe
            && pipe.write_all(bytes).is_err()
        {
            self.pipe = None;
        }
    }

    /// What arrived; `None` where nothing of it can be read.
    pub(super) fn end(self) -> Option<Contents> {
        drop(self.pipe);
        let contents = self.reader.join().ok()?.ok()?;
        let readable =
            contents.manifest.is_some() || contents.entries.iter().any(|entry| entry.bytes > 0);
        readable.then_some(contents)
    }
}
