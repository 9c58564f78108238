//! Bytes and score at the same number: each photograph at qualities 50, 75 and 90 from Next.js's encoder (sharp called as
//! Next.js calls it) and from Pixgate, as first answered and as encoded again once it was requested again.
//!
//! Both are asked for the same format, width and quality. The ratio of bytes is the geometric mean over photographs and
//! widths; scores are means.

use super::client::{self, Request};
use super::peers::{Format, Kind, Peer};
use super::pictures::{Class, Source};
use super::report::shown;
use super::score::{judged, refined};
use super::{Bench, mean};

const QUALITIES: [u8; 3] = [50, 75, 90];
/// Widths of a row.
const SIZES: [&[u32]; 2] = [&[256, 384], &[640, 1080, 1920]];
/// The quick mode leaves out the larger widths and most photographs.
const QUICK: (usize, u32) = (4, 640);

/// A score and the logarithm of the bytes for each job that was answered.
type Points = Vec<Option<(f64, f64)>>;

pub(crate) fn run(bench: &mut Bench) {
    bench.report.heading("The same number: photographs, bytes and SSIMULACRA2");
    let peers = bench.start(&[Kind::Pixgate, Kind::Sharp]);
    let peer = |kind: Kind| peers.iter().find(|peer| peer.kind == kind);
    let (Some(ours), Some(theirs)) = (peer(Kind::Pixgate), peer(Kind::Sharp)) else {
        let why = format!("not installed: {}", Kind::Sharp.missing().unwrap_or_default());
        return bench.report.line(&why);
    };
    bench.report.line("bytes ÷: pixgate's in those of Next.js, of the same photographs at the same width and quality.");
    bench.report.line("");
    bench.report.table(&[
        "format",
        "widths",
        "images",
        "q",
        "score, Next.js",
        "score, first",
        "bytes ÷, first",
        "score, again",
        "bytes ÷, again",
    ]);
    for format in [Format::Avif, Format::Webp] {
        for widths in SIZES {
            let widest = if bench.quick { QUICK.1 } else { u32::MAX };
            let widths: Vec<u32> = widths.iter().copied().filter(|width| *width <= widest).collect();
            let jobs = jobs(bench, &widths);
            let name = widths.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            for quality in QUALITIES {
                let requests = requests(bench, ours, &jobs, format, quality);
                let mut next = points(bench, theirs, &jobs, &self::requests(bench, theirs, &jobs, format, quality));
                let mut first = points(bench, ours, &jobs, &requests);
                let answers: Vec<_> = requests.iter().map(|request| refined(ours, request)).collect();
                let mut again = judged(bench, &jobs, &answers);
                let count = keep_common([&mut next, &mut first, &mut again]);
                let mut cells = vec![format.name().to_owned(), format!("{name} px")];
                cells.extend([count.to_string(), quality.to_string(), shown(score(&next))]);
                cells.extend([&first, &again].iter().flat_map(|ours| [score(ours), ratio(ours, &next)]).map(shown));
                bench.report.row(&cells);
            }
        }
    }
}

fn jobs(bench: &Bench, widths: &[u32]) -> Vec<(Source, u32)> {
    let mut photographs = bench.class(Class::Photo);
    photographs.extend(bench.class(Class::More));
    let count = if bench.quick { QUICK.0 } else { usize::MAX };
    widths
        .iter()
        .flat_map(|width| {
            let wide = photographs.iter().filter(|source| source.size.0 >= *width).take(count);
            wide.map(|source| (source.clone(), *width)).collect::<Vec<_>>()
        })
        .collect()
}

fn requests(bench: &Bench, peer: &Peer, jobs: &[(Source, u32)], format: Format, quality: u8) -> Vec<Request> {
    let request = |(source, width): &(Source, u32)| peer.request(&bench.origin.fresh(source), *width, quality, format);
    jobs.iter().map(request).collect()
}

fn points(bench: &Bench, peer: &Peer, jobs: &[(Source, u32)], requests: &[Request]) -> Points {
    let (_, answers) = client::all(peer.address(), requests, 2);
    judged(bench, jobs, &answers)
}

fn score(points: &Points) -> f64 {
    mean(points.iter().flatten().map(|(score, _)| *score))
}

/// Leaves out the jobs that one of them did not answer, and counts the others.
fn keep_common(all: [&mut Points; 3]) -> usize {
    let [a, b, c] = all;
    let mut count = 0;
    for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
        if a.is_some() && b.is_some() && c.is_some() {
            count += 1;
        } else {
            (*a, *b, *c) = (None, None, None);
        }
    }
    count
}

fn ratio(ours: &Points, theirs: &Points) -> f64 {
    mean(ours.iter().zip(theirs).filter_map(|(ours, theirs)| Some((*ours)?.1 - (*theirs)?.1))).exp()
}
