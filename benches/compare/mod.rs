//! What the sections of the comparison share: the origin, the pictures, the peers that are installed, and the report.
//!
//! The law: every figure comes from this run. A peer that is missing or fails is named in the table; nothing is assumed
//! for it, and nothing is remembered from another day.

pub(crate) mod bare;
pub(crate) mod client;
pub(crate) mod cold;
pub(crate) mod hits;
pub(crate) mod judge;
pub(crate) mod memory;
pub(crate) mod origin;
pub(crate) mod peers;
pub(crate) mod pictures;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod same;
pub(crate) mod score;
pub(crate) mod stages;
pub(crate) mod start;
pub(crate) mod widths;

use std::path::PathBuf;

use judge::Judge;
use origin::Origin;
use peers::{Kind, Peer};
use pictures::{Class, Source};
use process::Load;
use report::Report;

pub(crate) struct Bench {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) origin: Origin,
    pub(crate) sources: Vec<Source>,
    pub(crate) judge: Judge,
    pub(crate) report: Report,
    load: Load,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let quick = std::env::var_os("PIXGATE_BENCH_QUICK").is_some_and(|value| value != "0");
        let corpus = std::env::var_os("PIXGATE_CORPUS").map(PathBuf::from);
        let mut report = Report::new();
        let load = Load::before(&mut report);
        let sources = pictures::all(corpus.as_deref(), quick);
        let origin = Origin::start(&sources);
        let rounds = if quick { 1 } else { 3 };
        report.line(&format!(
            "Rounds: {rounds}{}. Medians of rounds; ratios are pixgate's figure divided by the peer's, round by round.",
            if quick { " (quick: fewer pictures and widths, shorter load)" } else { "" }
        ));
        report.line("");
        report.table(&["picture", "class", "size", "bytes"]);
        for source in sources.iter().filter(|source| source.class != Class::More) {
            let (width, height) = source.size;
            report.row(&[
                source.name.clone(),
                source.class.name().to_owned(),
                format!("{width} × {height}"),
                source.bytes.len().to_string(),
            ]);
        }
        let (installed, missing): (Vec<_>, Vec<_>) = Kind::ALL.into_iter().partition(|kind| kind.missing().is_none());
        report.line("");
        for kind in installed {
            report.line(&format!("- {}: {}", kind.name(), kind.version()));
        }
        for kind in missing {
            report.line(&format!("- {}: not installed; {}", kind.name(), kind.missing().unwrap_or_default()));
        }
        Self { quick, rounds, origin, sources, judge: Judge::default(), report, load }
    }

    pub(crate) fn class(&self, class: Class) -> Vec<Source> {
        self.sources.iter().filter(|source| source.class == class).cloned().collect()
    }

    /// Starts those of `kinds` that are installed, and has each render twice: cold means a cold source, not a cold process.
    pub(crate) fn start(&self, kinds: &[Kind]) -> Vec<Peer> {
        let peers: Vec<Peer> =
            kinds.iter().filter(|kind| kind.missing().is_none()).map(|kind| kind.start(&self.origin)).collect();
        for peer in &peers {
            for source in self.class(Class::Photo).iter().take(2) {
                for format in peer.kind.formats() {
                    let request = peer.request(&self.origin.fresh(source), 256, 75, *format);
                    let _warm = client::get(peer.address(), &request);
                }
            }
        }
        peers
    }

    pub(crate) fn finish(mut self) {
        self.report.line("");
        self.load.after(&mut self.report);
        self.report.write();
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// The nearest rank: the least value that so many percent do not exceed.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or(f64::NAN)
}

pub(crate) fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value;
        count += 1.0;
    }
    sum / count
}
