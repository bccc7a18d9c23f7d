//! Bodies: that of an answer, a text that is there or a stream that is being made; and that of a request.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::pipe::PipeReader;

/// The body of an answer.
#[derive(Debug)]
pub struct Body(BodyContent);

#[derive(Debug)]
enum BodyContent {
    Full(Option<Bytes>),
    Stream(PipeReader),
    /// No content, and of unknown size: left out of the answer to HEAD.
    Omitted,
}

/// The stream ended before it was complete. The connection is cut, so that the client can tell.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut short")]
pub struct BodyError(#[source] io::Error);

impl Body {
    pub(super) fn full(bytes: Bytes) -> Body {
        Body(BodyContent::Full(Some(bytes)))
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
            BodyContent::Stream(_) | BodyContent::Omitted => SizeHint::default(),
        }
    }
}
