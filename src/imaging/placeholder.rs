//! What stands where an image will be: BlurHash, ThumbHash, a PNG of eight pixels, the dominant colour.
//!
//! Invariant: **everything is computed from one small linear-light thumbnail**: a hash of the full image costs a
//! thousand times as much and differs by less than it can express.

use std::collections::HashMap;

use super::codec::{self, avif::AvifEngine};
use super::{Error, Picture, resize};
use crate::format::ImageFormat;
use crate::record::PlaceholderSet;
use crate::variant::{Effort, Rgb};

/// Longest side of the thumbnail in pixels; ThumbHash takes at most 100.
const THUMBNAIL: u32 = 64;

/// Longest side of the PNG in pixels: what Next.js inlines.
const PNG_SIDE: u32 = 8;

impl PlaceholderSet {
    /// Computes all placeholders of `picture`.
    ///
    /// # Errors
    /// [`Error::Encode`] for an image without pixels.
    pub(crate) fn of(picture: &Picture) -> Result<Self, Error> {
        codec::check(picture, ImageFormat::Png)?;
        let thumbnail = resize::thumbnail(picture, THUMBNAIL);
        let small = resize::thumbnail(&thumbnail, PNG_SIDE);
        let rgba = with_alpha(&thumbnail);
        Ok(Self {
            blurhash: blurhash(&thumbnail)?,
            thumbhash: thumbhash::rgba_to_thumb_hash(thumbnail.width as usize, thumbnail.height as usize, &rgba),
            png: codec::encode(&small, ImageFormat::Png, None, AvifEngine::Auto, Effort::Fast)?,
            width: small.width,
            height: small.height,
            dominant: dominant(&rgba),
            has_alpha: picture.alpha,
        })
    }
}

/// Four samples a pixel, as both hash crates want them.
fn with_alpha(picture: &Picture) -> Vec<u8> {
    if picture.alpha {
        return picture.pixels.clone();
    }
    picture.pixels.chunks_exact(3).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect()
}

/// BlurHash has no alpha: transparency is shown over white, as it is in JPEG.
fn blurhash(thumbnail: &Picture) -> Result<String, Error> {
    let flat = with_alpha(&resize::flatten(thumbnail.clone(), Rgb::WHITE));
    hash(components(thumbnail.width, thumbnail.height), (thumbnail.width, thumbnail.height), &flat)
}

/// The hash of opaque pixels, as the reference (woltapp/blurhash) has it.
///
/// The crate rounds each channel of the average colour up where the reference rounds to nearest; the average is the four
/// digits behind the first two, so they are written again.
fn hash((across, down): (u32, u32), (width, height): (u32, u32), rgba: &[u8]) -> Result<String, Error> {
    const DIGITS: &[u8; 83] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~";
    let mut hash = blurhash::encode(across, down, width, height, rgba)
        .map_err(|error| Error::Encode(format!("blurhash: {error}")))?;
    let [r, g, b] = average(rgba);
    let mut value = u32::from_be_bytes([0, r, g, b]) as usize;
    let mut digits = [b'0'; 4];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[value % 83];
        value /= 83;
    }
    hash.replace_range(2..6, &String::from_utf8_lossy(&digits));
    Ok(hash)
}

/// The mean of opaque pixels in linear light, as sRGB, rounded to nearest.
fn average(rgba: &[u8]) -> [u8; 3] {
    let linear = |code: u8| match f64::from(code) / 255.0 {
        code if code <= 0.04045 => code / 12.92,
        code => ((code + 0.055) / 1.055).powf(2.4),
    };
    let mut counts = [[0_u32; 256]; 3];
    for pixel in rgba.chunks_exact(4) {
        counts.iter_mut().zip(pixel).for_each(|(counts, code)| counts[usize::from(*code)] += 1);
    }
    let pixels = (rgba.len() / 4).max(1) as f64;
    counts.map(|counts| {
        let sum: f64 = counts.iter().zip(0_u8..=255).map(|(count, code)| f64::from(*count) * linear(code)).sum();
        let code = match sum / pixels {
            mean if mean <= 0.003_130_8 => mean * 12.92,
            mean => 1.055 * mean.powf(1.0 / 2.4) - 0.055,
        };
        (code * 255.0 + 0.5) as u8
    })
}

/// BlurHash components across and down: twelve or so, spread by shape; never more than there are pixels.
fn components(width: u32, height: u32) -> (u32, u32) {
    let (short, long) = (width.min(height), width.max(height));
    let (more, fewer) = match (long * 4, short) {
        // Up to 5:4.
        (long, short) if long <= short * 5 => (4, 4),
        // Up to 3:1.
        (long, short) if long <= short * 12 => (4, 3),
        _ => (6, 2),
    };
    let (across, down) = if width >= height { (more, fewer) } else { (fewer, more) };
    (across.min(width).max(1), down.min(height).max(1))
}

/// The mean of the fullest part of the colour cube: cells of 32 code values, each with its neighbours, weighed by alpha.
///
/// Neighbours count a quarter, so that a shade that straddles cells is not beaten by a smaller one that does not.
fn dominant(rgba: &[u8]) -> Rgb {
    type Cell = [i32; 3];
    let mut cells: HashMap<Cell, [u64; 4]> = HashMap::new();
    for pixel in rgba.chunks_exact(4).filter(|pixel| pixel[3] > 0) {
        let cell = [pixel[0], pixel[1], pixel[2]].map(|code| i32::from(code / 32));
        let sums = cells.entry(cell).or_default();
        for (sum, code) in sums.iter_mut().zip([pixel[0], pixel[1], pixel[2]]) {
            *sum += u64::from(code) * u64::from(pixel[3]);
        }
        sums[3] += u64::from(pixel[3]);
    }
    let weight = |cell: &Cell| {
        let mut total = cells.get(cell).map_or(0, |sums| sums[3] * 4);
        for axis in 0..3 {
            for step in [-1, 1] {
                let mut neighbour = *cell;
                neighbour[axis] += step;
                total += cells.get(&neighbour).map_or(0, |sums| sums[3]);
            }
        }
        total
    };
    // The cell itself breaks ties, so that the answer does not hang on the hash order.
    let fullest = cells.iter().max_by_key(|(cell, _)| (weight(cell), **cell));
    fullest.map_or(Rgb::WHITE, |(_, sums)| {
        Rgb([sums[0], sums[1], sums[2]].map(|sum| ((sum + sums[3] / 2) / sums[3]) as u8))
    })
}

#[cfg(test)]
mod tests;
