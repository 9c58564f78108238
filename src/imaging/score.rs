//! How far an image looks like another: SSIMULACRA2, Cloudinary's measure of visible difference, where 90 is hardly told
//! from the original, 70 is good, 50 is fair.
//!
//! Invariant: it is measured in tiles, so that the measure's memory does not grow with the image.

use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

use super::{Error, Picture};

/// Longest side of a tile in pixels.
pub(super) const TILE: u32 = 320;
/// Below this many pixels a side the measure has nothing to compare.
pub(super) const LEAST: u32 = 8;
/// Memory that it takes, in bytes: some forty planes of floating point.
pub const SCORE_BYTES: u64 = TILE as u64 * TILE as u64 * 4 * 40;

/// SSIMULACRA2 of `after` against `before`, both without alpha and of one size, of at least [`LEAST`] pixels a side: the mean
/// over tiles.
pub(super) fn score(before: &Picture, after: &Picture) -> Result<f64, Error> {
    let (width, height) = (before.width, before.height);
    if (after.width, after.height) != (width, height) || before.alpha || after.alpha {
        return Err(Error::Encode("measuring: the images are not of one kind".to_owned()));
    }
    let (columns, rows) = (width.div_ceil(TILE), height.div_ceil(TILE));
    let mut sum = 0.0;
    for row in 0..rows {
        for column in 0..columns {
            let part = |at: u32, of: u32, length: u32| (at * length / of) as usize..((at + 1) * length / of) as usize;
            let (x, y) = (part(column, columns, width), part(row, rows, height));
            let frame = |picture: &Picture| {
                let line = |y: usize| &picture.pixels.as_chunks::<3>().0[y * width as usize..][x.clone()];
                let unit = |pixel: &[u8; 3]| pixel.map(|code| f32::from(code) / 255.0);
                let pixels: Vec<_> = y.clone().flat_map(line).map(unit).collect();
                Rgb::new(pixels, x.len(), y.len(), TransferCharacteristic::SRGB, ColorPrimaries::BT709)
            };
            let before = frame(before).map_err(|error| failed(&error))?;
            let after = frame(after).map_err(|error| failed(&error))?;
            sum +=
                compute_frame_ssimulacra2(before, after).map_err(|error| failed(&error))? * (x.len() * y.len()) as f64;
        }
    }
    Ok(sum / (f64::from(width) * f64::from(height)))
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::Encode(format!("measuring: {error}"))
}
