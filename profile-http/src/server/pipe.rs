//! A bounded pipe from a blocking thread to an asynchronous body.
//!
//! The writer blocks while the reader is behind, but no longer in all than its patience. Each side
//! sees at once when the other is gone. Nothing here needs an async runtime.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// The most bytes that may wait in the pipe: enough to keep a connection busy, little enough not to
/// matter.
const CAPACITY: usize = 256 * 1024;
/// The largest piece that is put in at once, in bytes.
const PIECE: usize = 64 * 1024;

/// Makes a pipe whose writer waits for its reader for `patience` in all.
pub(super) fn pipe(patience: Duration) -> (PipeWriter, PipeReader) {
    let shared = Arc::new(PipeShared::default());
    (PipeWriter { shared: Arc::clone(&shared), patience, written: 0 }, PipeReader { shared })
}

#[derive(Debug, Default)]
struct PipeShared {
    state: Mutex<PipeState>,
    /// Notified when there is room again, or the reader is gone.
    moved: Condvar,
}

#[derive(Debug, Default)]
struct PipeState {
    pieces: VecDeque<Bytes>,
    waiting: usize,
    end: Option<PipeEnd>,
    reader_gone: bool,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy)]
enum PipeEnd {
    Complete,
    CutShort,
}

/// The blocking end of a pipe. Dropping it without [`PipeWriter::finish`] cuts the stream short.
#[derive(Debug)]
pub(super) struct PipeWriter {
    shared: Arc<PipeShared>,
    patience: Duration,
    written: u64,
}

/// A look at whether the reader is still there.
#[derive(Debug)]
pub(super) struct ReaderWatch {
    shared: Arc<PipeShared>,
}

/// The asynchronous end of a pipe.
#[derive(Debug)]
pub(super) struct PipeReader {
    shared: Arc<PipeShared>,
}

impl PipeShared {
    /// Locks the state. Every change leaves it whole, so a panic elsewhere doesn't spoil it.
    fn lock(&self) -> MutexGuard<'_, PipeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, end: PipeEnd) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        wake(state);
    }
}

/// Wakes the reader outside the lock.
fn wake(mut state: MutexGuard<'_, PipeState>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl PipeWriter {
    /// Returns a look at the reader, for the writer's own use between writes.
    pub(super) fn watch(&self) -> ReaderWatch {
        ReaderWatch { shared: Arc::clone(&self.shared) }
    }

    /// Returns the number of bytes put in so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Ends the stream as complete.
    pub(super) fn finish(self) {
        self.shared.end(PipeEnd::Complete);
    }
}

impl ReaderWatch {
    /// Waits for `duration`, or until the reader is gone. Returns whether it is still there.
    pub(super) fn wait(&self, duration: Duration) -> bool {
        let state = self.shared.lock();
        let (state, _timeout) = self
            .shared
            .moved
            .wait_timeout_while(state, duration, |state| !state.reader_gone)
            .unwrap_or_else(PoisonError::into_inner);
        !state.reader_gone
    }

    /// Returns whether the reader is still there.
    pub(super) fn is_read(&self) -> bool {
        !self.shared.lock().reader_gone
    }
}

impl io::Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let began = Instant::now();
        let state = self.shared.lock();
        let (mut state, timeout) = self
            .shared
            .moved
            .wait_timeout_while(state, self.patience, |state| {
                !state.reader_gone && state.waiting >= CAPACITY
            })
            .unwrap_or_else(PoisonError::into_inner);
        if state.reader_gone {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client left"));
        }
        if timeout.timed_out() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly"));
        }
        self.patience = self.patience.saturating_sub(began.elapsed());
        let piece = Bytes::copy_from_slice(&bytes[..bytes.len().min(PIECE)]);
        let len = piece.len();
        state.waiting += len;
        state.pieces.push_back(piece);
        wake(state);
        self.written += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.shared.end(PipeEnd::CutShort);
    }
}

impl PipeReader {
    /// Returns the next piece; `None` at a complete end.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let mut state = self.shared.lock();
        if let Some(piece) = state.pieces.pop_front() {
            state.waiting -= piece.len();
            drop(state);
            self.shared.moved.notify_all();
            return Poll::Ready(Some(Ok(piece)));
        }
        match state.end {
            Some(PipeEnd::Complete) => Poll::Ready(None),
            Some(PipeEnd::CutShort) => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.reader_gone = true;
        state.pieces = VecDeque::new();
        drop(state);
        self.shared.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::thread;

    use super::*;

    fn poll(reader: &mut PipeReader) -> Poll<Option<io::Result<Bytes>>> {
        reader.poll_read(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn carries_everything_in_order() {
        let (mut writer, mut reader) = pipe(Duration::from_secs(60));
        let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        let copy = sent.clone();
        let thread = thread::spawn(move || {
            writer.write_all(&copy).unwrap();
            assert_eq!(writer.written(), copy.len() as u64);
            writer.finish();
        });
        let mut got = Vec::new();
        loop {
            match poll(&mut reader) {
                Poll::Ready(Some(piece)) => got.extend_from_slice(&piece.unwrap()),
                Poll::Ready(None) => break,
                Poll::Pending => thread::yield_now(),
            }
            assert!(reader.shared.lock().waiting <= CAPACITY + PIECE);
        }
        thread.join().unwrap();
        assert!(got == sent);
    }

    #[test]
    fn a_reader_that_does_not_read_ends_the_writers_patience() {
        let (mut writer, reader) = pipe(Duration::from_millis(50));
        let error = writer.write_all(&vec![0; 10 * CAPACITY]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(reader);
    }

    #[test]
    fn each_side_sees_the_other_go() {
        let (mut writer, reader) = pipe(Duration::from_secs(60));
        let watch = writer.watch();
        assert!(watch.is_read());
        let waiting = thread::spawn(move || {
            let began = Instant::now();
            assert!(!watch.wait(Duration::from_secs(60)), "the reader left");
            assert!(began.elapsed() < Duration::from_secs(30));
            assert_eq!(writer.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        });
        drop(reader);
        waiting.join().unwrap();

        let (mut writer, mut reader) = pipe(Duration::from_secs(60));
        writer.write_all(b"part").unwrap();
        drop(writer);
        assert!(matches!(poll(&mut reader), Poll::Ready(Some(Ok(piece))) if piece == "part"));
        assert!(matches!(poll(&mut reader), Poll::Ready(Some(Err(_)))));
    }
}
