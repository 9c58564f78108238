//! Which quality makes an image look as good as the others do: flat ones need less of it, hard ones more.
//!
//! Searched on a small copy in WebP, by SSIMULACRA2.

use std::time::Instant;

use super::codec::{Kind, quality, webp};
use super::score::{LEAST, TILE, score};
use super::{Decoded, Error, Settings, check, decode, probe, resize};
use crate::variant::{Effort, Quality, Rgb};

/// Longest side of the copy in pixels.
const SIDE: u32 = TILE;
/// What quality 75 scores in WebP in the mean over small photographs.
const TARGET: f64 = 61.4;
/// Qualities among which is searched; four steps leave three of them.
const RANGE: (u8, u8) = (40, 90);
const STEPS: u32 = 4;

/// Pixels of the copy, at most.
pub const FAIR_QUALITY_PIXELS: u64 = SIDE as u64 * SIDE as u64;

impl Decoded {
    /// Searches the quality. Blocks for four encodes and measurements of the copy.
    ///
    /// # Errors
    /// Whatever encoding reports, and `Deadline`.
    pub fn fair_quality(&self, deadline: Instant) -> Result<Quality, Error> {
        let copy = resize::flatten(resize::thumbnail(&self.picture, SIDE), Rgb::WHITE);
        if copy.width.min(copy.height) < LEAST {
            return Ok(Quality::DEFAULT);
        }
        let (mut low, mut high) = RANGE;
        for _ in 0..STEPS {
            check(deadline)?;
            let middle = low.midpoint(high);
            let middle_quality = Quality::new(middle).unwrap_or(Quality::DEFAULT);
            let native = quality::webp_quality(middle_quality, Effort::Fast, Kind::Small);
            let encoded = webp::encode_native(&copy, native, Effort::Fast)?;
            let settings = Settings::default();
            let probe = probe(&encoded, &settings.limits)?;
            let seen = decode::decode(&encoded, &probe, &settings, deadline)?;
            if score(&copy, &seen)? >= TARGET { high = middle } else { low = middle }
        }
        Ok(Quality::new(high).unwrap_or(Quality::DEFAULT))
    }
}
