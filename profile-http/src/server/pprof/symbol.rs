//! `/symbol`: addresses to names, as `go tool pprof` asks for them where a profile has none.
//!
//! The names are mangled: pprof takes demangled ones for C++ and cuts them at the first `<`.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use profile_core::symbols;

use super::super::read_body::read_body;
use super::super::reply::{self, HttpRefusal};
use super::threads::on_a_thread;
use super::{RequestBody, ServiceState};

/// The largest request in bytes: some 70 000 addresses.
const LARGEST_REQUEST: usize = 1 << 20;
/// The largest answer, in bytes.
const LARGEST_ANSWER: usize = 64 << 20;

/// Reads the addresses in a request's body.
pub(super) async fn read<B: RequestBody>(body: B) -> Result<Bytes, HttpRefusal> {
    read_body(body, LARGEST_REQUEST).await
}

/// Writes a line for each address that has a name.
pub(super) async fn names(shared: &Arc<ServiceState>, words: Bytes) -> Result<String, HttpRefusal> {
    let addresses: Vec<u64> = words.split(|&byte| byte == b'+').filter_map(address).collect();
    // Readers only look whether it is 0, as Go does not count either.
    let mut text = "num_symbols: 1\n".to_owned();
    if addresses.is_empty() {
        return Ok(text);
    }
    on_a_thread(shared, move |shared, _client, answer| {
        let one = shared.taking.wait_to_name();
        for (address, symbol) in addresses.iter().zip(symbols(&addresses)) {
            if let Some(symbol) = symbol {
                // Writing to a string can't fail.
                let _ = writeln!(text, "{address:#x} {}", symbol.name);
            }
            if text.len() > LARGEST_ANSWER {
                answer.give(Err(reply::too_large("answer", LARGEST_ANSWER)));
                return;
            }
        }
        drop(one);
        answer.give(Ok(text));
    })
    .await
}

/// Reads a number in Go's notation; `None` for 0 and for what is none.
fn address(word: &[u8]) -> Option<u64> {
    let word = std::str::from_utf8(word).ok()?;
    let lower = word.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (lower.as_str(), 10),
    };
    // The standard library would take a sign.
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_alphanumeric());
    u64::from_str_radix(digits, radix).ok().filter(|&number| number != 0 && is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_gos_notation() {
        for (word, number) in [
            ("0x1f", Some(31)),
            ("0XFF", Some(255)),
            ("12", Some(12)),
            ("017", Some(15)),
            ("0o17", Some(15)),
            ("0b11", Some(3)),
            ("0", None),
            ("", None),
            ("0x", None),
            ("-1", None),
            ("x", None),
            ("0x-1", None),
            ("0xffffffffffffffff", Some(u64::MAX)),
            ("0x1ffffffffffffffff", None),
        ] {
            assert_eq!(address(word.as_bytes()), number, "{word}");
        }
        assert_eq!(address(b"\xff"), None);
    }
}
