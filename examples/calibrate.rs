//! Measures encoders: `cargo run --release --example calibrate -- anchors TARGETS PHOTOGRAPH... [-- GRAPHIC...]`
//! or `times DIR|FILE...`.
//!
//! `anchors` prints the table of `src/imaging/codec/quality.rs`: the native levels at which each encoder's mean SSIMULACRA2
//! is that of what `benches/compare/peers/anchors.mjs` made of the same files in TARGETS, kind by kind, against the source
//! scaled in linear light. `times` prints milliseconds of CPU and bytes at quality 75. Reads only; `anchors` takes most of
//! an hour. Transparency is shown over white.
#![expect(clippy::print_stdout, reason = "a tool that prints a table")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use pixgate::format::ImageFormat;
use pixgate::imaging::Picture;
use pixgate::imaging::calibration::{self, Kind, Native};
use pixgate::variant::{Effort, Quality};
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

const WIDTHS: [u32; 6] = [192, 256, 384, 640, 1080, 1920];
/// Up to 60 the coarse setting of libaom counts, from 61 on the fine one; sharp's score at 61 lies between its neighbours'.
const QUALITIES: [u8; 11] = [1, 10, 25, 50, 60, 70, 75, 80, 85, 90, 100];
const COARSE: u8 = 60;
const LADDER_AOM: [u8; 11] = [1, 6, 11, 16, 21, 26, 31, 36, 42, 50, 60];
const LADDER: [u8; 11] = [2, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: calibrate anchors TARGETS PHOTOGRAPH... [-- GRAPHIC...] | times DIR|FILE...";
    let mode = arguments.next().context(usage)?;
    let targets = if mode == "anchors" { arguments.next().context(usage)? } else { String::new() };
    let (mut paths, mut drawn) = (Vec::new(), None);
    for path in arguments.map(PathBuf::from) {
        if path.as_os_str() == "--" {
            drawn = Some(paths.len());
            continue;
        }
        if path.is_dir() {
            for entry in std::fs::read_dir(&path).with_context(|| path.display().to_string())? {
                paths.push(entry?.path());
            }
        } else {
            paths.push(path);
        }
    }
    anyhow::ensure!(!paths.is_empty(), usage);
    let (photographs, graphics) = paths.split_at(drawn.unwrap_or(paths.len()));
    match mode.as_str() {
        "anchors" => anchors(Path::new(&targets), photographs, graphics),
        "times" => times(&paths),
        other => anyhow::bail!("unknown mode {other}; {usage}"),
    }
}

/// An image as it should look, and what sharp made of it.
struct Reference {
    picture: Picture,
    kind: Kind,
    /// By quality, in the order of [`QUALITIES`].
    made: [PathBuf; QUALITIES.len()],
}

fn references(targets: &Path, paths: &[PathBuf], drawn: bool) -> Result<Vec<Reference>> {
    let mut references = Vec::new();
    for path in paths {
        let source = calibration::decode(&std::fs::read(path)?).with_context(|| path.display().to_string())?;
        let name = path.file_name().context("a file has a name")?.to_string_lossy();
        for width in WIDTHS.into_iter().filter(|width| *width <= source.width) {
            let made = QUALITIES.map(|quality| targets.join(format!("{width}/{quality}/{name}")));
            // sharp rounds heights otherwise.
            let first = calibration::decode(&std::fs::read(with(&made[0], "webp"))?)?;
            let picture = calibration::scale_to(&source, first.width, first.height)?;
            let kind = calibration::kind(&picture);
            // Small drawings look like photographs and stars like drawings; neither says anything about the others.
            if drawn == (kind == Kind::Graphic) {
                references.push(Reference { kind, picture, made });
            }
        }
    }
    Ok(references)
}

fn with(path: &Path, format: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".");
    path.push(format);
    PathBuf::from(path)
}

/// Level or quality, mean score, and the mean logarithm of the bytes.
type Curve = Vec<(f64, f64, f64)>;

