//! From starting the process to its first rendered answer, a picture of 96 pixels: what a deploy or a restart costs.
//!
//! The client tries every few milliseconds until it gets the picture; builds and caches of code are warm on disk.

use std::thread;
use std::time::Duration;

use super::client;
use super::peers::{Format, Kind};
use super::pictures::Class;
use super::report::shown;
use super::{Bench, median};

/// Longer than any of them takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(bench: &mut Bench) {
    bench.report.heading("From start to the first rendered answer");
    bench.report.table(&["server", "ms", "pixgate ÷"]);
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.missing().is_none()).collect();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    for _ in 0..3 {
        for (kind, times) in kinds.iter().zip(&mut times) {
            times.extend(once(bench, *kind));
        }
    }
    let ours = times.first().cloned().unwrap_or_default();
    for (kind, times) in kinds.iter().zip(times) {
        let ratio = median(ours.iter().zip(&times).map(|(a, b)| a / b).collect());
        bench.report.row(&[kind.name().to_owned(), shown(median(times)), shown(ratio)]);
    }
    for kind in Kind::ALL {
        if let Some(why) = kind.missing() {
            bench.report.without(kind.name(), &format!("not installed: {why}"), 3);
        }
    }
}

fn once(bench: &Bench, kind: Kind) -> Option<f64> {
    let source = bench.class(Class::Alpha).swap_remove(0);
    let cold = bench.origin.fresh(&source);
    let peer = kind.launch(&bench.origin);
    let request = peer.request(&cold, 96, 75, Format::Webp);
    while peer.server.started.elapsed() < PATIENCE {
        if client::get(peer.address(), &request).is_ok_and(|answer| answer.ok) {
            return Some(peer.server.started.elapsed().as_secs_f64() * 1000.0);
        }
        thread::sleep(Duration::from_millis(3));
    }
    None
}
