//! Dumps: the whole, its pieces and several threads say the same, and everything is counted.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| profile_analysis::dump::check(bytes));
