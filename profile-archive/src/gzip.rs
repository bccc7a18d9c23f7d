//! One gzip member, written so that some of its data is compressed and some is only stored.
//!
//! Profiles are gzip'd already: to compress them again costs time and gains nothing worth it. The
//! stored parts are deflate blocks of type 0 that are framed here. Format: RFC 1951 and RFC 1952.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// The header: magic, method 8 (deflate), no flags, no time, no extra flags, unknown operating
/// system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// The first bytes of anything gzip'd.
pub(crate) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Number of bytes in the buffer between the compressor and the writer below.
const OUT: usize = 32 * 1024;

/// A gzip member that is being written. Dropped before [`GzipWriter::finish`] it leaves a stream
/// without an end, which every reader reports.
pub(crate) struct GzipWriter<W> {
    inner: W,
    deflate: Compress,
    /// Empty between calls; its capacity is what the compressor may fill at once.
    out: Vec<u8>,
    crc: Crc,
    /// The checksum as it was at the last flush.
    flushed: Crc,
    /// True if the compressor holds data that was not flushed.
    pending: bool,
}

impl<W: Write> GzipWriter<W> {
    /// Starts a member; its header is written at once.
    pub(crate) fn new(inner: W) -> io::Result<GzipWriter<W>> {
        GzipWriter::with_buffer(inner, OUT)
    }

    fn with_buffer(mut inner: W, len: usize) -> io::Result<GzipWriter<W>> {
        inner.write_all(&HEADER)?;
        Ok(GzipWriter {
            inner,
            deflate: Compress::new(Compression::default(), false),
            out: Vec::with_capacity(len),
            crc: Crc::new(),
            flushed: Crc::new(),
            pending: false,
        })
    }

    /// Compresses data and appends it.
    pub(crate) fn compress(&mut self, data: &[u8]) -> io::Result<()> {
        self.crc.update(data);
        self.pending = true;
        self.deflate(data, FlushCompress::None)
    }

    /// Appends data that is not compressed, without copying it.
    pub(crate) fn store(&mut self, data: &[u8]) -> io::Result<()> {
        self.sync()?;
        // The compressor knows nothing of what is stored in between: a reference from after it to
        // before it would count too short a distance. So it must forget what came before. After
        // the flush its output is at a byte boundary, where a stored block can begin.
        self.deflate.reset();
        self.crc.update(data);
        for block in data.chunks(usize::from(u16::MAX)) {
            let [low, high] = (block.len() as u16).to_le_bytes();
            self.inner.write_all(&[0, low, high, !low, !high])?;
            self.inner.write_all(block)?;
        }
        Ok(())
    }

    /// Hands everything so far to the writer below and flushes that.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.sync()?;
        self.inner.flush()?;
        self.flushed = copy_checksum(&self.crc);
        Ok(())
    }

    /// Goes on from the last flush, after the writer below has dropped everything since.
    pub(crate) fn rewind(&mut self) {
        // What was flushed ends at a byte boundary, and a compressor that knows nothing of it
        // refers to nothing in it.
        self.deflate.reset();
        self.out.clear();
        self.pending = false;
        self.crc = copy_checksum(&self.flushed);
    }

    /// Ends the member and flushes the writer below.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.deflate(&[], FlushCompress::Finish)?;
        self.inner.write_all(&self.crc.sum().to_le_bytes())?;
        self.inner.write_all(&self.crc.amount().to_le_bytes())?;
        self.inner.flush()?;
        Ok(self.inner)
    }

    /// Gets everything out of the compressor, up to a byte boundary.
    fn sync(&mut self) -> io::Result<()> {
        if self.pending {
            self.deflate(&[], FlushCompress::Sync)?;
            self.pending = false;
        }
        Ok(())
    }

    fn deflate(&mut self, mut data: &[u8], flush: FlushCompress) -> io::Result<()> {
        loop {
            let before = self.deflate.total_in();
            let status = self.deflate.compress_vec(data, &mut self.out, flush)?;
            data = &data[(self.deflate.total_in() - before) as usize..];
            let room_left = self.out.len() < self.out.capacity();
            self.inner.write_all(&self.out)?;
            self.out.clear();
            // Room that was left in the buffer says that the compressor has no more to give.
            if status == Status::StreamEnd
                || (data.is_empty() && room_left && !matches!(flush, FlushCompress::Finish))
            {
                return Ok(());
            }
        }
    }
}

