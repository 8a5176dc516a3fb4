//! Requests of all kinds, well-formed or not, against a small filesystem.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| norefs::transport::testing::offline::run(input));
