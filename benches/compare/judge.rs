//! How near an output is to what it should show: SSIMULACRA2 against the source, decoded in full and scaled by Lanczos3
//! in linear light, in floating point, to the output's own size. The service's own scaling has no part in it.
//!
//! With alpha, an output is judged over white and over black, as CSS would composite it, and the mean counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32x4;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use pixgate::imaging::{Picture, calibration};
use sha2::{Digest as _, Sha256};
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

use super::pictures::Source;

/// Red, green and blue as sRGB from 0 to 1, and alpha, not premultiplied.
struct Deep {
    width: u32,
    height: u32,
    pixels: Vec<[f32; 4]>,
    alpha: bool,
}

/// A source scaled to a size.
type Reference = (String, (u32, u32));

#[derive(Default)]
pub(crate) struct Judge {
    references: Mutex<HashMap<Reference, Arc<Deep>>>,
    /// By source and output: peers that give the same bytes get the same score once.
    scores: Mutex<HashMap<(String, [u8; 32]), f64>>,
}

impl Judge {
    /// The scores of outputs, each with the source it was made of; NaN for what cannot be decoded. Uses all processors.
    pub(crate) fn scores(&self, outputs: &[(&Source, &[u8])]) -> Vec<f64> {
        let next = AtomicUsize::new(0);
        let scores = Mutex::new(vec![f64::NAN; outputs.len()]);
        let work = || {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((source, output)) = outputs.get(at) else { return };
                let score = self.score(source, output).unwrap_or(f64::NAN);
                scores.lock().expect("no thread panics")[at] = score;
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
        });
        scores.into_inner().expect("no thread panicked")
    }

    fn score(&self, source: &Source, output: &[u8]) -> Option<f64> {
        let key = (source.name.clone(), Sha256::digest(output).into());
        if let Some(score) = self.scores.lock().expect("no thread panics").get(&key) {
            return Some(*score);
        }
        let output = Deep::of(&calibration::decode(output).ok()?);
        let reference = self.reference(source, (output.width, output.height))?;
        let grounds: &[f32] = if reference.alpha || output.alpha { &[1.0, 0.0] } else { &[1.0] };
        let mut sum = 0.0;
        for ground in grounds {
            sum += compute_frame_ssimulacra2(reference.over(*ground), output.over(*ground)).ok()?;
        }
        let score = sum / grounds.len() as f64;
        self.scores.lock().expect("no thread panics").insert(key, score);
        Some(score)
    }

    fn reference(&self, source: &Source, size: (u32, u32)) -> Option<Arc<Deep>> {
        let key = (source.name.clone(), size);
        if let Some(known) = self.references.lock().expect("no thread panics").get(&key) {
            return Some(Arc::clone(known));
        }
        let reference = Arc::new(scaled(&calibration::decode(&source.bytes).ok()?, size)?);
        self.references.lock().expect("no thread panics").insert(key, Arc::clone(&reference));
        Some(reference)
    }
}

impl Deep {
    fn of(picture: &Picture) -> Self {
        let (channels, alpha) = if picture.alpha { (4, true) } else { (3, false) };
        let unit = |code: u8| f32::from(code) / 255.0;
        let pixel = |p: &[u8]| [unit(p[0]), unit(p[1]), unit(p[2]), if alpha { unit(p[3]) } else { 1.0 }];
        let pixels = picture.pixels.chunks_exact(channels).map(pixel).collect();
        Self { width: picture.width, height: picture.height, pixels, alpha }
    }

    /// Composited over a grey, on sRGB values.
    fn over(&self, ground: f32) -> Rgb {
        let flat = |p: &[f32; 4]| [p[0], p[1], p[2]].map(|code| code * p[3] + ground * (1.0 - p[3]));
        let data = self.pixels.iter().map(flat).collect();
        let (width, height) = (self.width as usize, self.height as usize);
        Rgb::new(data, width, height, TransferCharacteristic::SRGB, ColorPrimaries::BT709)
            .expect("as many as the size says")
    }
}

/// IEC 61966-2-1, both ways.
fn to_linear(code: f32) -> f32 {
    if code <= 0.040_45 { code / 12.92 } else { ((code + 0.055) / 1.055).powf(2.4) }
}

fn to_srgb(light: f32) -> f32 {
    if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}

fn scaled(picture: &Picture, size: (u32, u32)) -> Option<Deep> {
    let deep = Deep::of(picture);
    if (deep.width, deep.height) == size {
        return Some(deep);
    }
    let light: Vec<f32> = (0..=255_u8).map(|code| to_linear(f32::from(code) / 255.0)).collect();
    let lit = |code: f32, alpha: f32| light[(code * 255.0).round() as usize] * alpha;
    let premultiplied = |p: &[f32; 4]| F32x4::new([lit(p[0], p[3]), lit(p[1], p[3]), lit(p[2], p[3]), p[3]]);
    let pixels: Vec<F32x4> = deep.pixels.iter().map(premultiplied).collect();
    let alpha = deep.alpha;
    drop(deep.pixels);
    let from = TypedImageRef::new(picture.width, picture.height, &pixels).ok()?;
    let mut to = TypedImage::<F32x4>::new(size.0, size.1);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3)).use_alpha(false);
    Resizer::new().resize_typed(&from, &mut to, &options).ok()?;
    let straight = |pixel: &F32x4| {
        let [r, g, b, a] = pixel.0;
        let a = a.clamp(0.0, 1.0);
        let code = |light: f32| if a > 0.0 { to_srgb((light / a).clamp(0.0, 1.0)) } else { 0.0 };
        [code(r), code(g), code(b), a]
    };
    Some(Deep { width: size.0, height: size.1, pixels: to.pixels().iter().map(straight).collect(), alpha })
}
