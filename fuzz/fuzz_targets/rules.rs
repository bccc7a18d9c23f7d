//! Files of rules: refused with a reason, or ready to judge.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| profile_analysis::rules::check(bytes));
