//! What is encoded with more effort shall be smaller, not only better.
//!
//! Invariant: **what takes the place of an answer scores no lower than that answer**, where its level was chosen by size
//! instead of from the table of qualities.

use std::time::Instant;

use super::score::{LEAST, score};
use super::{Error, Picture, Settings, check, codec, decode, resize};
use crate::format::ImageFormat;
use crate::variant::{Quality, Rgb};

/// A share of the bytes that is worth a new name.
const WORTH: f64 = 0.95;
/// What is aimed at where the table's level does not give it: well below the old bytes, and better than it was still.
const AIM: f64 = 0.85;
/// By how much a `cq-level` more changes the logarithm of the bytes of photographs.
const STEP: f64 = 0.065;
/// More steps than this are never worth the look.
const MOST: f64 = 8.0;

/// In place of an AVIF of `made` bytes, which was made with more effort, one a few levels coarser: if it is about as large as
/// `first`, which is what fast settings made of the image, then it is better instead, and images that those are poor at,
/// stars for one, can be both. `None` where it stays as it is.
pub(super) fn coarser(
    picture: &Picture,
    made: usize,
    first: &[u8],
    quality: Quality,
    settings: &Settings,
    deadline: Instant,
) -> Result<Option<Vec<u8>>, Error> {
    let share = made as f64 / first.len().max(1) as f64;
    let steps = ((share / AIM).ln() / STEP).ceil();
    if share <= WORTH || steps > MOST || picture.width.min(picture.height) < LEAST {
        return Ok(None);
    }
    check(deadline)?;
    let coarser = codec::avif::encode_coarser(picture, quality, steps as u8)?;
    if coarser.len() >= first.len().min(made) {
        return Ok(None);
    }
    let flat = |picture: Picture| resize::flatten(picture, Rgb::WHITE);
    let before = flat(picture.clone());
    let scored = |bytes: &[u8]| {
        check(deadline)?;
        let probe = super::probe(bytes, &settings.limits)?;
        score(&before, &flat(decode::decode(bytes, &probe, settings, deadline)?))
    };
    Ok((scored(&coarser)? >= scored(first)?).then_some(coarser))
}

/// Whether [`coarser`] knows what to do with a format.
pub(super) fn is_for(format: ImageFormat, settings: &Settings) -> bool {
    format == ImageFormat::Avif && settings.avif_engine != codec::avif::AvifEngine::Rav1e
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::calibration;
    use super::*;
    use crate::variant::Effort;

    const FORMAT: ImageFormat = ImageFormat::Avif;

    fn encoded(picture: &Picture, effort: Effort) -> Vec<u8> {
        calibration::encode(picture, FORMAT, Quality::DEFAULT, effort).unwrap()
    }

    fn refined(picture: &Picture, made: usize, first: &[u8]) -> Option<Vec<u8>> {
        let deadline = Instant::now() + Duration::from_secs(600);
        coarser(picture, made, first, Quality::DEFAULT, &Settings::default(), deadline).unwrap()
    }

    fn fixture(name: &str, width: u32) -> Picture {
        let path = format!("{}/fixtures/images/{name}", env!("CARGO_MANIFEST_DIR"));
        calibration::scale(&calibration::decode(&std::fs::read(path).unwrap()).unwrap(), width).unwrap()
    }

    #[test]
    fn what_became_better_instead_of_smaller_becomes_both() {
        let stars = fixture("hubble.jpg", 540);
        let first = encoded(&stars, Effort::Fast);
        // As if more effort had made no fewer bytes, which depends on how the image was scaled.
        let last = refined(&stars, first.len(), &first).unwrap();
        assert!(last.len() * 10 < first.len() * 9, "{} of {}", last.len(), first.len());
        let score = |bytes: &[u8]| score(&stars, &calibration::decode(bytes).unwrap()).unwrap();
        assert!(score(&last) > score(&first) + 3.0, "{} {}", score(&last), score(&first));
    }

    #[test]
    fn what_is_smaller_stays_as_the_table_says() {
        let picture = fixture("dusk.jpg", 64);
        // It is not even looked at: it is no image.
        assert!(refined(&picture, 9_400, &[0; 10_000]).is_none());
    }

    /// The answer's own bytes are a first answer that nothing coarser scores as high as.
    #[test]
    fn what_looks_worse_is_not_taken() {
        let picture = fixture("lake.jpg", 256);
        let made = encoded(&picture, Effort::Dense);
        assert!(refined(&picture, made.len(), &made).is_none());
    }

    #[test]
    fn time_is_kept() {
        let picture = fixture("lake.jpg", 64);
        let none = coarser(&picture, 100, &[0; 100], Quality::DEFAULT, &Settings::default(), Instant::now());
        assert!(matches!(none, Err(Error::Deadline)), "{none:?}");
    }
}
