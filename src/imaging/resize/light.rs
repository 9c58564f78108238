//! Between 8-bit sRGB and linear light with premultiplied alpha, as floating point, 0 to 1.
//!
//! Invariant: **8 bits to light and back is the identity** for opaque pixels, so nothing drifts that is not scaled.
//! The curve is that of IEC 61966-2-1. On the way in it is a polynomial, because that is computed for eight samples at once
//! where a table is read for one; on the way out it is a table.

use std::sync::LazyLock;

use multiversion::target::target_cfg_f;

use super::convolve::Wide;

/// sRGB code value of light in steps of 1/65535.
static TO_SRGB: LazyLock<Box<[u8; 65_536]>> = LazyLock::new(|| {
    let mut table = Box::new([0; 65_536]);
    for (light, code) in table.iter_mut().enumerate() {
        let light = light as f64 / 65_535.0;
        let value = if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
        *code = (value * 255.0).round() as u8;
    }
    table
});

/// `a * b + c`: rounded once where that is one instruction. Elsewhere `mul_add` would be a call.
#[inline(always)]
pub(super) fn fused<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Light of a code value: the straight part of the curve up to 10, then the polynomial of the fifth degree with the least
/// error at the other 245 code values, which is a fortieth of half a step between two of them.
#[inline(always)]
fn light<const FUSED: bool>(code: u8) -> f32 {
    const CURVE: [f32; 6] = [0.000_923_651_9, 0.032_588_83, 0.520_476_4, 0.664_134_9, -0.303_848_5, 0.085_830_34];
    let x = f32::from(code) * (1.0 / 255.0);
    let curve = CURVE[..5].iter().rev().fold(CURVE[5], |sum, part| fused::<FUSED>(sum, x, *part));
    if code <= 10 { x * (1.0 / 12.92) } else { curve }
}

#[inline(always)]
fn premultiplied<const FUSED: bool>(pixel: [u8; 4]) -> [f32; 4] {
    let alpha = f32::from(pixel[3]) * (1.0 / 255.0);
    let lit = pixel.map(light::<FUSED>);
    [lit[0] * alpha, lit[1] * alpha, lit[2] * alpha, alpha]
}

/// Writes the light of samples, three (or four, with alpha) a pixel.
pub(super) fn write<const CHANNELS: usize>(codes: &[u8], line: &mut [f32]) {
    if CHANNELS == 3 { write_opaque(codes, line) } else { write_alpha(codes, line) }
}

/// Adds the light of samples.
pub(super) fn add<const CHANNELS: usize>(codes: &[u8], line: &mut [f32]) {
    if CHANNELS == 3 { add_opaque(codes, line) } else { add_alpha(codes, line) }
}

for_processors! {
    fn write_opaque(codes: &[u8], line: &mut [f32]) {
        const FUSED: bool = target_cfg_f!(target_feature = "fma");
        for (sample, code) in line.iter_mut().zip(codes) {
            *sample = light::<FUSED>(*code);
        }
    }
}

for_processors! {
    fn add_opaque(codes: &[u8], line: &mut [f32]) {
        const FUSED: bool = target_cfg_f!(target_feature = "fma");
        for (sample, code) in line.iter_mut().zip(codes) {
            *sample += light::<FUSED>(*code);
        }
    }
}

for_processors! {
    fn write_alpha(codes: &[u8], line: &mut [f32]) {
        const FUSED: bool = target_cfg_f!(target_feature = "fma");
        let (pixels, _) = codes.as_chunks::<4>();
        let (line, _) = line.as_chunks_mut::<4>();
        for (out, pixel) in line.iter_mut().zip(pixels) {
            *out = premultiplied::<FUSED>(*pixel);
        }
    }
}

for_processors! {
    fn add_alpha(codes: &[u8], line: &mut [f32]) {
        const FUSED: bool = target_cfg_f!(target_feature = "fma");
        let (pixels, _) = codes.as_chunks::<4>();
        let (line, _) = line.as_chunks_mut::<4>();
        for (out, pixel) in line.iter_mut().zip(pixels) {
            let lit = premultiplied::<FUSED>(*pixel);
            for (sum, sample) in out.iter_mut().zip(lit) {
                *sum += sample;
            }
        }
    }
}

/// Pixels whose places in the table are found together.
const STRIP: usize = 64;

