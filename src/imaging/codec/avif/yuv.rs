//! 8-bit RGB to full-range BT.601 YCbCr planes, 4:4:4 or 4:2:0 (the matrix of ITU-T H.273 code 6).
//!
//! The law: **invisible pixels lend no colour**: what lies under full transparency is replaced by the mean of the
//! visible pixels near it before chroma is averaged, which also costs the encoder fewer bits than black would.

use std::borrow::Cow;

use super::Picture;

/// One picture in planes without padding.
pub(super) struct Yuv {
    /// Width of `y`.
    pub(super) width: u32,
    /// Height of `y`.
    pub(super) height: u32,
    /// Full size.
    pub(super) y: Vec<u8>,
    /// Half width and height, rounded up, when subsampled; else full size.
    pub(super) u: Vec<u8>,
    /// As `u`.
    pub(super) v: Vec<u8>,
    /// 4:2:0; 4:4:4 otherwise.
    pub(super) subsampled: bool,
    /// Only `y` counts.
    pub(super) monochrome: bool,
}

/// Fixed-point one.
const ONE: i32 = 1 << 16;
const HALF: i32 = ONE / 2;

#[inline(always)]
fn luma(r: i32, g: i32, b: i32) -> u8 {
    // 0.299, 0.587, 0.114; the three sum to ONE, so white stays 255.
    ((19_595 * r + 38_470 * g + 7_471 * b + HALF) >> 16) as u8
}

/// Cb and Cr of the mean of `1 << shift` pixels whose sums are given.
#[inline(always)]
fn chroma(r: i32, g: i32, b: i32, shift: u32) -> (u8, u8) {
    let scale = 16 + shift;
    let offset = (128 << scale) + (1 << (scale - 1)) - 1;
    // Each row sums to 0, so grey has no colour. 4 x 255 x ONE / 2 and the offset stay below 2^31.
    let cb = (-11_059 * r - 21_709 * g + 32_768 * b + offset) >> scale;
    let cr = (32_768 * r - 27_439 * g - 5_329 * b + offset) >> scale;
    (cb.min(255) as u8, cr.min(255) as u8)
}

impl Yuv {
    /// The colours of `picture`.
    pub(super) fn of(picture: &Picture, subsampled: bool) -> Self {
        let pixels = visible_colours(picture);
        let (width, height) = (picture.width as usize, picture.height as usize);
        let mut y = Vec::with_capacity(width * height);
        y.extend(pixels.chunks_exact(3).map(|pixel| luma(pixel[0].into(), pixel[1].into(), pixel[2].into())));
        let (u, v) = if subsampled { halved(&pixels, width, height) } else { full(&pixels) };
        Self { width: picture.width, height: picture.height, y, u, v, subsampled, monochrome: false }
    }

    /// The alpha of `picture`, which has one, as a monochrome picture.
    pub(super) fn mask(picture: &Picture) -> Self {
        let y = picture.pixels.chunks_exact(4).map(|pixel| pixel[3]).collect();
        // libaom wants chroma planes to be there even when it does not code them.
        let half = picture.width.div_ceil(2) as usize * picture.height.div_ceil(2) as usize;
        let (u, v) = (vec![128; half], vec![128; half]);
        Self { width: picture.width, height: picture.height, y, u, v, subsampled: true, monochrome: true }
    }
}

/// Chroma at full size.
fn full(pixels: &[u8]) -> (Vec<u8>, Vec<u8>) {
    pixels.chunks_exact(3).map(|pixel| chroma(pixel[0].into(), pixel[1].into(), pixel[2].into(), 0)).unzip()
}

/// Chroma of the mean of each 2 x 2 block; the last column and row of an odd size count twice.
fn halved(pixels: &[u8], width: usize, height: usize) -> (Vec<u8>, Vec<u8>) {
    let count = width.div_ceil(2) * height.div_ceil(2);
    let (mut u, mut v) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for rows in pixels.chunks(width * 6) {
        let (upper, lower) = rows.split_at(width * 3);
        let lower = if lower.is_empty() { upper } else { lower };
        for (a, b) in upper.chunks(6).zip(lower.chunks(6)) {
            let right = a.len() - 3;
            let sum =
                |at: usize| i32::from(a[at]) + i32::from(b[at]) + i32::from(a[right + at]) + i32::from(b[right + at]);
            let (cb, cr) = chroma(sum(0), sum(1), sum(2), 2);
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

    #[test]
    fn known_colours_have_known_codes() {
        let cases: [([u8; 3], [u8; 3]); 5] = [
            ([255, 255, 255], [255, 128, 128]),
            ([0, 0, 0], [0, 128, 128]),
            ([255, 0, 0], [76, 85, 255]),
            ([0, 255, 0], [150, 44, 21]),
            ([0, 0, 255], [29, 255, 107]),
        ];
        for (rgb, expected) in cases {
            for (width, height) in [(1, 1), (3, 3), (4, 2)] {
                let picture = Picture { width, height, alpha: false, pixels: rgb.repeat((width * height) as usize) };
                for subsampled in [false, true] {
                    let yuv = Yuv::of(&picture, subsampled);
                    let side = |size: u32| if subsampled { size.div_ceil(2) } else { size };
                    assert_eq!(yuv.u.len() as u32, side(width) * side(height));
                    for (plane, code) in [&yuv.y, &yuv.u, &yuv.v].into_iter().zip(expected) {
                        assert!(plane.iter().all(|value| value.abs_diff(code) <= 1), "{rgb:?}: {plane:?}");
                    }
                }
            }
        }
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
