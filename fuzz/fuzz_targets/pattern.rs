//! Globs of an operator against texts of a stranger: compiling and matching end, and never panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pixgate::source::pattern::Glob;

fuzz_target!(|input: (&str, &str)| {
    let (pattern, text) = input;
    for glob in [Glob::hostname(pattern), Glob::pathname(pattern), Glob::regex(pattern)].into_iter().flatten() {
        let _matched = glob.matches(text);
        let _any = glob.is_any_host();
    }
});
