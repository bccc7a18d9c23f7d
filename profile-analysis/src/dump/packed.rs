//! Dumps that are gzip'd: decompressed on one thread while another one parses.

use std::sync::mpsc::sync_channel;
use std::thread;

use profile_format::gunzip::{Gunzip, GunzipError, GunzipLimits, is_gzip};

use super::{Dump, Limit, Options, Parser, Problem};

/// Bytes of a piece that one thread hands to the other; up to [`WAITING`] pieces wait.
const PIECE: usize = 256 << 10;
const WAITING: usize = 3;

/// Reads a dump that may be gzip'd, in several members too. Of a gzip'd one no more than
/// [`Limits::unpacked`](super::Limits) bytes are looked at, and a second thread decompresses; data
/// that can't be decompressed ends the dump, which is then [truncated](Dump::truncated).
pub fn parse_packed(bytes: &[u8], options: &Options) -> Dump {
    if !is_gzip(bytes) {
        return super::parse_with(bytes, options);
    }
    let mut parser = Parser::new(options);
    let limit = options.limits.unpacked;
    let (pieces, arriving) = sync_channel::<Vec<u8>>(WAITING);
    let (returned, free) = sync_channel::<Vec<u8>>(WAITING + 2);
    let end = thread::scope(|scope| {
        let unpacking = scope.spawn(move || {
            let mut from = Gunzip::new(bytes, GunzipLimits::bytes(limit as u64));
            loop {
                let mut piece = free.try_recv().unwrap_or_default();
                piece.resize(PIECE, 0);
                let (length, result) = from.fill(&mut piece);
                piece.truncate(length);
                let end = match result {
                    Ok(()) if length == PIECE => None,
                    Ok(()) => Some(PackedEnd::Whole),
                    Err(GunzipError::TooLarge { .. }) => Some(PackedEnd::TooMuch),
                    Err(_) => Some(PackedEnd::Broken),
                };
                // Nobody receives only where the parser has panicked.
                if pieces.send(piece).is_err() || end.is_some() {
                    return end.unwrap_or(PackedEnd::Broken);
                }
            }
        });
        for piece in arriving {
            parser.feed(&piece);
            let _ = returned.try_send(piece);
        }
        unpacking.join().unwrap_or(PackedEnd::Broken)
    });
    match end {
        PackedEnd::Whole => {}
        PackedEnd::Broken => parser.note_cut_off(Problem::BrokenGzip),
        PackedEnd::TooMuch => parser.note_cut_off(Problem::Limit(Limit::Unpacked, limit)),
    }
    parser.finish()
}

enum PackedEnd {
    Whole,
    Broken,
    TooMuch,
}
