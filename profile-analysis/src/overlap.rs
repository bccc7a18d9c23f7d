//! Decompressing and reading a profile at the same time.

use std::sync::mpsc;
use std::thread;

use profile_core::profile::{DecodeError, DecodeLimits, Inflate, Stacks, StacksReader};

/// A thread takes longer to start than to decompress less than this.
const WORTH_A_THREAD: usize = 64 << 10;

/// Pieces that may wait to be read, of 128 KiB each.
const WAITING: usize = 8;

/// Reads a profile. One that is gzip'd and not small is decompressed by a second thread, which has
/// ended when this returns.
pub(crate) fn stacks<'a>(
    bytes: &'a [u8],
    limits: &DecodeLimits,
) -> Result<Stacks<'a>, DecodeError> {
    let inflate = Inflate::new(bytes, limits).filter(|_| bytes.len() >= WORTH_A_THREAD);
    let Some(inflate) = inflate else { return Stacks::read(bytes, limits) };
    thread::scope(|scope| {
        let mut reader = StacksReader::new(inflate.size_hint(), limits);
        let (sender, receiver) = mpsc::sync_channel(WAITING);
        // New memory for each piece would cost as much as a tenth of decompressing it.
        let (give_back, spent) = mpsc::channel();
        scope.spawn(move || pump(inflate, &sender, &spent));
        // When this fails the receiver goes, and the other thread ends with its next piece.
        for piece in receiver {
            let mut piece: Vec<u8> = piece?;
            reader.feed(&piece)?;
            piece.clear();
            // After the last one nobody wants it.
            let _ = give_back.send(piece);
        }
        reader.finish()
    })
}

/// Sends what is decompressed, until it ends, fails, or nobody wants it.
fn pump(
    mut inflate: Inflate<'_>,
    sender: &mpsc::SyncSender<Result<Vec<u8>, DecodeError>>,
    spent: &mpsc::Receiver<Vec<u8>>,
) {
    loop {
        let mut piece = spent.try_recv().unwrap_or_default();
        let sent = match inflate.read(&mut piece) {
            Ok(true) => sender.send(Ok(piece)),
            Ok(false) => return,
            Err(error) => {
                // Nobody wants to know where the receiver has gone.
                let _ = sender.send(Err(error));
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use profile_core::profile::Builder;

    use super::*;

    /// Half a megabyte without a pattern.
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
            let stacks = stacks(&packed, &limits).unwrap();
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
            let error = stacks(bytes, limits).unwrap_err().to_string();
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