/// Copies a checksum, which has no `Clone`.
fn copy_checksum(crc: &Crc) -> Crc {
    let mut copy = Crc::new();
    copy.combine(crc);
    copy
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum WriteStep {
        Compress(Vec<u8>),
        Store(Vec<u8>),
        Flush,
    }

    #[track_caller]
    fn check(steps: &[WriteStep]) -> Vec<u8> {
        check_with_buffer(OUT, steps)
    }

    #[track_caller]
    fn check_with_buffer(len: usize, steps: &[WriteStep]) -> Vec<u8> {
        let mut gzip = GzipWriter::with_buffer(Vec::new(), len).unwrap();
        let mut expected = Vec::new();
        for step in steps {
            match step {
                WriteStep::Compress(data) => gzip.compress(data).unwrap(),
                WriteStep::Store(data) => gzip.store(data).unwrap(),
                WriteStep::Flush => gzip.flush().unwrap(),
            }
            if let WriteStep::Compress(data) | WriteStep::Store(data) = step {
                expected.extend_from_slice(data);
            }
        }
        let file = gzip.finish().unwrap();
        let mut decoder = GzDecoder::new(&file[..]);
        let mut read = Vec::new();
        decoder.read_to_end(&mut read).unwrap();
        assert!(read == expected, "{} bytes read, {} written", read.len(), expected.len());
        assert!(decoder.into_inner().is_empty(), "one member, nothing after it");
        file
    }

    /// Returns bytes that deflate can't shrink.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let step = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..len).map(step).collect()
    }

    #[test]
    fn an_empty_member_is_sound() {
        check(&[]);
        check(&[WriteStep::Flush]);
        check(&[WriteStep::Store(Vec::new())]);
    }

    #[test]
    fn no_reference_crosses_a_stored_part() {
        // The same text on both sides invites the compressor to refer across what is between.
        let text: Vec<u8> = b"goroutine 7 [select, 5 minutes]:\n".repeat(50);
        for len in [0, 1, 100, 65_534, 65_535, 65_536, 140_000] {
            check(&[
                WriteStep::Compress(text.clone()),
                WriteStep::Store(noise(len)),
                WriteStep::Compress(text.clone()),
                WriteStep::Flush,
                WriteStep::Compress(text.clone()),
                WriteStep::Store(noise(len)),
                WriteStep::Store(noise(len)),
                WriteStep::Compress(text.clone()),
            ]);
        }
    }

    #[test]
    fn text_shrinks_and_stored_data_is_there_as_it_is() {
        let text = b"the same line again\n".repeat(10_000);
        assert!(check(&[WriteStep::Compress(text.clone())]).len() < text.len() / 100);
        let data = noise(1000);
        let file = check(&[WriteStep::Compress(text), WriteStep::Store(data.clone())]);
        assert!(file.windows(data.len()).any(|window| window == data));
    }

    #[test]
    fn output_that_fills_the_buffer_is_not_lost() {
        for len in 16..64 {
            let (before, after) =
                (WriteStep::Compress(noise(3 * len)), WriteStep::Compress(noise(len)));
            check_with_buffer(
                len,
                &[before, WriteStep::Store(noise(len)), after, WriteStep::Flush],
            );
        }
    }

    #[test]
    fn a_flush_lets_the_reader_have_everything() {
        let mut gzip = GzipWriter::new(Vec::new()).unwrap();
        gzip.compress(b"so far").unwrap();
        gzip.flush().unwrap();
        let mut read = [0; 6];
        GzDecoder::new(&gzip.inner[..]).read_exact(&mut read).unwrap();
        assert_eq!(&read, b"so far");
        let len = gzip.inner.len();
        gzip.flush().unwrap();
        assert_eq!(gzip.inner.len(), len, "nothing new, nothing written");
    }

    fn step() -> impl Strategy<Value = WriteStep> {
        let data = || {
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                (0..3_u8, 0..2000_usize).prop_map(|(byte, len)| vec![byte; len]),
                Just(b"main.worker\n\t/src/main.rs:42 +0x1d\n".repeat(20)),
            ]
        };
        prop_oneof![
            data().prop_map(WriteStep::Compress),
            data().prop_map(WriteStep::Store),
            Just(WriteStep::Flush),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_order_of_steps_reads_back(steps in proptest::collection::vec(step(), 0..12)) {
            check(&steps);
        }
    }
}
