//! Profiles in every form: read, counted, ranked, compared and drawn.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| profile_analysis::exercise(bytes));
