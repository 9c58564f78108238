//! Sniffing and header probing of any bytes: an answer or an error, within bounds that are checked here.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pixgate::format::sniff;
use pixgate::imaging::{Limits, probe};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { allow_svg: true, allow_heic: true, ..Limits::default() };
    if let Ok(probe) = probe(bytes, &limits) {
        assert_eq!(Some(probe.format), sniff(bytes));
        assert!(probe.width >= 1 && probe.height >= 1 && probe.frames >= 1);
        assert!(u64::from(probe.width) * u64::from(probe.height) <= limits.max_pixels);
    }
});
