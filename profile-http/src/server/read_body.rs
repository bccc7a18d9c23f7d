//! Reading a request's body.

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::RequestBody;
use super::reply::{self, HttpRefusal};

/// Reads all of a request's body, of at most `largest` bytes.
pub(super) async fn read_body<B: RequestBody>(
    body: B,
    largest: usize,
) -> Result<Bytes, HttpRefusal> {
    match Limited::new(body, largest).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(reply::too_large("request", largest)),
        Err(error) => Err(reply::not_read(error.as_ref())),
    }
}
