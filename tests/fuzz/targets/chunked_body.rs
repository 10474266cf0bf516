#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lb_fuzz::invariants::chunked_body(bytes));
