//! RGB to full-range BT.601 YCbCr planes of 8 or 10 bits, 4:4:4 or 4:2:0 (the matrix of ITU-T H.273 code 6).
//!
//! Invariant: **invisible pixels lend no colour**: what lies under full transparency is replaced by the mean of the
//! visible pixels near it before chroma is averaged, which also costs the encoder fewer bits than black would.

use std::borrow::Cow;

use super::Picture;

/// One sample of a plane: 8 bits in a `u8`, or 10 in a `u16`.
///
/// The factors are those of the matrix, times the largest sample over 255, in 16-bit fixed point. Those of luma sum to
/// what makes white the largest sample; each row of chroma sums to 0, so grey has no colour.
pub(super) trait Sample: Copy + Into<u16> {
    /// Bits that count.
    const BITS: u8;
    /// Of R, G and B.
    const LUMA: [i32; 3];
    const CB: [i32; 3];
    const CR: [i32; 3];
    /// From 0 up to the largest sample.
    fn of(value: i32) -> Self;
}

impl Sample for u8 {
    const BITS: u8 = 8;
    const LUMA: [i32; 3] = [19_595, 38_470, 7_471];
    const CB: [i32; 3] = [-11_059, -21_709, 32_768];
    const CR: [i32; 3] = [32_768, -27_439, -5_329];

    #[inline(always)]
    fn of(value: i32) -> Self {
        value.min(0xFF) as Self
    }
}

impl Sample for u16 {
    const BITS: u8 = 10;
    const LUMA: [i32; 3] = [78_613, 154_334, 29_973];
    const CB: [i32; 3] = [-44_364, -87_096, 131_460];
    const CR: [i32; 3] = [131_460, -110_081, -21_379];

    #[inline(always)]
    fn of(value: i32) -> Self {
        value.min(0x3FF) as Self
    }
}

/// One image in planes without padding.
pub(super) struct Yuv<S> {
    /// Width of `y`.
    pub(super) width: u32,
    /// Height of `y`.
    pub(super) height: u32,
    /// Full size.
    pub(super) y: Vec<S>,
    /// Half width and height, rounded up, when subsampled; else full size.
    pub(super) u: Vec<S>,
    /// As `u`.
    pub(super) v: Vec<S>,
    /// 4:2:0; 4:4:4 otherwise.
    pub(super) subsampled: bool,
    /// Only `y` counts.
    pub(super) monochrome: bool,
}

#[inline(always)]
fn weighed(factors: [i32; 3], rgb: [i32; 3]) -> i32 {
    factors[0] * rgb[0] + factors[1] * rgb[1] + factors[2] * rgb[2]
}

#[inline(always)]
fn luma<S: Sample>(rgb: [i32; 3]) -> S {
    S::of((weighed(S::LUMA, rgb) + (1 << 15)) >> 16)
}

/// Cb and Cr of the mean of `1 << shift` pixels whose sums are given.
#[inline(always)]
fn chroma<S: Sample>(sums: [i32; 3], shift: u32) -> (S, S) {
    let scale = 16 + shift;
    // At 10 bits 4 x 255 x 131,460 and the offset together stay below 2^31.
    let offset = (1 << (scale + u32::from(S::BITS) - 1)) + (1 << (scale - 1)) - 1;
    let [cb, cr] = [S::CB, S::CR].map(|factors| S::of((weighed(factors, sums) + offset) >> scale));
    (cb, cr)
}

impl<S: Sample> Yuv<S> {
    /// The colours of `picture`.
    pub(super) fn of(picture: &Picture, subsampled: bool) -> Self {
        let pixels = visible_colours(picture);
        let (width, height) = (picture.width as usize, picture.height as usize);
        let mut y = Vec::with_capacity(width * height);
        y.extend(pixels.chunks_exact(3).map(|pixel| luma::<S>([pixel[0], pixel[1], pixel[2]].map(i32::from))));
        let (u, v) = if subsampled { halved(&pixels, width, height) } else { full(&pixels) };
        Self { width: picture.width, height: picture.height, y, u, v, subsampled, monochrome: false }
    }

    /// The alpha of `picture`, which has one, as a monochrome image.
    pub(super) fn mask(picture: &Picture) -> Self {
        let largest = (1 << S::BITS) - 1;
        let y =
            picture.pixels.chunks_exact(4).map(|pixel| S::of((i32::from(pixel[3]) * largest + 127) / 255)).collect();
        // libaom wants chroma planes to be there even when it does not code them.
        let half = picture.width.div_ceil(2) as usize * picture.height.div_ceil(2) as usize;
        let (u, v) = (vec![S::of(1 << (S::BITS - 1)); half], vec![S::of(1 << (S::BITS - 1)); half]);
        Self { width: picture.width, height: picture.height, y, u, v, subsampled: true, monochrome: true }
    }
}

/// Chroma at full size.
fn full<S: Sample>(pixels: &[u8]) -> (Vec<S>, Vec<S>) {
    pixels.chunks_exact(3).map(|pixel| chroma::<S>([pixel[0], pixel[1], pixel[2]].map(i32::from), 0)).unzip()
}