fn anchors(targets: &Path, photographs: &[PathBuf], graphics: &[PathBuf]) -> Result<()> {
    let mut references = references(targets, photographs, false)?;
    references.extend(self::references(targets, graphics, true)?);
    let kinds = [Kind::Small, Kind::Medium, Kind::Large, Kind::Graphic];
    // Large ones take most of the time; one in two says as much.
    let of = |kind: Kind| -> Vec<&Reference> {
        let all = references.iter().filter(|reference| reference.kind == kind);
        all.step_by(if kind == Kind::Large { 2 } else { 1 }).collect()
    };
    // JPEG has no alpha, and sharp shows what had one over black.
    let opaque = |kind| of(kind).into_iter().filter(|reference| !reference.picture.alpha).collect();
    let mut sharp = BTreeMap::new();
    for kind in kinds.into_iter().filter(|kind| !of(*kind).is_empty()) {
        println!("# {kind:?}: {} images", of(kind).len());
        for format in ["avif", "webp", "jpeg"] {
            let references = if format == "jpeg" { opaque(kind) } else { of(kind) };
            let curve = curve(&references, &QUALITIES, |reference, quality| {
                let at = QUALITIES.iter().position(|known| *known == quality).context("a quality of the list")?;
                Ok(std::fs::read(with(&reference.made[at], format))?)
            })?;
            let shown: Vec<String> = curve.iter().map(|(quality, score, _)| format!("{quality}: {score:.1}")).collect();
            println!("# sharp, {format}: {}", shown.join(", "));
            sharp.insert((kind, format), curve);
        }
    }
    let aom = |effort| move |kind, coarse| Native::Aom { effort, kind, coarse };
    fit("AOM_FAST", &LADDER_AOM, &sharp, "avif", of, aom(Effort::Fast))?;
    fit("AOM_DENSE", &LADDER_AOM, &sharp, "avif", of, aom(Effort::Dense))?;
    fit("WEBP_FAST", &LADDER, &sharp, "webp", of, |_, _| Native::Webp(Effort::Fast))?;
    fit("WEBP_DENSE", &LADDER, &sharp, "webp", of, |_, _| Native::Webp(Effort::Dense))?;
    fit("MOZJPEG", &LADDER, &sharp, "jpeg", opaque, |_, _| Native::Mozjpeg)?;
    fit("RAV1E", &LADDER, &sharp, "avif", of, |_, _| Native::Rav1e)
}

/// Prints an encoder's scale, and its bytes in sharp's.
fn fit<'a>(
    name: &str,
    ladder: &[u8],
    sharp: &BTreeMap<(Kind, &str), Curve>,
    format: &str,
    of: impl Fn(Kind) -> Vec<&'a Reference>,
    native: impl Fn(Kind, bool) -> Native,
) -> Result<()> {
    println!("const {name}: Scale = Scale {{");
    let mut known: Vec<(Native, Kind, Curve)> = Vec::new();
    for kind in [Kind::Small, Kind::Medium, Kind::Large, Kind::Huge, Kind::Graphic] {
        // What no source is large enough for is judged by the next smaller, at its own setting.
        let judged = if kind == Kind::Huge { Kind::Large } else { kind };
        let Some(target) = sharp.get(&(judged, format)) else { continue };
        let (mut levels, mut ratios) = (Vec::new(), Vec::new());
        let mut push = |coarse: bool, score: f64, bytes: Option<f64>| -> Result<()> {
            let native = native(kind, coarse);
            if !known.iter().any(|(other, of, _)| (*other, *of) == (native, judged)) {
                let encode =
                    |reference: &Reference, level| Ok(calibration::encode_native(&reference.picture, native, level)?);
                known.push((native, judged, curve(&of(judged), ladder, encode)?));
            }
            let found = known.iter().find(|(other, of, _)| (*other, *of) == (native, judged));
            let (level, own) = found.map_or((f64::NAN, f64::NAN), |(_, _, curve)| setting(curve, score));
            levels.push(format!("{level:.1}"));
            ratios.extend(bytes.map(|bytes| format!("{:.2}", (own - bytes).exp())));
            Ok(())
        };
        for (at, (quality, score, bytes)) in target.iter().enumerate() {
            push(*quality <= f64::from(COARSE), *score, Some(*bytes))?;
            if *quality == f64::from(COARSE) {
                let next = target[at + 1];
                push(false, score + (next.1 - score) / (next.0 - quality), None)?;
            }
        }
        println!("    // bytes in sharp's: {}", ratios.join(", "));
        println!("    {}: [{}],", format!("{kind:?}").to_lowercase(), levels.join(", "));
    }
    println!("}};");
    Ok(())
}

