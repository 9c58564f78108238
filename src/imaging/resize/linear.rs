//! Between 8-bit sRGB and 16-bit linear light with premultiplied alpha, and the box pass on the way in.
//!
//! The law: **8 bits to 16 and back is the identity** for opaque pixels, so nothing drifts that is not scaled.
//! The curve is that of IEC 61966-2-1, in tables; 16 bits hold its steepest part with 19 steps a code value.

use std::sync::LazyLock;

use fast_image_resize::pixels::{U16x3, U16x4};

use super::Picture;

/// Linear light, 0 to 65535, of an sRGB code value.
static TO_LINEAR: LazyLock<[u16; 256]> = LazyLock::new(|| {
    std::array::from_fn(|code| {
        let value = code as f64 / 255.0;
        let light = if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
        (light * 65_535.0).round() as u16
    })
});

/// sRGB code value of linear light, 0 to 65535.
static TO_SRGB: LazyLock<Box<[u8; 65_536]>> = LazyLock::new(|| {
    let mut table = Box::new([0; 65_536]);
    for (light, code) in table.iter_mut().enumerate() {
        let light = light as f64 / 65_535.0;
        let value = if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
        *code = (value * 255.0).round() as u8;
    }
    table
});

/// A pixel in linear light, premultiplied where it has alpha.
pub(super) trait Linear: Copy + Default {
    /// Sum of the samples of several pixels.
    type Sum: Copy + Default;
    /// Samples of one pixel.
    const CHANNELS: usize;
    /// Reads one straight sRGB pixel.
    fn load(pixel: &[u8], table: &[u16; 256]) -> Self;
    /// Adds to a sum; 65536 pixels fit.
    fn add(self, sum: &mut Self::Sum);
    /// The mean of a sum of `count` pixels.
    fn mean(sum: &Self::Sum, count: u32) -> Self;
    /// Appends the straight sRGB pixel.
    fn store(self, table: &[u8; 65_536], out: &mut Vec<u8>);
}

impl Linear for U16x3 {
    type Sum = [u32; 3];
    const CHANNELS: usize = 3;

    #[inline(always)]
    fn load(pixel: &[u8], table: &[u16; 256]) -> Self {
        Self::new([table[usize::from(pixel[0])], table[usize::from(pixel[1])], table[usize::from(pixel[2])]])
    }

    #[inline(always)]
    fn add(self, sum: &mut [u32; 3]) {
        for (sum, sample) in sum.iter_mut().zip(self.0) {
            *sum += u32::from(sample);
        }
    }

    #[inline(always)]
    fn mean(sum: &[u32; 3], count: u32) -> Self {
        Self::new(sum.map(|sum| ((sum + count / 2) / count) as u16))
    }

    #[inline(always)]
    fn store(self, table: &[u8; 65_536], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.map(|light| table[usize::from(light)]));
    }
}

impl Linear for U16x4 {
    type Sum = [u32; 4];
    const CHANNELS: usize = 4;

    #[inline(always)]
    fn load(pixel: &[u8], table: &[u16; 256]) -> Self {
        let alpha = u32::from(pixel[3]);
        let premultiplied = |code: u8| ((u32::from(table[usize::from(code)]) * alpha + 127) / 255) as u16;
        Self::new([premultiplied(pixel[0]), premultiplied(pixel[1]), premultiplied(pixel[2]), (alpha * 257) as u16])
    }

    #[inline(always)]
    fn add(self, sum: &mut [u32; 4]) {
        for (sum, sample) in sum.iter_mut().zip(self.0) {
            *sum += u32::from(sample);
        }
    }

    #[inline(always)]
    fn mean(sum: &[u32; 4], count: u32) -> Self {
        Self::new(sum.map(|sum| ((sum + count / 2) / count) as u16))
    }

    #[inline(always)]
    fn store(self, table: &[u8; 65_536], out: &mut Vec<u8>) {
        let alpha = u32::from(self.0[3]);
        let code = (alpha + 128) / 257;
        if code == 0 {
            out.extend_from_slice(&[0; 4]);
            return;
        }
        // Lanczos overshoots, so colour may exceed its alpha.
        let straight = |light: u16| table[((u32::from(light) * 65_535 + alpha / 2) / alpha).min(65_535) as usize];
        out.extend_from_slice(&[straight(self.0[0]), straight(self.0[1]), straight(self.0[2]), code as u8]);
    }
}

