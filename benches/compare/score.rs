//! Bytes at equal score: encoders disagree about what quality 75 is, so each is asked for a ladder of qualities and its
//! bytes are read off where it reaches the same SSIMULACRA2.
//!
//! Between the steps of a ladder the logarithm of the bytes is interpolated over the score, picture by picture; the ratio
//! is the geometric mean over pictures, at our own quality 75 and over the range of scores that both ladders reach.

use super::client::{self, Request};
use super::peers::{Format, Kind, OUR_QUALITIES, Peer};
use super::pictures::{Class, Source};
use super::report::shown;
use super::{Bench, mean};

const THEIR_QUALITIES: [u8; 7] = [40, 50, 60, 70, 80, 90, 100];
/// Places in the common range at which the ladders are compared.
const PLACES: usize = 5;

/// Scores and the logarithm of the bytes, by rising score.
type Curve = Vec<(f64, f64)>;

pub(crate) fn run(bench: &mut Bench) {
    bench.report.heading("Bytes at equal SSIMULACRA2, photographs");
    let kinds = [Kind::Pixgate, Kind::Sharp, Kind::Oximg];
    let peers = bench.start(&kinds);
    let jobs = jobs(bench);
    bench.report.line(&format!(
        "{} pictures; pixgate at q {OUR_QUALITIES:?}, peers at q {THEIR_QUALITIES:?} (for AVIF, sharp gets Next.js's \
         mapping of them). Next.js's bytes are sharp's.",
        jobs.len()
    ));
    bench.report.line("");
    bench.report.table(&[
        "pixgate ÷",
        "format",
        "at our q 75",
        "over the common range",
        "our score at q 75",
        "its score at q 75",
    ]);
    let ours = peers.iter().find(|peer| peer.kind == Kind::Pixgate);
    for format in [Format::Webp, Format::Avif] {
        let ours: Vec<Curve> = ours.map(|peer| curves(bench, peer, &jobs, format)).unwrap_or_default();
        for kind in kinds.into_iter().skip(1).filter(|kind| kind.formats().contains(&format)) {
            let Some(peer) = peers.iter().find(|peer| peer.kind == kind) else {
                let why = format!("not installed: {}", kind.missing().unwrap_or_default());
                bench.report.without(kind.name(), &why, 6);
                continue;
            };
            let theirs = curves(bench, peer, &jobs, format);
            let at_75 = |peer: &Peer| {
                mean(points(bench, peer, &jobs, format, 75).into_iter().flatten().map(|(score, _)| score))
            };
            let pixgate = peers.iter().find(|peer| peer.kind == Kind::Pixgate).expect("always there");
            let anchors = points(bench, pixgate, &jobs, format, 75);
            let pairs = || ours.iter().zip(&theirs);
            let here = pairs().zip(&anchors).filter_map(|((_, theirs), anchor)| {
                let (score, bytes) = (*anchor)?;
                Some(bytes - at(theirs, score)?)
            });
            let over = pairs().filter_map(|(ours, theirs)| over_range(ours, theirs));
            let row = [mean(here).exp(), mean(over).exp(), at_75(pixgate), at_75(peer)].map(shown);
            let mut cells = vec![kind.name().to_owned(), format.name().to_owned()];
            cells.extend(row);
            bench.report.row(&cells);
        }
    }
}

fn jobs(bench: &Bench) -> Vec<(Source, u32)> {
    let (pictures, widths): (usize, &[u32]) = if bench.quick { (3, &[640]) } else { (4, &[640, 1080]) };
    let photos = bench.class(Class::Photo).into_iter().filter(|source| source.size.0 > 640).take(pictures);
    photos.flat_map(|source| source.widths(widths).into_iter().map(move |width| (source.clone(), width))).collect()
}

/// Each job's score and logarithm of bytes at one quality.
fn points(bench: &Bench, peer: &Peer, jobs: &[(Source, u32)], format: Format, quality: u8) -> Vec<Option<(f64, f64)>> {
    let request = |(source, width): &(Source, u32)| peer.request(&bench.origin.fresh(source), *width, quality, format);
    let requests: Vec<Request> = jobs.iter().map(request).collect();
    let (_, answers) = client::all(peer.address(), &requests, 2);
    let good = |at: usize| answers[at].as_ref().filter(|answer| answer.ok).map(|answer| answer.body.as_slice());
    let outputs: Vec<(&Source, &[u8])> =
        jobs.iter().enumerate().map(|(at, (source, _))| (source, good(at).unwrap_or_default())).collect();
    let scores = bench.judge.scores(&outputs);
    let point = |(at, score): (usize, f64)| score.is_finite().then(|| (score, (outputs[at].1.len() as f64).ln()));
    scores.into_iter().enumerate().map(point).collect()
}

fn curves(bench: &Bench, peer: &Peer, jobs: &[(Source, u32)], format: Format) -> Vec<Curve> {
    let ladder: &[u8] = if peer.kind == Kind::Pixgate { &OUR_QUALITIES } else { &THEIR_QUALITIES };
    let mut curves = vec![Curve::new(); jobs.len()];
    for quality in ladder {
        for (curve, point) in curves.iter_mut().zip(points(bench, peer, jobs, format, *quality)) {
            curve.extend(point);
        }
    }
    for curve in &mut curves {
        curve.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    curves
}

/// The logarithm of the bytes at a score; none outside the curve.
fn at(curve: &Curve, score: f64) -> Option<f64> {
    curve.windows(2).find(|pair| (pair[0].0..=pair[1].0).contains(&score)).map(|pair| {
        let (a, b) = (pair[0], pair[1]);
        let part = if b.0 > a.0 { (score - a.0) / (b.0 - a.0) } else { 0.0 };
        a.1 + (b.1 - a.1) * part
    })
}

/// The mean difference of the logarithms over the scores that both reach.
fn over_range(ours: &Curve, theirs: &Curve) -> Option<f64> {
    let low = ours.first()?.0.max(theirs.first()?.0);
    let high = ours.last()?.0.min(theirs.last()?.0);
    let place = |n: usize| low + (high - low) * n as f64 / (PLACES - 1) as f64;
    let differences = (0..PLACES).filter_map(|n| Some(at(ours, place(n))? - at(theirs, place(n))?));
    (high > low).then(|| mean(differences))
}
