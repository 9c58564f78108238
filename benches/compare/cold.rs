//! Cold pictures: each job a URL nobody asked for before, by one client and by eight, in WebP and in AVIF, at quality 75.
//!
//! Classes are measured one after another, peers in turn within each, round by round; the first table of a format adds the
//! classes up. Processor time counts what a server does behind its answers too, for a moment after the last one.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use super::client::{self, Answer, Request};
use super::peers::{Format, Kind, Peer};
use super::pictures::{Class, Source};
use super::report::shown;
use super::stages::Stages;
use super::{Bench, mean, median, percentile};

const QUALITY: u8 = 75;
const AT_ONCE: [usize; 2] = [1, 8];
/// The quick mode leaves out eight of the largest pictures at once.
const LEFT_OUT_QUICK: [(Class, usize); 1] = [(Class::Huge, 8)];
/// What a server finishes behind its last answer is finished by then.
const BEHIND: Duration = Duration::from_millis(150);

/// One peer's run over one class.
#[derive(Clone, Default)]
struct Sample {
    wall: f64,
    cpu: f64,
    times: Vec<f64>,
    failed: usize,
}

/// What a job's output is like; the same in every round.
#[derive(Clone, Copy)]
struct Output {
    bytes: f64,
    score: f64,
}

#[derive(Default)]
struct Results {
    samples: BTreeMap<(Class, usize, Kind), Vec<Sample>>,
    /// By job of the class, in the same order for every peer.
    outputs: BTreeMap<(Class, Kind), Vec<Option<Output>>>,
}

pub(crate) fn run(bench: &mut Bench) {
    bench.report.heading("Cold pictures, quality 75");
    bench.report.line(
        "bytes: mean of the outputs; SSIMULACRA2: mean, against the source scaled in linear light by Lanczos3. The last \
         three columns are pixgate ÷ this row: images a second (more is better), CPU and bytes (less is better; bytes as \
         the geometric mean over jobs).",
    );
    let mut stages = Stages::default();
    for format in [Format::Webp, Format::Avif] {
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.formats().contains(&format)).collect();
        let peers = bench.start(&kinds);
        let mut results = Results::default();
        for round in 0..bench.rounds {
            for class in Class::COLD {
                let jobs = jobs(bench, class);
                for at_once in AT_ONCE {
                    if bench.quick && LEFT_OUT_QUICK.contains(&(class, at_once)) {
                        continue;
                    }
                    for peer in &peers {
                        let (sample, answers) = pass(bench, peer, &jobs, format, at_once);
                        results.samples.entry((class, at_once, peer.kind)).or_default().push(sample);
                        if peer.kind == Kind::Pixgate && at_once == 1 {
                            stages.note(format, class, &answers);
                        }
                        if round == 0 && at_once == 1 {
                            let outputs = judged(bench, &jobs, &answers);
                            results.outputs.insert((class, peer.kind), outputs);
                        }
                    }
                }
            }
        }
        drop(peers);
        for at_once in AT_ONCE {
            let measured = |class: &Class| results.samples.contains_key(&(*class, at_once, Kind::Pixgate));
            let classes: Vec<Class> = Class::COLD.into_iter().filter(measured).collect();
            let name = if classes.len() == Class::COLD.len() { "all" } else { "all but the largest" };
            table(bench, &results, format, at_once, &classes, name);
        }
        for class in Class::COLD {
            for at_once in AT_ONCE {
                if results.samples.contains_key(&(class, at_once, Kind::Pixgate)) {
                    table(bench, &results, format, at_once, &[class], class.name());
                }
            }
        }
    }
    stages.table(&mut bench.report);
}

/// Sources and widths, again and again until there are enough to keep eight clients busy.
fn jobs(bench: &Bench, class: Class) -> Vec<(Source, u32)> {
    let widths: &[u32] = match (bench.quick, class) {
        (_, Class::Huge) => &[640, 1920],
        (true, _) => &[256, 1080],
        (false, _) => &[256, 640, 1080, 1920],
    };
    let once: Vec<(Source, u32)> = bench
        .class(class)
        .iter()
        .flat_map(|source| source.widths(widths).into_iter().map(|width| (source.clone(), width)))
        .collect();
    let least: usize = match (bench.quick, class) {
        (true, Class::Huge) => 2,
        (true, _) | (_, Class::Huge) => 8,
        (false, _) => 16,
    };
    let times = least.div_ceil(once.len().max(1));
    (0..times).flat_map(|_| once.iter().cloned()).collect()
}

fn pass(
    bench: &Bench,
    peer: &Peer,
    jobs: &[(Source, u32)],
    format: Format,
    at_once: usize,
) -> (Sample, Vec<Option<Answer>>) {
    let request = |(source, width): &(Source, u32)| peer.request(&bench.origin.fresh(source), *width, QUALITY, format);
    let requests: Vec<Request> = jobs.iter().map(request).collect();
    let before = peer.server.cpu();
    let (wall, mut answers) = client::all(peer.address(), &requests, at_once);
    thread::sleep(BEHIND);
    let cpu = peer.server.cpu() - before;
    for answer in &mut answers {
        let right = answer.as_ref().is_some_and(|answer| is_cold(peer.kind, format, answer));
        if !right {
            *answer = None;
        }
    }
    let times: Vec<f64> = answers.iter().flatten().map(|answer| answer.ms).collect();
    let failed = answers.len() - times.len();
    (Sample { wall, cpu, times, failed }, answers)
}

