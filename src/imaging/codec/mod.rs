//! Pixels in, bytes of an output format out: one function a format, and one table of what quality means in each.
//!
//! Invariant: **encoders see only pixels of our own making**, so what they read is bounded and well-formed, and the
//! same quality number means in each lossy format what it means in Next.js (`quality.rs`).

pub mod avif;
mod deadline;
mod graphic;
pub(crate) mod jpeg;
pub(crate) mod kind;
mod png;
pub(crate) mod quality;
pub(crate) mod webp;

use self::avif::AvifEngine;
pub(super) use self::deadline::until;
pub use self::kind::Kind;
use super::{Error, Picture};
use crate::format::ImageFormat;
use crate::variant::{Effort, Quality};

/// Whether more effort makes a smaller file of `format`.
pub(crate) fn has_denser(format: ImageFormat, engine: AvifEngine) -> bool {
    match format {
        ImageFormat::Avif => engine != AvifEngine::Rav1e,
        format => format == ImageFormat::Webp,
    }
}

/// Estimated memory of making a file of `pixels` in `format`, in bytes, as measured at its peak over photographs: the
/// image that is encoded, what the encoder works with, and the file.
pub(crate) fn working_bytes(
    format: ImageFormat,
    pixels: u64,
    alpha: bool,
    quality: Option<Quality>,
    engine: AvifEngine,
    effort: Effort,
) -> u64 {
    // A fixed part, and tenths of a byte a pixel.
    let (fixed, tenths) = match (format, alpha) {
        (ImageFormat::Avif, _) if engine == AvifEngine::Rav1e => (8_000_000, if alpha { 460 } else { 420 }),
        (ImageFormat::Avif, _) => {
            let searched = effort == Effort::Dense || quality::is_coarse(quality.unwrap_or(Quality::DEFAULT));
            (10_000_000, if searched { 355 } else { 310 } + if alpha { 20 } else { 0 })
        }
        (ImageFormat::Webp, true) => (1_500_000, 395),
        (ImageFormat::Webp, false) => (1_500_000, 60),
        (ImageFormat::Jpeg, _) => (1_000_000, 105),
        (_, true) => (1_500_000, 150),
        (_, false) => (1_500_000, 115),
    };
    fixed + pixels * tenths / 10
}

/// Encodes `picture`; `quality` counts for lossy formats only (75 when absent), `engine` for AVIF only, `effort` where
/// there is a denser setting.
///
/// # Errors
/// [`Error::Encode`] when the image is empty or larger than the format can store, when the format cannot be written,
/// and with the encoder's own words when it fails.
pub(crate) fn encode(
    picture: &Picture,
    format: ImageFormat,
    quality: Option<Quality>,
    engine: AvifEngine,
    effort: Effort,
) -> Result<Vec<u8>, Error> {
    check(picture, format)?;
    let quality = quality.unwrap_or(Quality::DEFAULT);
    match format {
        ImageFormat::Avif => avif::encode(picture, quality, engine, effort),
        ImageFormat::Webp => webp::encode(picture, quality, effort),
        ImageFormat::Jpeg => jpeg::encode(picture, quality),
        ImageFormat::Png => png::encode(picture),
        other => Err(Error::Encode(format!("{other} cannot be written"))),
    }
}

/// Refuses what an encoder must not see: every later stage may rely on these sizes.
pub(super) fn check(picture: &Picture, format: ImageFormat) -> Result<(), Error> {
    let (width, height) = (picture.width, picture.height);
    let limit = format.max_edge();
    if width > limit || height > limit {
        let value = u64::from(width.max(height));
        return Err(Error::OutputTooLarge { what: "edge", value, limit: u64::from(limit) });
    }
    let expected = u64::from(width) * u64::from(height) * picture.channels() as u64;
    if expected == 0 || picture.pixels.len() as u64 != expected {
        return Err(Error::Encode(format!("{width}x{height} does not match {} samples", picture.pixels.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
