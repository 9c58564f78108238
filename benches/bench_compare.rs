//! Pixgate against what it replaces, in one run on one machine: sharp called as Next.js calls it, a Next.js production
//! build, oximg, and for hits a bare actix handler. One client asks all of them for the same pictures, A B A B; each cold
//! job is a source of its own. `cargo bench --bench bench_compare -- [cold|same|score|hits|widths|rss|start ...]`, all without
//! names; `PIXGATE_BENCH_QUICK=1` for minutes instead of half an hour; `PIXGATE_CORPUS=DIR` adds `DIR/photos`.
//! The tables are printed and written to `bench/compare.md` in the target directory. `scripts/peers.sh` installs the peers.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_types, reason = "one peer is a bare actix handler")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench waits for processes, and is told by the environment what to do"
)]

#[path = "compare/mod.rs"]
mod compare;

use compare::{Bench, bare, cold, hits, memory, same, score, start, widths};

/// A section and the name by which it is chosen.
type Section = (&'static str, fn(&mut Bench));

const SECTIONS: [Section; 7] = [
    ("start", start::run),
    ("cold", cold::run),
    ("same", same::run),
    ("score", score::run),
    ("hits", hits::run),
    ("widths", widths::run),
    ("rss", memory::run),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == "--bare") {
        return bare::serve();
    }
    // Cargo adds `--bench`; whatever else is not a name is a mistake.
    let wanted: Vec<&String> = arguments.iter().filter(|argument| *argument != "--bench").collect();
    if let Some(unknown) = wanted.iter().find(|name| !SECTIONS.iter().any(|(known, _)| known == *name)) {
        let known: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
        println!("no section {unknown}; there are: {}", known.join(" "));
        std::process::exit(2);
    }
    let mut bench = Bench::new();
    for (name, section) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|w| *w == name) {
            section(&mut bench);
        }
    }
    bench.finish();
}