/// Straight 8-bit sRGB samples of pixels of light, of their row `row`; the fourth is alpha, which is left out of three
/// channels. Places in the table are computed for many samples at once, the table is read for one.
pub(super) fn store<const CHANNELS: usize>(pixels: &[Wide], row: usize, out: &mut [u8]) {
    let table: &[u8; 65_536] = &TO_SRGB;
    let code = |place: u32| table[usize::from(place as u16)];
    let mut places = [[0; 4]; STRIP];
    for (pixels, out) in pixels.chunks(STRIP).zip(out.chunks_mut(STRIP * CHANNELS)) {
        let places = &mut places[..pixels.len()];
        if CHANNELS == 3 {
            places_opaque(pixels, row, places)
        } else {
            places_alpha(pixels, row, places)
        }
        for (out, [r, g, b, opacity]) in out.chunks_exact_mut(CHANNELS).zip(places) {
            let [r, g, b] = [code(*r), code(*g), code(*b)];
            if CHANNELS == 3 {
                out.copy_from_slice(&[r, g, b]);
            } else {
                out.copy_from_slice(&[r, g, b, *opacity as u8]);
            }
        }
    }
}

/// The nearest of the whole numbers 0 to `steps`, at most 65535. Not a number and what Lanczos overshoots become the
/// nearest end.
#[inline(always)]
fn place(light: f32, steps: f32) -> u32 {
    // From 2^23 on the last bit of a mantissa is 1: adding rounds to a whole number, which the bits then spell.
    const WHOLE: f32 = 8_388_608.0;
    // `max` gives the number where the other is none, which `clamp` would keep.
    #[expect(clippy::manual_clamp, reason = "see above")]
    let within = light.max(0.0).min(1.0);
    (within * steps + WHOLE).to_bits() - WHOLE.to_bits()
}

for_processors! {
    fn places_opaque(pixels: &[Wide], row: usize, places: &mut [[u32; 4]]) {
        for (places, pixels) in places.iter_mut().zip(pixels) {
            *places = pixels.as_chunks::<4>().0[row].map(|light| place(light, 65_535.0));
        }
    }
}

for_processors! {
    fn places_alpha(pixels: &[Wide], row: usize, places: &mut [[u32; 4]]) {
        for (places, pixels) in places.iter_mut().zip(pixels) {
            let [r, g, b, alpha] = pixels.as_chunks::<4>().0[row];
            let opacity = place(alpha, 255.0);
            let straight = match opacity {
                0 => 0.0,
                255 => 1.0,
                _ => 1.0 / alpha,
            };
            let [r, g, b] = [r, g, b].map(|light| place(light * straight, 65_535.0));
            *places = [r, g, b, opacity];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels as the second row of a pair; the first is of no colour.
    fn second_of<'a>(pixels: impl Iterator<Item = &'a [f32]>) -> Vec<Wide> {
        let pair = |pixel: &[f32]| {
            let mut wide = [0.5; 8];
            wide[4..4 + pixel.len()].copy_from_slice(pixel);
            wide
        };
        pixels.map(pair).collect()
    }

    /// There and back.
    fn returned<const CHANNELS: usize>(codes: &[u8]) -> Vec<u8> {
        let mut line = vec![0.0; codes.len()];
        write::<CHANNELS>(codes, &mut line);
        let mut out = vec![0; codes.len()];
        store::<CHANNELS>(&second_of(line.chunks_exact(CHANNELS)), 1, &mut out);
        out
    }

    #[test]
    fn every_code_value_survives_the_round_trip() {
        let pixels: Vec<u8> = (0..=255).flat_map(|code| [code, 255 - code, code / 2]).collect();
        assert_eq!(returned::<3>(&pixels), pixels);
        let opaque: Vec<u8> = pixels.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
        assert_eq!(returned::<4>(&opaque), opaque);
        let half: Vec<u8> = pixels.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 128]).collect();
        assert_eq!(returned::<4>(&half), half);
    }

    #[test]
    fn the_curve_is_srgbs() {
        for code in 0..=255_u8 {
            let value = f64::from(code) / 255.0;
            let exact = if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
            let step = 1.055 / 2.4 * 255.0 * exact.max(0.000_3).powf(1.0 / 2.4 - 1.0);
            assert!(
                ((f64::from(light::<false>(code)) - exact) * step).abs() < 0.015,
                "{code}: {} for {exact}",
                light::<false>(code)
            );
        }
        // 188 is half the light of 255, the well-known test value.
        assert_eq!(TO_SRGB[32_768], 188);
    }

    #[test]
    fn what_overshoots_and_what_is_no_number_is_a_colour() {
        let mut out = [9; 8];
        let pixels = [[2.0, -1.0, f32::NAN, 0.5], [0.5, 0.5, 0.5, -0.2]];
        store::<4>(&second_of(pixels.iter().map(|pixel| pixel.as_slice())), 1, &mut out);
        assert_eq!(out, [255, 0, 0, 128, 0, 0, 0, 0]);
    }
}
