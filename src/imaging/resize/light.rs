//! Between 8-bit sRGB and linear light with premultiplied alpha, as floating point, 0 to 1.
//!
//! The law: **8 bits to light and back is the identity** for opaque pixels, so nothing drifts that is not scaled.
//! The curve is that of IEC 61966-2-1. On the way in it is a polynomial, because that is computed for eight samples at once
//! where a table is read for one; on the way out it is a table.

use std::sync::LazyLock;

use multiversion::multiversion;

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

/// Light of a code value: the straight part of the curve up to 10, then the polynomial of the fifth degree with the least
/// error at the other 245 code values, which is a fortieth of half a step between two of them.
#[inline(always)]
fn light(code: u8) -> f32 {
    const CURVE: [f32; 6] = [0.000_923_651_9, 0.032_588_83, 0.520_476_4, 0.664_134_9, -0.303_848_5, 0.085_830_34];
    let x = f32::from(code) * (1.0 / 255.0);
    let curve = ((((CURVE[5] * x + CURVE[4]) * x + CURVE[3]) * x + CURVE[2]) * x + CURVE[1]) * x + CURVE[0];
    if code <= 10 { x * (1.0 / 12.92) } else { curve }
}

#[inline(always)]
fn premultiplied(pixel: [u8; 4]) -> [f32; 4] {
    let alpha = f32::from(pixel[3]) * (1.0 / 255.0);
    let lit = pixel.map(light);
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

#[multiversion(targets("x86_64+avx2"))]
fn write_opaque(codes: &[u8], line: &mut [f32]) {
    for (sample, code) in line.iter_mut().zip(codes) {
        *sample = light(*code);
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn add_opaque(codes: &[u8], line: &mut [f32]) {
    for (sample, code) in line.iter_mut().zip(codes) {
        *sample += light(*code);
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn write_alpha(codes: &[u8], line: &mut [f32]) {
    let (pixels, _) = codes.as_chunks::<4>();
    let (line, _) = line.as_chunks_mut::<4>();
    for (out, pixel) in line.iter_mut().zip(pixels) {
        *out = premultiplied(*pixel);
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn add_alpha(codes: &[u8], line: &mut [f32]) {
    let (pixels, _) = codes.as_chunks::<4>();
    let (line, _) = line.as_chunks_mut::<4>();
    for (out, pixel) in line.iter_mut().zip(pixels) {
        let lit = premultiplied(*pixel);
        for (sum, sample) in out.iter_mut().zip(lit) {
            *sum += sample;
        }
    }
}

/// Straight 8-bit sRGB samples of pixels of light; the fourth is alpha, which is left out of three channels.
pub(super) fn store<'a, const CHANNELS: usize>(pixels: impl Iterator<Item = &'a [f32; 4]>, out: &mut [u8]) {
    let table: &[u8; 65_536] = &TO_SRGB;
    // Not a number and what Lanczos overshoots become the nearest end.
    let code = |light: f32| table[usize::from((light * 65_535.0 + 0.5) as u16)];
    for (out, light) in out.chunks_exact_mut(CHANNELS).zip(pixels) {
        if CHANNELS == 3 {
            out.copy_from_slice(&[code(light[0]), code(light[1]), code(light[2])]);
            continue;
        }
        let alpha = light[3].clamp(0.0, 1.0);
        let opacity = (alpha * 255.0 + 0.5) as u8;
        let straight = match opacity {
            0 => [0; 3],
            255 => [code(light[0]), code(light[1]), code(light[2])],
            _ => [light[0] / alpha, light[1] / alpha, light[2] / alpha].map(code),
        };
        out.copy_from_slice(&[straight[0], straight[1], straight[2], opacity]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There and back.
    fn returned<const CHANNELS: usize>(codes: &[u8]) -> Vec<u8> {
        let mut line = vec![0.0; codes.len()];
        write::<CHANNELS>(codes, &mut line);
        let pixels: Vec<[f32; 4]> =
            line.chunks_exact(CHANNELS).map(|p| [p[0], p[1], p[2], p.get(3).copied().unwrap_or(1.0)]).collect();
        let mut out = vec![0; codes.len()];
        store::<CHANNELS>(pixels.iter(), &mut out);
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
            assert!(((f64::from(light(code)) - exact) * step).abs() < 0.015, "{code}: {} for {exact}", light(code));
        }
        // 188 is half the light of 255, the well-known test value.
        assert_eq!(TO_SRGB[32_768], 188);
    }

    #[test]
    fn what_overshoots_and_what_is_no_number_is_a_colour() {
        let mut out = [9; 8];
        store::<4>([[2.0, -1.0, f32::NAN, 0.5], [0.5, 0.5, 0.5, -0.2]].iter(), &mut out);
        assert_eq!(out, [255, 0, 0, 128, 0, 0, 0, 0]);
    }
}
