//! Decoding.
/// x
#[derive(Debug)]
pub struct DecodeError;
/// x
#[derive(Debug)]
pub struct DecodeLimits;