/// The format asked for, and rendered for this request.
fn is_cold(kind: Kind, format: Format, answer: &Answer) -> bool {
    let is_format = answer.header("content-type") == Some(&format!("image/{}", format.name()));
    let is_miss = match kind {
        Kind::Pixgate => answer.header("cache-status").is_some_and(|status| status.contains("fwd=miss")),
        Kind::Next => answer.header("x-nextjs-cache") == Some("MISS"),
        Kind::Sharp | Kind::Oximg => true,
    };
    answer.ok && is_format && is_miss
}

fn judged(bench: &Bench, jobs: &[(Source, u32)], answers: &[Option<Answer>]) -> Vec<Option<Output>> {
    let known: Vec<(&Source, &[u8])> = jobs
        .iter()
        .zip(answers)
        .filter_map(|((source, _), answer)| Some((source, answer.as_ref()?.body.as_slice())))
        .collect();
    let mut scores = bench.judge.scores(&known).into_iter();
    let output = |answer: &Option<Answer>| {
        let bytes = answer.as_ref()?.body.len() as f64;
        Some(Output { bytes, score: scores.next()? })
    };
    answers.iter().map(output).collect()
}

/// A round's classes as one sample.
fn sum(results: &Results, classes: &[Class], at_once: usize, kind: Kind) -> Option<Vec<Sample>> {
    let mut rounds: Vec<Sample> = Vec::new();
    for class in classes {
        let samples = results.samples.get(&(*class, at_once, kind))?;
        rounds.resize(samples.len(), Sample::default());
        for (total, sample) in rounds.iter_mut().zip(samples) {
            total.wall += sample.wall;
            total.cpu += sample.cpu;
            total.failed += sample.failed;
            total.times.extend(&sample.times);
        }
    }
    Some(rounds)
}

fn outputs(results: &Results, classes: &[Class], kind: Kind) -> Vec<Option<Output>> {
    classes.iter().filter_map(|class| results.outputs.get(&(*class, kind))).flatten().copied().collect()
}

fn table(bench: &mut Bench, results: &Results, format: Format, at_once: usize, classes: &[Class], name: &str) {
    bench.report.line("");
    bench.report.line(&format!("**{}, {at_once} at once: {name}**", format.name()));
    bench.report.line("");
    bench.report.table(&[
        "",
        "images/s",
        "CPU ms",
        "p50 ms",
        "p99 ms",
        "bytes",
        "SSIMULACRA2",
        "images/s ÷",
        "CPU ÷",
        "bytes ÷",
    ]);
    let ours = sum(results, classes, at_once, Kind::Pixgate).unwrap_or_default();
    let our_outputs = outputs(results, classes, Kind::Pixgate);
    let rate = |sample: &Sample| sample.times.len() as f64 / sample.wall;
    let cpu = |sample: &Sample| 1000.0 * sample.cpu / sample.times.len() as f64;
    let ratios = |theirs: &[Sample], figure: &dyn Fn(&Sample) -> f64| {
        median(ours.iter().zip(theirs).map(|(a, b)| figure(a) / figure(b)).collect())
    };
    for kind in Kind::ALL {
        if !kind.formats().contains(&format) {
            bench.report.without(kind.name(), "not in its default build", 10);
            continue;
        }
        if let Some(why) = kind.missing() {
            bench.report.without(kind.name(), &format!("not installed: {why}"), 10);
            continue;
        }
        let Some(samples) = sum(results, classes, at_once, kind) else { continue };
        let failed: usize = samples.iter().map(|sample| sample.failed).sum();
        let name = if failed == 0 { kind.name().to_owned() } else { format!("{} ({failed} failed)", kind.name()) };
        let times: Vec<f64> = samples.iter().flat_map(|sample| sample.times.clone()).collect();
        let outputs = outputs(results, classes, kind);
        let logs = our_outputs.iter().zip(&outputs).filter_map(|(a, b)| Some(((*a)?.bytes / (*b)?.bytes).ln()));
        let mut cells = vec![name];
        cells.extend(
            [
                median(samples.iter().map(rate).collect()),
                median(samples.iter().map(cpu).collect()),
                percentile(&times, 50),
                percentile(&times, 99),
                mean(outputs.iter().flatten().map(|output| output.bytes)).round(),
                mean(outputs.iter().flatten().map(|output| output.score).filter(|score| score.is_finite())),
                ratios(&samples, &rate),
                ratios(&samples, &cpu),
                mean(logs).exp(),
            ]
            .map(shown),
        );
        bench.report.row(&cells);
    }
}
