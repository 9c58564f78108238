//! What stands where a picture will be: BlurHash, ThumbHash, a PNG of eight pixels, the dominant colour.
//!
//! The law: **everything is computed from one small linear-light thumbnail**: a hash of the full picture costs a
//! thousand times as much and differs by less than it can express.

use std::collections::HashMap;

use super::codec::{self, avif::AvifEngine};
use super::{Error, Picture, resize};
use crate::format::ImageFormat;
use crate::record::PlaceholderSet;
use crate::variant::Rgb;

/// Longest side of the thumbnail in pixels; ThumbHash takes at most 100.
const THUMBNAIL: u32 = 64;

/// Longest side of the PNG in pixels: what Next.js inlines.
const PNG_SIDE: u32 = 8;

impl PlaceholderSet {
    /// Computes all placeholders of `picture`.
    ///
    /// # Errors
    /// [`Error::Encode`] for a picture without pixels.
    pub(crate) fn of(picture: &Picture) -> Result<Self, Error> {
        codec::check(picture, ImageFormat::Png)?;
        let thumbnail = resize::thumbnail(picture, THUMBNAIL)?;
        let small = resize::thumbnail(&thumbnail, PNG_SIDE)?;
        let rgba = with_alpha(&thumbnail);
        Ok(Self {
            blurhash: blurhash(&thumbnail)?,
            thumbhash: thumbhash::rgba_to_thumb_hash(thumbnail.width as usize, thumbnail.height as usize, &rgba),
            png: codec::encode(&small, ImageFormat::Png, None, AvifEngine::Auto)?,
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

/// BlurHash has no alpha: transparency is shown over white, as it is in JPEG. The crate rounds each channel of the
/// average colour up where the reference rounds to nearest, so that it may lie one code value (of 255) higher.
fn blurhash(thumbnail: &Picture) -> Result<String, Error> {
    let (across, down) = components(thumbnail.width, thumbnail.height);
    let flat = with_alpha(&resize::flatten(thumbnail.clone(), Rgb::WHITE));
    blurhash::encode(across, down, thumbnail.width, thumbnail.height, &flat)
        .map_err(|error| Error::Encode(format!("blurhash: {error}")))
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
