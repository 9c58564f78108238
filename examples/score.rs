//! Scores pictures as the benches do: each line of standard input names a source and what was made of it, separated by a
//! tab; each line of output is the SSIMULACRA2 of the one against the other, or `NaN` for what cannot be read.
//!
//! `cargo run --release --example score < PAIRS`; `make bench-next` judges what browsers were sent by it.

#[path = "../benches/compare/judge.rs"]
mod judge;

/// What the judge wants to know of a source.
mod pictures {
    use std::sync::Arc;

    /// A source picture.
    #[derive(Clone)]
    pub(crate) struct Source {
        pub(crate) name: String,
        pub(crate) bytes: Arc<Vec<u8>>,
    }
}

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;

use pictures::Source;

fn main() -> Result<(), Box<dyn Error>> {
    let mut sources: HashMap<String, Source> = HashMap::new();
    let mut pairs = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (source, output) = line.split_once('\t').ok_or("a line is a source, a tab and an output")?;
        if !sources.contains_key(source) {
            let bytes = Arc::new(std::fs::read(source)?);
            sources.insert(source.to_owned(), Source { name: source.to_owned(), bytes });
        }
        pairs.push((sources[source].clone(), std::fs::read(output)?));
    }
    let outputs: Vec<(&Source, &[u8])> = pairs.iter().map(|(source, output)| (source, output.as_slice())).collect();
    let mut out = std::io::stdout().lock();
    for score in judge::Judge::default().scores(&outputs) {
        writeln!(out, "{score:.3}")?;
    }
    Ok(())
}