/// Chroma of the mean of each 2 x 2 block; the last column and row of an odd size count twice.
fn halved<S: Sample>(pixels: &[u8], width: usize, height: usize) -> (Vec<S>, Vec<S>) {
    let count = width.div_ceil(2) * height.div_ceil(2);
    let (mut u, mut v) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for rows in pixels.chunks(width * 6) {
        let (upper, lower) = rows.split_at(width * 3);
        let lower = if lower.is_empty() { upper } else { lower };
        for (a, b) in upper.chunks(6).zip(lower.chunks(6)) {
            let right = a.len() - 3;
            let sum =
                |at: usize| i32::from(a[at]) + i32::from(b[at]) + i32::from(a[right + at]) + i32::from(b[right + at]);
            let (cb, cr) = chroma([sum(0), sum(1), sum(2)], 2);
            u.push(cb);
            v.push(cr);
        }
    }
    (u, v)
}

/// Side of the blocks whose visible mean replaces their invisible pixels.
const BLOCK: usize = 8;

/// Three samples a pixel, with invisible pixels replaced.
fn visible_colours(picture: &Picture) -> Cow<'_, [u8]> {
    if !picture.alpha {
        return Cow::Borrowed(&picture.pixels);
    }
    let width = picture.width as usize;
    let mut pixels: Vec<u8> = picture.pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    // Carried from block to block, so that wide invisible areas stay even.
    let mut fill = [128_u8; 3];
    for (band, rows) in picture.pixels.chunks(width * 4 * BLOCK).enumerate() {
        for left in (0..width).step_by(BLOCK) {
            let columns = left..(left + BLOCK).min(width);
            let block = || rows.chunks_exact(width * 4).map(|row| &row[columns.start * 4..columns.end * 4]);
            let mut sums = [0_u32; 4];
            for pixel in block().flat_map(|row| row.chunks_exact(4)) {
                let alpha = u32::from(pixel[3]);
                for channel in 0..3 {
                    sums[channel] += u32::from(pixel[channel]) * alpha;
                }
                sums[3] += alpha;
            }
            if sums[3] > 0 {
                fill = [sums[0], sums[1], sums[2]].map(|sum| ((sum + sums[3] / 2) / sums[3]) as u8);
            }
            for (y, row) in block().enumerate() {
                for (x, _) in row.chunks_exact(4).enumerate().filter(|(_, pixel)| pixel[3] == 0) {
                    let at = ((band * BLOCK + y) * width + left + x) * 3;
                    pixels[at..at + 3].copy_from_slice(&fill);
                }
            }
        }
    }
    Cow::Owned(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known_colours<S: Sample>(bits: u8) {
        let cases: [([u8; 3], [u16; 3]); 5] = [
            ([255, 255, 255], [255, 128, 128]),
            ([0, 0, 0], [0, 128, 128]),
            ([255, 0, 0], [76, 85, 255]),
            ([0, 255, 0], [150, 44, 21]),
            ([0, 0, 255], [29, 255, 107]),
        ];
        let (largest, middle) = ((1_i32 << bits) - 1, 1_i32 << (bits - 1));
        for (rgb, expected) in cases {
            // Codes of 8 bits are rounded themselves: half of one of them, and one of these.
            let tolerance = largest / 255 / 2 + 1;
            let scaled = |code: i32, zero: i32| zero + (code * largest + code.signum() * 127) / 255;
            let [y, u, v] = expected.map(i32::from);
            let expected = [scaled(y, 0), scaled(u - 128, middle), scaled(v - 128, middle)];
            for (width, height) in [(1, 1), (3, 3), (4, 2)] {
                let picture = Picture { width, height, alpha: false, pixels: rgb.repeat((width * height) as usize) };
                for subsampled in [false, true] {
                    let yuv = Yuv::<S>::of(&picture, subsampled);
                    let side = |size: u32| if subsampled { size.div_ceil(2) } else { size };
                    assert_eq!(yuv.u.len() as u32, side(width) * side(height));
                    for (plane, code) in [&yuv.y, &yuv.u, &yuv.v].into_iter().zip(expected) {
                        for value in plane.iter().map(|value| i32::from(Into::<u16>::into(*value))) {
                            assert!((value - code).abs() <= tolerance, "{rgb:?} in {bits} bits: {value}, not {code}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn known_colours_have_known_codes() {
        known_colours::<u8>(8);
        known_colours::<u16>(10);
    }

    #[test]
    fn greys_have_no_colour_and_reach_both_ends() {
        let pixels = (0..=255).flat_map(|grey| [grey; 3]).collect();
        let picture = Picture { width: 256, height: 1, alpha: false, pixels };
        let yuv = Yuv::<u16>::of(&picture, false);
        assert_eq!((yuv.y[0], yuv.y[255]), (0, 1023));
        assert!(yuv.y.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(yuv.u.iter().chain(&yuv.v).all(|value| *value == 512));
    }

    #[test]
    fn a_mask_reaches_both_ends() {
        let picture = Picture { width: 2, height: 1, alpha: true, pixels: vec![9, 9, 9, 0, 9, 9, 9, 255] };
        assert_eq!(Yuv::<u8>::mask(&picture).y, [0, 255]);
        assert_eq!(Yuv::<u16>::mask(&picture).y, [0, 1023]);
    }

    #[test]
    fn invisible_pixels_take_the_colour_of_their_neighbours() {
        let pixels =
            (0..20 * 20).flat_map(|at| if at % 20 < 5 { [200, 10, 10, 255] } else { [0, 255, 0, 0] }).collect();
        let picture = Picture { width: 20, height: 20, alpha: true, pixels };
        let colours = visible_colours(&picture);
        assert!(colours.chunks_exact(3).all(|pixel| pixel == [200, 10, 10]));
    }
}
