//! Bytes at equal score: photograph by photograph encoders disagree about what a quality is, so each is asked for a ladder
//! of qualities and its bytes are read off where it reaches the same SSIMULACRA2.
//!
//! Between the steps of a ladder the logarithm of the bytes is interpolated over the score, picture by picture; the ratio
//! is the geometric mean over pictures, at our own quality 75 and over the range of scores that both ladders reach. Ours are
//! judged twice: as first answered, and as refined once they were asked for again.

use std::time::{Duration, Instant};

use super::client::{self, Request};
use super::peers::{Format, Kind, OUR_QUALITIES, Peer};
use super::pictures::{Class, Source};
use super::report::shown;
use super::{Bench, mean};

const THEIR_QUALITIES: [u8; 7] = [40, 50, 60, 70, 80, 90, 100];
/// Places in the common range at which the ladders are compared.
const PLACES: usize = 5;
/// Longest time that others may keep what is to be refined (API: `Cache-Control`).
const INTERIM_SECONDS: u64 = 60;
/// How long a refinement may take, those before it included.
const PATIENCE: Duration = Duration::from_secs(120);

/// Scores and the logarithm of the bytes, by rising score.
type Curve = Vec<(f64, f64)>;
/// A score and the logarithm of the bytes for each job that was answered.
type Points = Vec<Option<(f64, f64)>>;

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
        "our answer",
        "at our q 75",
        "over the common range",
        "our score at q 75",
        "its score at q 75",
    ]);
    let ours = peers.iter().find(|peer| peer.kind == Kind::Pixgate);
    for format in [Format::Webp, Format::Avif] {
        let [first, refined] = ours.map(|peer| our_points(bench, peer, &jobs, format)).unwrap_or_default();
        for kind in kinds.into_iter().skip(1).filter(|kind| kind.formats().contains(&format)) {
            let Some(peer) = peers.iter().find(|peer| peer.kind == kind) else {
                let why = format!("not installed: {}", kind.missing().unwrap_or_default());
                bench.report.without(kind.name(), &why, 7);
                continue;
            };
            let theirs: Vec<Points> = ladder(&THEIR_QUALITIES, |quality| points(bench, peer, &jobs, format, quality));
            let their_score = mean_score(&points(bench, peer, &jobs, format, 75));
            let theirs: Vec<Curve> = curves(&theirs);
            for (answer, ours) in [("first", &first), ("refined", &refined)] {
                let anchors = &ours[OUR_QUALITIES.iter().position(|quality| *quality == 75).expect("in the ladder")];
                let ours = curves(ours);
                let here = theirs.iter().zip(anchors).filter_map(|(theirs, anchor)| {
                    let (score, bytes) = (*anchor)?;
                    Some(bytes - at(theirs, score)?)
                });
                let over = ours.iter().zip(&theirs).filter_map(|(ours, theirs)| over_range(ours, theirs));
                let row = [mean(here).exp(), mean(over).exp(), mean_score(anchors), their_score].map(shown);
                let mut cells = vec![kind.name().to_owned(), format.name().to_owned(), answer.to_owned()];
                cells.extend(row);
                bench.report.row(&cells);
            }
        }
    }
}

fn jobs(bench: &Bench) -> Vec<(Source, u32)> {
    let (pictures, widths): (usize, &[u32]) = if bench.quick { (3, &[640]) } else { (4, &[640, 1080]) };
    let photos = bench.class(Class::Photo).into_iter().filter(|source| source.size.0 > 640).take(pictures);
    photos.flat_map(|source| source.widths(widths).into_iter().map(move |width| (source.clone(), width))).collect()
}

fn ladder(qualities: &[u8], points: impl Fn(u8) -> Points) -> Vec<Points> {
    qualities.iter().map(|quality| points(*quality)).collect()
}

fn mean_score(points: &Points) -> f64 {
    mean(points.iter().flatten().map(|(score, _)| *score))
}

fn requests(bench: &Bench, peer: &Peer, jobs: &[(Source, u32)], format: Format, quality: u8) -> Vec<Request> {
    let request = |(source, width): &(Source, u32)| peer.request(&bench.origin.fresh(source), *width, quality, format);
    jobs.iter().map(request).collect()
}

/// Each job's point at one quality.
fn points(bench: &Bench, peer: &Peer, jobs: &[(Source, u32)], format: Format, quality: u8) -> Points {
    let (_, answers) = client::all(peer.address(), &requests(bench, peer, jobs, format, quality), 2);
    judged(bench, jobs, &answers)
}

/// Ours on each step of the ladder: the first answers, and the refined ones.
fn our_points(bench: &Bench, peer: &Peer, jobs: &[(Source, u32)], format: Format) -> [Vec<Points>; 2] {
    let steps = OUR_QUALITIES.map(|quality| requests(bench, peer, jobs, format, quality));
    let first = steps.each_ref().map(|requests| {
        let (_, answers) = client::all(peer.address(), requests, 2);
        judged(bench, jobs, &answers)
    });
    let refined = steps.each_ref().map(|requests| {
        let answers: Vec<_> = requests.iter().map(|request| refined(peer, request)).collect();
        judged(bench, jobs, &answers)
    });
    [first.into(), refined.into()]
}

/// Asks again until the answer is not to be replaced by a better one any more: then others may keep it for long.
pub(crate) fn refined(peer: &Peer, request: &Request) -> Option<client::Answer> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let answer = client::get(peer.address(), request).ok().filter(|answer| answer.ok)?;
        let control = answer.header("cache-control").unwrap_or_default();
        let seconds = control.split("max-age=").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u64>().ok());
        if seconds? > INTERIM_SECONDS {
            return Some(answer);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    None
}

/// Each job's score and the logarithm of its bytes.
pub(crate) fn judged(bench: &Bench, jobs: &[(Source, u32)], answers: &[Option<client::Answer>]) -> Points {
    let good = |at: usize| answers[at].as_ref().filter(|answer| answer.ok).map(|answer| answer.body.as_slice());
    let outputs: Vec<(&Source, &[u8])> =
        jobs.iter().enumerate().map(|(at, (source, _))| (source, good(at).unwrap_or_default())).collect();
    let scores = bench.judge.scores(&outputs);
    let point = |(at, score): (usize, f64)| score.is_finite().then(|| (score, (outputs[at].1.len() as f64).ln()));
    scores.into_iter().enumerate().map(point).collect()
}

/// Each job's curve through its points on all steps.
fn curves(ladder: &[Points]) -> Vec<Curve> {
    let mut curves = vec![Curve::new(); ladder.first().map_or(0, Vec::len)];
    for points in ladder {
        for (curve, point) in curves.iter_mut().zip(points) {
            curve.extend(*point);
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
