//! Answers that are made and kept compressed, since they are kept for more than one reader: written once
//! as a stream, sent as they are to whoever takes gzip, and unpacked on their way to anybody else.

use std::io::{BufWriter, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Response;
use http::header::{self, HeaderMap, HeaderValue};
use serde::Serialize;

use super::Body;
use super::reply::{self, HttpRefusal};

/// Bytes of JSON that are compressed at a time.
const BLOCK: usize = 16 << 10;

/// Writes JSON, compressed.
pub(super) fn pack_json(answer: &impl Serialize) -> Result<Bytes, HttpRefusal> {
    let failed = |error: &dyn std::error::Error| reply::failed(&error.to_string());
    let packer = GzEncoder::new(Vec::new(), Compression::fast());
    let mut blocks = BufWriter::with_capacity(BLOCK, packer);
    serde_json::to_writer(&mut blocks, answer).map_err(|error| failed(&error))?;
    blocks.flush().map_err(|error| failed(&error))?;
    let packer = blocks.into_inner().map_err(|error| failed(error.error()))?;
    packer.finish().map(Bytes::from).map_err(|error| failed(&error))
}

/// Compresses a text.
pub(super) fn pack_text(text: &str) -> Result<Bytes, HttpRefusal> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = packer.write_all(text.as_bytes()).and_then(|()| packer.finish());
    packed.map(Bytes::from).map_err(|error| reply::failed(&error.to_string()))
}

/// The type of the endpoints' data.
pub(super) const JSON: &str = "application/json; charset=utf-8";

/// Returns the response with compressed content, as it is if whoever asked takes that. To who asked for
/// the head alone nothing is sent, and nothing needs to be there.
pub(super) fn response(
    asked: &HeaderMap,
    content_type: &'static str,
    packed: Option<Bytes>,
) -> Response<Body> {
    let takes_gzip = accepts_gzip(asked);
    let mut response = Response::new(match packed {
        None => Body::omitted(),
        Some(packed) if takes_gzip => Body::full(packed),
        Some(packed) => Body::unpacked(packed),
    });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    describe_encoding(headers, takes_gzip);
    response
}

/// Says in an answer's headers how it is encoded, and that it could be otherwise.
pub(super) fn describe_encoding(headers: &mut HeaderMap, is_gzip: bool) {
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if is_gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

/// Returns whether whoever asked takes gzip.
pub(super) fn accepts_gzip(asked: &HeaderMap) -> bool {
    asked
        .get_all(header::ACCEPT_ENCODING)
        .into_iter()
        .filter_map(|encodings| encodings.to_str().ok())
        .flat_map(|encodings| encodings.split(','))
        .any(|encoding| {
            let (name, weight) = encoding.split_once(';').unwrap_or((encoding, ""));
            let weight =
                weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok());
            name.trim().eq_ignore_ascii_case("gzip") && weight != Some(0.0)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for (encodings, takes) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5, br", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, identity", false),
            ("x-gzipped, br", false),
            ("", false),
        ] {
            let mut asked = HeaderMap::new();
            assert!(!accepts_gzip(&asked));
            asked.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encodings));
            assert_eq!(accepts_gzip(&asked), takes, "{encodings}");
        }
    }
}