/// Means over all references, at every step.
fn curve(
    references: &[&Reference],
    ladder: &[u8],
    encode: impl Fn(&Reference, u8) -> Result<Vec<u8>> + Sync,
) -> Result<Curve> {
    let jobs: Vec<(usize, &Reference)> =
        (0..ladder.len()).flat_map(|step| references.iter().map(move |reference| (step, *reference))).collect();
    let next = AtomicUsize::new(0);
    let sums = Mutex::new(vec![(0.0, 0.0); ladder.len()]);
    let work = || -> Result<()> {
        while let Some((step, reference)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let bytes = encode(reference, ladder[*step])?;
            let score = score(&reference.picture, &calibration::decode(&bytes)?)?;
            let mut sums = sums.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
            sums[*step].0 += score;
            sums[*step].1 += (bytes.len() as f64).ln();
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().try_for_each(|handle| handle.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
    })?;
    let count = references.len() as f64;
    let sums = sums.into_inner().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    Ok(ladder.iter().zip(sums).map(|(step, (score, bytes))| (f64::from(*step), score / count, bytes / count)).collect())
}

/// Level and logarithm of the bytes at which a curve has this score, between its steps; its nearest end outside.
fn setting(curve: &Curve, score: f64) -> (f64, f64) {
    for pair in curve.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        if (a.1.min(b.1)..=a.1.max(b.1)).contains(&score) {
            let part = (score - a.1) / (b.1 - a.1);
            return (a.0 + (b.0 - a.0) * part, a.2 + (b.2 - a.2) * part);
        }
    }
    let nearest = curve.iter().min_by(|a, b| (a.1 - score).abs().total_cmp(&(b.1 - score).abs()));
    nearest.map_or((f64::NAN, f64::NAN), |point| (point.0, point.2))
}

/// Transparency is shown over white.
fn score(reference: &Picture, encoded: &Picture) -> Result<f64> {
    let linear = |picture: &Picture| {
        let shown = |pixel: &[u8]| {
            let alpha = pixel.get(3).map_or(1.0, |alpha| f32::from(*alpha) / 255.0);
            [pixel[0], pixel[1], pixel[2]].map(|code| f32::from(code) / 255.0 * alpha + 1.0 - alpha)
        };
        let data = picture.pixels.chunks_exact(picture.channels()).map(shown);
        let (width, height) = (picture.width as usize, picture.height as usize);
        Rgb::new(data.collect(), width, height, TransferCharacteristic::SRGB, ColorPrimaries::BT709)
    };
    Ok(compute_frame_ssimulacra2(linear(reference)?, linear(encoded)?)?)
}

fn times(paths: &[PathBuf]) -> Result<()> {
    let quality = Quality::new(75).context("75 is a quality")?;
    for path in paths {
        let picture = &calibration::decode(&std::fs::read(path)?).with_context(|| path.display().to_string())?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let megapixels = f64::from(picture.width) * f64::from(picture.height) / 1e6;
        let (hash, _) = median(|| calibration::placeholder(picture).map(|set| set.png.len()))?;
        print!("{name:<28} {megapixels:5.1} MP  placeholder {:5.1} ms", ms(hash));
        for width in [640, 1080, 1920] {
            let mut scaled = None;
            let (resize, _) = median(|| -> Result<usize> {
                let out = calibration::scale(picture, width)?;
                let size = out.pixels.len();
                scaled = Some(out);
                Ok(size)
            })?;
            let scaled = scaled.context("scaled")?;
            print!("\n  {:>4}x{:<4} resize {:5.1} ms", scaled.width, scaled.height, ms(resize));
            for format in ImageFormat::OUTPUTS {
                let (time, bytes) =
                    median(|| calibration::encode(&scaled, format, quality, Effort::Fast).map(|bytes| bytes.len()))?;
                print!("  {format} {:6.1} ms {bytes:>8}", ms(time));
            }
        }
        println!();
    }
    Ok(())
}

const RUNS: usize = 5;

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Time this thread has had a processor (Linux: other work on the machine does not count), else time since `start`.
fn cpu(start: Instant) -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let spent = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    spent.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// Median time of a few runs, and what the last gave.
fn median<E: Into<anyhow::Error>>(mut run: impl FnMut() -> Result<usize, E>) -> Result<(Duration, usize)> {
    let mut taken = Vec::with_capacity(RUNS);
    let mut value = 0;
    let start = Instant::now();
    for _ in 0..RUNS {
        let before = cpu(start);
        value = run().map_err(Into::into)?;
        taken.push(cpu(start).saturating_sub(before));
    }
    taken.sort_unstable();
    Ok((taken[RUNS / 2], value))
}
