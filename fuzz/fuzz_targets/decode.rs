//! The full decode of any bytes, to a placeholder: no panic, no hang, no unbounded memory.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use pixgate::imaging::{Limits, Settings, placeholder, probe};

fuzz_target!(|bytes: &[u8]| {
    // Small pictures, so that an input takes milliseconds; the limits themselves are the tests' business.
    let limits = Limits { max_pixels: 1_000_000, max_frame_pixels: 4_000_000, allow_svg: true, allow_heic: true, ..Limits::default() };
    let settings = Settings { limits, ..Settings::default() };
    if let Ok(found) = probe(bytes, &settings.limits) {
        let _result = placeholder(bytes, &found, &settings, Instant::now() + Duration::from_secs(10));
    }
});
