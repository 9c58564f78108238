//! BlurHash, encoding only, after its specification (<https://github.com/woltapp/blurhash/blob/master/Algorithm.md>).
//!
//! Our own few lines because the crate of that name rounds the average colour up by one code value, so that black does
//! not hash to what every other implementation gives; it judges the decoding in our tests.

use std::f32::consts::PI;

/// The digits of base 83, in order.
const DIGITS: &[u8; 83] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~";

/// Hashes three-sample sRGB pixels, rows of `width`, into `across` x `down` components, 1 to 9 each.
pub(super) fn encode(pixels: &[u8], width: usize, across: usize, down: usize) -> String {
    let height = pixels.len() / 3 / width.max(1);
    let light: [f32; 256] = std::array::from_fn(|code| to_linear(code as f32 / 255.0));
    let waves = |count: usize, size: usize| -> Vec<Vec<f32>> {
        let wave = |component: usize| (0..size).map(move |at| (PI * component as f32 * at as f32 / size as f32).cos());
        (0..count).map(|component| wave(component).collect()).collect()
    };
    let (columns, rows) = (waves(across, width), waves(down, height));

    let mut factors = Vec::with_capacity(across * down);
    for row_wave in &rows {
        for column_wave in &columns {
            let mut sum = [0.0_f32; 3];
            for (line, vertical) in pixels.chunks_exact(width * 3).zip(row_wave) {
                for (pixel, horizontal) in line.chunks_exact(3).zip(column_wave) {
                    for (sum, code) in sum.iter_mut().zip(pixel) {
                        *sum += vertical * horizontal * light[usize::from(*code)];
                    }
                }
            }
            // Waves have half the energy of the constant.
            let norm = if factors.is_empty() { 1.0 } else { 2.0 } / (width * height) as f32;
            factors.push(sum.map(|sum| sum * norm));
        }
    }

    let mut hash = String::with_capacity(4 + 2 * factors.len());
    digits(&mut hash, (across - 1) + (down - 1) * 9, 1);
    let (average, waves) = factors.split_first().map_or(([0.0; 3], &[][..]), |(first, rest)| (*first, rest));
    let largest = waves.iter().flatten().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let step = ((largest * 166.0 - 0.5).floor().clamp(0.0, 82.0)) as usize;
    digits(&mut hash, step, 1);
    let codes = average.map(|light| (to_srgb(light.clamp(0.0, 1.0)) * 255.0 + 0.5) as usize);
    digits(&mut hash, codes[0] << 16 | codes[1] << 8 | codes[2], 4);
    let scale = (step + 1) as f32 / 166.0;
    for wave in waves {
        let level = |value: f32| {
            let root = (value / scale).abs().sqrt().copysign(value);
            (root * 9.0 + 9.5).floor().clamp(0.0, 18.0) as usize
        };
        digits(&mut hash, (level(wave[0]) * 19 + level(wave[1])) * 19 + level(wave[2]), 2);
    }
    hash
}

/// Appends `value` as `count` digits.
fn digits(hash: &mut String, value: usize, count: u32) {
    for place in (0..count).rev() {
        hash.push(char::from(DIGITS[value / 83_usize.pow(place) % 83]));
    }
}

fn to_linear(value: f32) -> f32 {
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

fn to_srgb(light: f32) -> f32 {
    if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
}
