//! Which quality makes a picture look as good as the others do: flat ones need less of it, hard ones more.
//!
//! Searched on a small copy, with the encoder whose scale the others follow, by SSIMULACRA2 (Cloudinary's measure of
//! visible difference: 90 is hardly told from the original, 70 is good, 50 is fair).

use std::time::Instant;

use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic, compute_frame_ssimulacra2};

use super::calibration::{self, Native};
use super::{Decoded, Error, Picture, check, resize};
use crate::variant::{Quality, Rgb as Colour};

/// Longest side of the copy in pixels.
const SIDE: u32 = 320;
/// What quality 75 scores in the mean over photographs, at 640 and 1080 pixels.
const TARGET: f64 = 70.0;
/// Qualities among which is searched; four steps leave three of them.
const RANGE: (u8, u8) = (40, 90);
const STEPS: u32 = 4;

/// Pixels of the copy, at most.
pub const FAIR_QUALITY_PIXELS: u64 = SIDE as u64 * SIDE as u64;
/// Memory that a search takes, in bytes: the measure holds some forty planes of floating point.
pub const FAIR_QUALITY_BYTES: u64 = FAIR_QUALITY_PIXELS * 4 * 40;

impl Decoded {
    /// Searches the quality. Blocks for four encodes and measurements of the copy.
    ///
    /// # Errors
    /// Whatever encoding reports, and `Deadline`.
    pub fn fair_quality(&self, deadline: Instant) -> Result<Quality, Error> {
        let copy = resize::flatten(resize::thumbnail(&self.picture, SIDE), Colour::WHITE);
        // Below 8 pixels the measure has nothing to compare.
        if copy.width < 8 || copy.height < 8 {
            return Ok(Quality::DEFAULT);
        }
        let (mut low, mut high) = RANGE;
        for _ in 0..STEPS {
            check(deadline)?;
            let middle = low.midpoint(high);
            if score(&copy, middle)? >= TARGET { high = middle } else { low = middle }
        }
        Ok(Quality::new(high).unwrap_or(Quality::DEFAULT))
    }
}

/// SSIMULACRA2 of a picture without alpha at a quality.
fn score(picture: &Picture, quality: u8) -> Result<f64, Error> {
    let encoded = calibration::encode_native(picture, Native::Webp(quality))?;
    let shown = calibration::decode(&encoded)?;
    let failed = |error: &dyn std::fmt::Display| Error::Encode(format!("measuring: {error}"));
    let frame = |picture: &Picture| {
        let unit = |code: &u8| f32::from(*code) / 255.0;
        let pixels = picture.pixels.as_chunks::<3>().0.iter().map(|pixel| pixel.each_ref().map(unit)).collect();
        let (width, height) = (picture.width as usize, picture.height as usize);
        Rgb::new(pixels, width, height, TransferCharacteristic::SRGB, ColorPrimaries::BT709)
    };
    let (before, after) = (frame(picture).map_err(|e| failed(&e))?, frame(&shown).map_err(|e| failed(&e))?);
    compute_frame_ssimulacra2(before, after).map_err(|error| failed(&error))
}
