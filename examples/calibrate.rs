//! Measures encoders on pictures: `cargo run --release --example calibrate -- anchors|small|drawings|times DIR|FILE...`.
//!
//! `anchors` prints the rows of `src/imaging/codec/quality.rs`, of photographs: the native settings at which each encoder's
//! mean SSIMULACRA2, at 640 and 1080 pixels against the picture scaled in linear light, is libwebp's. `small` prints
//! libaom's for small ones, at 192, 256 and 384 pixels; `drawings` prints libaom's for graphics. `times` prints milliseconds
//! of CPU and bytes at quality 75. Reads only; takes minutes. Transparency is shown over white.
#![expect(clippy::print_stdout, reason = "a tool that prints a table")]

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use pixgate::format::ImageFormat;
use pixgate::imaging::Picture;
use pixgate::imaging::calibration::{self, Native};
use pixgate::variant::{Effort, Quality};
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

const WIDTHS: [u32; 2] = [640, 1080];
const SMALL_WIDTHS: [u32; 3] = [192, 256, 384];
const ANCHORS: [u8; 10] = [1, 10, 25, 50, 60, 70, 75, 80, 85, 90];
const LADDER_AOM: [u8; 14] = [1, 4, 8, 12, 16, 20, 23, 26, 29, 33, 39, 46, 54, 63];
const LADDER: [u8; 14] = [5, 10, 20, 30, 40, 48, 55, 61, 67, 73, 79, 85, 90, 96];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: calibrate anchors|small|drawings|times DIR|FILE...";
    let mode = arguments.next().context(usage)?;
    let mut paths = Vec::new();
    for path in arguments.map(PathBuf::from) {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path).with_context(|| path.display().to_string())? {
                paths.push(entry?.path());
            }
        } else {
            paths.push(path);
        }
    }
    paths.sort();
    let mut pictures = Vec::new();
    for path in paths {
        match std::fs::read(&path).ok().map(|bytes| calibration::decode(&bytes)) {
            // JPEG has no alpha.
            Some(Ok(picture)) if !picture.alpha || mode == "drawings" => pictures.push((path, picture)),
            _ => println!("# left out: {}", path.display()),
        }
    }
    anyhow::ensure!(!pictures.is_empty(), usage);
    println!("# {} pictures", pictures.len());
    match mode.as_str() {
        "anchors" => anchors(&pictures),
        "small" => levels(&pictures, &SMALL_WIDTHS),
        "drawings" => levels(&pictures, &WIDTHS),
        "times" => times(&pictures),
        other => anyhow::bail!("unknown mode {other}; {usage}"),
    }
}

fn scaled(pictures: &[(PathBuf, Picture)], widths: &[u32]) -> Result<Vec<Picture>> {
    let mut references = Vec::new();
    for (_, picture) in pictures {
        for width in widths {
            references.push(calibration::scale(picture, *width)?);
        }
    }
    Ok(references)
}

fn levels(pictures: &[(PathBuf, Picture)], widths: &[u32]) -> Result<()> {
    let references = scaled(pictures, widths)?;
    let webp = curve(&references, &ANCHORS, Native::Webp)?;
    let aom = curve(&references, &LADDER_AOM, Native::Aom)?;
    let dense = curve(&references, &LADDER_AOM, Native::AomDense)?;
    println!("# quality: score (webp bytes) -> libaom (bytes), dense (bytes)");
    for (quality, score, bytes) in &webp {
        let [a, d] = [&aom, &dense].map(|curve| setting(curve, *score));
        println!("# {quality:>3}: {score:5.1} ({bytes:.0}) -> {:.1} ({:.0}), {:.1} ({:.0})", a.0, a.1, d.0, d.1);
    }
    Ok(())
}

/// One encoder's mean score and bytes at each of its settings.
type Curve = Vec<(f64, f64, f64)>;

fn anchors(pictures: &[(PathBuf, Picture)]) -> Result<()> {
    let references = scaled(pictures, &WIDTHS)?;
    let webp = curve(&references, &ANCHORS, Native::Webp)?;
    let aom = curve(&references, &LADDER_AOM, Native::Aom)?;
    let dense = curve(&references, &LADDER_AOM, Native::AomDense)?;
    let webp_dense = curve(&references, &LADDER, Native::WebpDense)?;
    let mozjpeg = curve(&references, &LADDER, Native::Mozjpeg)?;
    let rav1e = curve(&references, &LADDER, Native::Rav1e)?;
    println!(
        "# quality: score (webp bytes) -> libaom (bytes), dense (bytes), rav1e (bytes), mozjpeg (bytes), dense webp (bytes)"
    );
    for (quality, score, bytes) in &webp {
        let [a, d, r, m, w] = [&aom, &dense, &rav1e, &mozjpeg, &webp_dense].map(|curve| setting(curve, *score));
        println!(
            "# {quality:>3}: {score:5.1} ({bytes:.0}) -> {:.1} ({:.0}), {:.1} ({:.0}), {:.1} ({:.0}), {:.1} ({:.0}), {:.1} ({:.0})",
            a.0, a.1, d.0, d.1, r.0, r.1, m.0, m.1, w.0, w.1
        );
    }
    for (quality, score, _) in &webp {
        let [a, d, r, m, w] =
            [&aom, &dense, &rav1e, &mozjpeg, &webp_dense].map(|curve| setting(curve, *score).0.round());
        println!("    anchor({quality:.1}, ({a:.1}, _, {d:.1}), (_, _), {r:.1}, {m:.1}, {w:.1}),");
    }
    Ok(())
}

/// Mean score and bytes over all references, at every setting.
fn curve(references: &[Picture], ladder: &[u8], native: impl Fn(u8) -> Native + Sync) -> Result<Curve> {
    let jobs: Vec<(usize, &Picture)> =
        (0..ladder.len()).flat_map(|step| references.iter().map(move |picture| (step, picture))).collect();
    let next = AtomicUsize::new(0);
    let sums = Mutex::new(vec![(0.0, 0.0); ladder.len()]);
    let work = || -> Result<()> {
        while let Some((step, reference)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let bytes = calibration::encode_native(reference, native(ladder[*step]))?;
            let score = score(reference, &calibration::decode(&bytes)?)?;
            let mut sums = sums.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
            sums[*step].0 += score;
            sums[*step].1 += bytes.len() as f64;
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

/// Setting and bytes at which a curve has this score, between its steps; its nearest end outside.
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

fn times(pictures: &[(PathBuf, Picture)]) -> Result<()> {
    let quality = Quality::new(75).context("75 is a quality")?;
    for (path, picture) in pictures {
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
