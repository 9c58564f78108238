//! A page's worth: eight widths of one cold photograph of 12 megapixels, all asked for at once, against the largest alone.
//!
//! The ratio tells what is shared between the widths: 1 is all of the work, 8 and more is none of it. Downloads are counted
//! at the origin.

use super::client::{self, Request};
use super::peers::{Format, Kind, Peer};
use super::pictures::Class;
use super::report::shown;
use super::{Bench, median};

/// Of the default lists of Pixgate and Next.js; the largest is last.
const WIDTHS: [u32; 8] = [256, 384, 640, 750, 828, 1080, 1200, 1920];

#[derive(Clone, Copy)]
struct Sample {
    alone: f64,
    all: f64,
    downloads: f64,
    cpu: f64,
}

pub(crate) fn run(bench: &mut Bench) {
    bench.report.heading("Eight widths of one cold 12 MP photograph at once");
    bench.report.table(&[
        "server",
        "format",
        "1920 px alone, ms",
        "all eight, ms",
        "× the largest",
        "downloads",
        "CPU ms, all",
        "pixgate ÷, all",
    ]);
    let peers = bench.start(&Kind::ALL);
    for format in [Format::Webp, Format::Avif] {
        let able: Vec<&Peer> = peers.iter().filter(|peer| peer.kind.formats().contains(&format)).collect();
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); able.len()];
        // Single answers vary more than whole runs: more of them.
        for _ in 0..if bench.quick { 1 } else { bench.rounds * 2 } {
            for (peer, samples) in able.iter().zip(&mut samples) {
                samples.extend(sample(bench, peer, format));
            }
        }
        let ours = samples.first().cloned().unwrap_or_default();
        for (peer, samples) in able.iter().zip(&samples) {
            let of = |figure: &dyn Fn(&Sample) -> f64| median(samples.iter().map(figure).collect());
            let ratio = median(ours.iter().zip(samples).map(|(a, b)| a.all / b.all).collect());
            let figures = [of(&|s| s.alone), of(&|s| s.all), of(&|s| s.all / s.alone)].map(shown);
            let mut cells = vec![peer.kind.name().to_owned(), format.name().to_owned()];
            cells.extend(figures);
            cells.push(format!("{:.0}", of(&|s| s.downloads)));
            cells.extend([shown(of(&|s| s.cpu)), shown(ratio)]);
            bench.report.row(&cells);
        }
    }
    for kind in Kind::ALL {
        if let Some(why) = kind.missing() {
            bench.report.without(kind.name(), &format!("not installed: {why}"), 8);
        }
    }
}

fn sample(bench: &Bench, peer: &Peer, format: Format) -> Option<Sample> {
    let page = bench.class(Class::Page).swap_remove(0);
    let alone = peer.request(&bench.origin.fresh(&page), 1920, 75, format);
    let alone = client::get(peer.address(), &alone).ok().filter(|answer| answer.ok)?.ms;
    let cold = bench.origin.fresh(&page);
    let requests: Vec<Request> = WIDTHS.iter().map(|width| peer.request(&cold, *width, 75, format)).collect();
    let (served, cpu) = (bench.origin.served(), peer.server.cpu());
    let (wall, answers) = client::all(peer.address(), &requests, WIDTHS.len());
    let complete = answers.iter().flatten().filter(|answer| answer.ok).count() == WIDTHS.len();
    complete.then(|| Sample {
        alone,
        all: wall * 1000.0,
        downloads: (bench.origin.served() - served) as f64,
        cpu: (peer.server.cpu() - cpu) * 1000.0,
    })
}