/// Straight 8-bit sRGB samples of linear pixels.
pub(super) fn to_srgb<P: Linear>(pixels: &[P]) -> Vec<u8> {
    let table: &[u8; 65_536] = &TO_SRGB;
    let mut out = Vec::with_capacity(pixels.len() * P::CHANNELS);
    for pixel in pixels {
        pixel.store(table, &mut out);
    }
    out
}

/// Reads an area of a picture as linear light, each pixel the mean of a box of the source's.
pub(super) struct BoxReducer<'a> {
    picture: &'a Picture,
    origin: (usize, usize),
    area: (usize, usize),
    factors: (usize, usize),
}

impl<'a> BoxReducer<'a> {
    /// `area` pixels of `picture` from `origin`, in boxes of `factors` pixels.
    pub(super) fn new(picture: &'a Picture, origin: (u32, u32), area: (u32, u32), factors: (u32, u32)) -> Self {
        let pair = |(a, b): (u32, u32)| (a as usize, b as usize);
        Self { picture, origin: pair(origin), area: pair(area), factors: pair(factors) }
    }

    /// Boxes across and down; the last of each may be partial.
    pub(super) fn size(&self) -> (u32, u32) {
        (self.area.0.div_ceil(self.factors.0) as u32, self.area.1.div_ceil(self.factors.1) as u32)
    }

    /// Fills whole rows of boxes, from row `first`.
    pub(super) fn fill<P: Linear>(&self, first: u32, out: &mut [P]) {
        let table: &[u16; 256] = &TO_LINEAR;
        let width = self.area.0.div_ceil(self.factors.0);
        let mut sums = vec![P::Sum::default(); if self.factors == (1, 1) { 0 } else { width }];
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            let top = (first as usize + row) * self.factors.1;
            let rows = top..(top + self.factors.1).min(self.area.1);
            if self.factors == (1, 1) {
                for (out, pixel) in out.iter_mut().zip(self.row::<P>(top).chunks_exact(P::CHANNELS)) {
                    *out = P::load(pixel, table);
                }
                continue;
            }
            sums.fill(P::Sum::default());
            let count = rows.len();
            for y in rows {
                for (sum, pixels) in sums.iter_mut().zip(self.row::<P>(y).chunks(P::CHANNELS * self.factors.0)) {
                    for pixel in pixels.chunks_exact(P::CHANNELS) {
                        P::load(pixel, table).add(sum);
                    }
                }
            }
            for (at, (out, sum)) in out.iter_mut().zip(&sums).enumerate() {
                let columns = self.factors.0.min(self.area.0 - at * self.factors.0);
                *out = P::mean(sum, (count * columns) as u32);
            }
        }
    }

    /// The samples of row `y` of the area.
    fn row<P: Linear>(&self, y: usize) -> &[u8] {
        let start = ((self.origin.1 + y) * self.picture.width as usize + self.origin.0) * P::CHANNELS;
        &self.picture.pixels[start..start + self.area.0 * P::CHANNELS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_value_survives_the_round_trip() {
        let pixels: Vec<u8> = (0..=255).flat_map(|code| [code, 255 - code, code / 2]).collect();
        let linear: Vec<U16x3> = pixels.chunks_exact(3).map(|pixel| U16x3::load(pixel, &TO_LINEAR)).collect();
        assert_eq!(to_srgb(&linear), pixels);
        let opaque: Vec<u8> = pixels.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect();
        let linear: Vec<U16x4> = opaque.chunks_exact(4).map(|pixel| U16x4::load(pixel, &TO_LINEAR)).collect();
        assert_eq!(to_srgb(&linear), opaque);
    }

    #[test]
    fn the_curve_is_srgbs() {
        assert_eq!(TO_LINEAR[0], 0);
        assert_eq!(TO_LINEAR[255], 65_535);
        // 188 is half the light of 255, the well-known test value.
        assert_eq!(TO_SRGB[32_768], 188);
    }

    #[test]
    fn partial_boxes_average_what_they_hold() {
        let picture = Picture { width: 3, height: 1, alpha: false, pixels: vec![0, 0, 0, 255, 255, 255, 10, 20, 30] };
        let reducer = BoxReducer::new(&picture, (0, 0), (3, 1), (2, 2));
        assert_eq!(reducer.size(), (2, 1));
        let mut out = [U16x3::default(); 2];
        reducer.fill(0, &mut out);
        assert_eq!(to_srgb(&out), [188, 188, 188, 10, 20, 30]);
    }
}
