//! One connection: HTTP/1.1 on a stream, and what its seat is told of it.

use std::convert::Infallible;
use std::future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_io_timeout::TimeoutStream;

use profile_core::BoxError;

use super::super::{Body, BodyError, DebugService, Peer};
use super::seats::ConnectionSeat;

/// Time that a client has for a request, from its start until it is let in or its refusal is sent,
/// and how long an idle connection is kept.
pub(super) const STAY: Duration = Duration::from_secs(10);
/// Time that the body of a request may take that was let in.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a write of an answer may stand still before the connection is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers the requests of a connection until it ends, or its seat is lost.
pub(super) async fn serve(
    service: DebugService,
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    peer: Peer,
    seat: Arc<ConnectionSeat>,
) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let stream = SeatedStream { stream: Box::pin(stream), seat: Arc::clone(&seat) };
    let handle = {
        let seat = Arc::clone(&seat);
        service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            let request = request.map(|body| InTime { body, until: None });
            let (service, seat) = (service.clone(), Arc::clone(&seat));
            async move {
                let response = service
                    .respond_and_tell(request, |access| match access {
                        Ok(_) => seat.admit(),
                        Err(_) => seat.refuse(),
                    })
                    .await;
                Ok::<_, Infallible>(response.map(|body| SeatedBody { body, seat }))
            }
        })
    };
    // hyper's own time-out for heads stays off: the seat's is for those, for refusals, and between requests.
    let mut http = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), handle));
    let mut over = pin!(seat.wait_until_over());
    future::poll_fn(|context| {
        // A connection that breaks is the client's business; its collection ends with it.
        if http.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        over.as_mut().poll(context)
    })
    .await;
}

/// A stream that tells its seat when something comes in, and when everything is sent.
struct SeatedStream<S> {
    stream: Pin<Box<TimeoutStream<S>>>,
    seat: Arc<ConnectionSeat>,
}

impl<S: AsyncRead + AsyncWrite> AsyncRead for SeatedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(self.stream.as_mut().poll_read(context, into))?;
        if into.filled().len() > before {
            self.seat.note_input();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite> AsyncWrite for SeatedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Tells the seat that everything is sent: hyper flushes when it has written all that it holds.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream.as_mut().poll_flush(context))?;
        self.seat.note_sent();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}

/// The body of an answer, which tells the seat that it is complete when hyper drops it.
struct SeatedBody {
    body: Body,
    seat: Arc<ConnectionSeat>,
}

impl http_body::Body for SeatedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for SeatedBody {
    fn drop(&mut self) {
        self.seat.note_complete();
    }
}

/// The body of a request that has to come in time.
struct InTime {
    body: Incoming,
    /// The end of the time, which begins when the body is asked for.
    until: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for InTime {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let InTime { body, until } = &mut *self;
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let until = until.get_or_insert_with(|| Box::pin(tokio::time::sleep(BODY_TIMEOUT)));
        until.as_mut().poll(context).map(|()| Some(Err("it takes too long".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
