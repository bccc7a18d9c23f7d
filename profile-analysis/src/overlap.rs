//! Decompressing and reading a profile at the same time.

use std::mem::take;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use profile_format::profile::{DecodeError, DecodeLimits, Inflate, Stacks, StacksReader};

/// Bytes below which decompressing takes less than to start a thread.
const WORTH_A_THREAD: usize = 64 << 10;

/// Bytes of a piece: what is on its way from one thread to the other stays in the cache of both.
const PIECE: usize = 64 << 10;

/// Number of pieces that may wait to be read.
const WAITING: usize = 32;

/// Number of times that the reader looks for a piece before it sleeps. A piece comes every 150 us,
/// and to be woken takes as long, some of it the time of the thread that wakes.
const LOOKS: u32 = 500;

/// Reads a profile. A gzip'd one of [`WORTH_A_THREAD`] bytes or more is decompressed by a second
/// thread, which has ended when this returns.
pub(crate) fn read_stacks<'a>(
    bytes: &'a [u8],
    limits: &DecodeLimits,
) -> Result<Stacks<'a>, DecodeError> {
    let inflate = Inflate::new(bytes, limits).filter(|_| bytes.len() >= WORTH_A_THREAD);
    let Some(inflate) = inflate else { return Stacks::read(bytes, limits) };
    let pipe = PiecePipe::default();
    thread::scope(|scope| {
        let mut reader = StacksReader::new(PIECE, inflate.size_hint(), limits);
        let _gone = PipeGone(&pipe);
        scope.spawn(|| send_decompressed(inflate, &pipe));
        pipe.supply_memory(WAITING);
        loop {
            let (pieces, end) = pipe.receive();
            if end.is_none() {
                pipe.supply_memory(pieces.len());
            }
            pieces.into_iter().try_for_each(|piece| reader.feed(piece))?;
            match end {
                None => {}
                Some(Ok(())) => return reader.finish(),
                Some(Err(error)) => return Err(error),
            }
        }
    })
}

/// Decompresses and sends pieces until the input ends or fails, or nobody receives.
fn send_decompressed(mut inflate: Inflate<'_>, pipe: &PiecePipe) {
    let _broken = PipeGone(pipe);
    while let Some(mut piece) = pipe.take_memory() {
        match inflate.fill(&mut piece) {
            Ok(0) => return pipe.send_end(Ok(())),
            Ok(length) => {
                piece.truncate(length);
                pipe.send(piece);
            }
            Err(error) => return pipe.send_end(Err(error)),
        }
    }
}

/// Pieces on their way from one thread to the other. A channel would wake the receiver for each.
#[derive(Default)]
struct PiecePipe {
    state: Mutex<PieceState>,
    /// Notifies that there is enough to read, or no more to come.
    readable: Condvar,
    /// Notifies that there is room, or nobody who reads.
    writable: Condvar,
}

#[derive(Default)]
struct PieceState {
    pieces: Vec<Vec<u8>>,
    /// Memory for pieces to come. The receiver has time to spare for what the first touch of a page
    /// takes, a fifth of decompressing.
    memory: Vec<Vec<u8>>,
    end: Option<Result<(), DecodeError>>,
    /// True once one of the two threads has ended.
    gone: bool,
}

impl PiecePipe {
    fn lock_state(&self) -> MutexGuard<'_, PieceState> {
        // Nothing that may panic is done while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Allocates memory for this many more pieces.
    fn supply_memory(&self, pieces: usize) {
        for _ in 0..pieces {
            // Not zeros, of which there are pages that are made when they are touched.
            let piece = vec![1; PIECE];
            self.lock_state().memory.push(piece);
            self.writable.notify_one();
        }
    }

    /// Waits for memory for a piece, and returns it; `None` once nobody receives.
    fn take_memory(&self) -> Option<Vec<u8>> {
        let none = |state: &mut PieceState| state.memory.is_empty() && !state.gone;
        let waited = self.writable.wait_while(self.lock_state(), none);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.gone { None } else { state.memory.pop() }
    }

    fn send(&self, piece: Vec<u8>) {
        self.lock_state().pieces.push(piece);
        self.readable.notify_one();
    }

    fn send_end(&self, end: Result<(), DecodeError>) {
        self.lock_state().end = Some(end);
        self.readable.notify_one();
    }

    /// Waits for pieces. Returns all that have come, and the result of decompressing once it has
    /// ended.
    fn receive(&self) -> (Vec<Vec<u8>>, Option<Result<(), DecodeError>>) {
        let nothing =
            |state: &mut PieceState| state.pieces.is_empty() && state.end.is_none() && !state.gone;
        for _ in 0..LOOKS {
            if !nothing(&mut self.lock_state()) {
                break;
            }
            thread::yield_now();
        }
        let waited = self.readable.wait_while(self.lock_state(), nothing);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        // The one who decompresses has panicked, which is told where it is waited for.
        let broken = state.pieces.is_empty() && state.end.is_none();
        let end = if broken { Some(Ok(())) } else { state.end.take() };
        (take(&mut state.pieces), end)
    }
}

/// Guard of one thread that tells the other, when it is dropped, that this one is no longer there.
struct PipeGone<'a>(&'a PiecePipe);

impl Drop for PipeGone<'_> {
    fn drop(&mut self) {
        self.0.lock_state().gone = true;
        self.0.readable.notify_one();
        self.0.writable.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use profile_format::profile::Builder;

    use super::*;

    /// Returns half a megabyte without a pattern.
    fn profile() -> Vec<u8> {
        let mut builder = Builder::new(&[("samples", "count")]);
        let (mut random, mut places) = (1_u64, Vec::new());
        for address in 0..20_000 {
            places.push(builder.location(None, address, &[]));
        }
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let stack: Vec<u32> =
                (0..10).map(|bit| places[(random >> (3 * bit)) as usize % places.len()]).collect();
            builder.sample(&stack, &[1], &[]);
        }
        builder.finish().encode()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_changes_nothing() {
        let raw = profile();
        let (first, second) = raw.split_at(raw.len() / 3);
        let limits = DecodeLimits::default();
        let plain = Stacks::read(&raw, &limits).unwrap();
        for packed in [gzip(&raw), [gzip(first), gzip(second)].concat()] {
            assert!(packed.len() > WORTH_A_THREAD);
            let stacks = read_stacks(&packed, &limits).unwrap();
            assert_eq!(stacks.facts(), plain.facts());
            assert_eq!(stacks.len(), plain.len());
            assert!((0..plain.len()).all(|stack| {
                stacks.locations(stack).eq(plain.locations(stack))
                    && stacks.value(stack, 0) == plain.value(stack, 0)
            }));
        }
    }

    #[test]
    fn what_is_wrong_ends_both_threads() {
        let packed = gzip(&profile());
        let check = |bytes: &[u8], limits: &DecodeLimits, expected: &str| {
            let error = read_stacks(bytes, limits).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let limits = DecodeLimits::default();
        check(&packed[..packed.len() - 9], &limits, "bad gzip data");
        check(&[packed.as_slice(), b"more"].concat(), &limits, "bad gzip data");
        check(&gzip(&packed), &limits, "gzip inside gzip");
        check(&packed, &DecodeLimits { max_bytes: 100_000, ..limits }, "100000 bytes");
        check(&packed, &DecodeLimits { max_memory: 100_000, ..limits }, "100000 bytes in memory");
        // The first field of all is broken; most of the rest is still to come.
        let mut broken = profile();
        broken[0] = 0x0f;
        check(&gzip(&broken), &limits, "unexpected wire type 7");
    }
}
