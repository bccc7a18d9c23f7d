//! Bodies: that of an answer, a text that is there or a stream that is being made; and that of a request.

use std::fmt;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use bytes::buf::{Buf as _, Reader};
use flate2::read::GzDecoder;
use http_body::{Frame, SizeHint};

use super::pipe::PipeReader;

/// The body of an answer.
#[derive(Debug)]
pub struct Body(BodyContent);

#[derive(Debug)]
enum BodyContent {
    Full(Option<Bytes>),
    Unpacked(Box<Unpacking>),
    Stream(PipeReader),
    /// No content, and of unknown size: left out of the answer to HEAD.
    Omitted,
}

/// Compressed content that is unpacked while it is sent.
struct Unpacking(GzDecoder<Reader<Bytes>>);

impl fmt::Debug for Unpacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacking").finish_non_exhaustive()
    }
}

/// Bytes that are unpacked at a time.
const PIECE: usize = 32 << 10;

impl Unpacking {
    fn next_piece(&mut self) -> Option<io::Result<Bytes>> {
        let mut piece = Vec::with_capacity(PIECE);
        match self.0.by_ref().take(PIECE as u64).read_to_end(&mut piece) {
            Ok(0) => None,
            Ok(_) => Some(Ok(piece.into())),
            Err(error) => Some(Err(error)),
        }
    }
}

/// The stream ended before it was complete. The connection is cut, so that the client can tell.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut short")]
pub struct BodyError(#[source] io::Error);

impl Body {
    pub(super) fn full(bytes: Bytes) -> Body {
        Body(BodyContent::Full(Some(bytes)))
    }

    /// A gzip stream's content.
    pub(super) fn unpacked(packed: Bytes) -> Body {
        Body(BodyContent::Unpacked(Box::new(Unpacking(GzDecoder::new(packed.reader())))))
    }

    pub(super) fn omitted() -> Body {
        Body(BodyContent::Omitted)
    }

    pub(super) fn stream(reader: PipeReader) -> Body {
        Body(BodyContent::Stream(reader))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            BodyContent::Full(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            BodyContent::Unpacked(packed) => {
                let piece = packed.next_piece();
                Poll::Ready(piece.map(|piece| piece.map(Frame::data).map_err(BodyError)))
            }
            BodyContent::Stream(reader) => reader
                .poll_read(context)
                .map(|chunk| chunk.map(|chunk| chunk.map(Frame::data).map_err(BodyError))),
            BodyContent::Omitted => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, BodyContent::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            BodyContent::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            BodyContent::Unpacked(_) | BodyContent::Stream(_) | BodyContent::Omitted => {
                SizeHint::default()
            }
        }
    }
}
