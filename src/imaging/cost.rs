//! What an image costs in memory, estimated from headers and sizes alone.
//!
//! Invariant: **no less than is used, and no more than half as much again**, over formats, depths and outputs; a test
//! compares it with what the process takes. What is over `Limits::max_memory` is refused before anything is allocated.

use super::codec;
use super::decode::header::within;
use super::decode::svg::{LAYERS as SVG_LAYERS, SMALL_LAYERS as SMALL_SVG_LAYERS};
use super::error::OUTPUT_MEMORY;
use super::still::drawing_size;
use super::{Error, Limits, Settings, resize};
use crate::format::ImageFormat;
use crate::variant::{Effort, Geometry, Output, SourceShape, Transform};

/// Bytes a pixel that an animation's encoder holds, as measured: its canvases, and one of them as it is coded.
const ANIMATION: u64 = 30;

/// Bytes a pixel that drawing takes: the canvas, the image, and layers of effects.
const DRAWING: u64 = 8 + SVG_LAYERS;
/// Longest side of a drawing that a placeholder is made of, in pixels.
pub(super) const SKETCH: u32 = 512;
/// Estimated memory of that, in bytes.
pub const SKETCH_BYTES: u64 = SKETCH as u64 * SKETCH as u64 * DRAWING + SMALL_SVG_LAYERS;

/// What a decoded source of this shape holds, in bytes.
fn picture_bytes(source: &SourceShape) -> u64 {
    u64::from(source.width) * u64::from(source.height) * if source.has_alpha { 4 } else { 3 }
}

/// Estimated memory for making one output beside the decoded source, in bytes: what scaling works with, the scaled image,
/// the encoder and the file.
pub fn finishing_bytes(source: &SourceShape, transform: &Transform, settings: &Settings, effort: Effort) -> u64 {
    let (width, height) = transform.geometry.size();
    let pixels = u64::from(width) * u64::from(height);
    let format = match transform.output {
        Output::Still(format) => format,
        Output::AnimatedWebp => return pixels * ANIMATION,
        Output::Original => return 0,
    };
    let channels = if source.has_alpha { 4 } else { 3 };
    let padded = matches!(transform.geometry, Geometry::Contain { .. });
    let alpha = (source.has_alpha || padded) && transform.background.is_none() && format != ImageFormat::Jpeg;
    let encoder = codec::working_bytes(format, pixels, alpha, transform.quality, settings.avif_engine, effort);
    match (width, height) == (source.width, source.height) {
        false => resize::working_bytes(source.width, width, channels) + encoder,
        // Flattened it is a copy; else the encoder reads the decoded image.
        true if source.has_alpha != alpha => encoder + pixels * channels as u64,
        true => encoder.saturating_sub(pixels * channels as u64),
    }
}

/// Estimated memory of making one output at its peak, in bytes: the decode, which takes `decode` bytes, or what comes after
/// it beside the decoded source.
pub fn peak_bytes(
    source: &SourceShape,
    decode: u64,
    transform: &Transform,
    settings: &Settings,
    effort: Effort,
) -> u64 {
    let after = finishing_bytes(source, transform, settings, effort);
    match transform.output {
        Output::Still(_) if source.format == ImageFormat::Svg => {
            let (width, height) = drawing_size((source.width, source.height), transform.geometry);
            u64::from(width) * u64::from(height) * DRAWING + SMALL_SVG_LAYERS + after
        }
        Output::Still(_) => decode.max(picture_bytes(source) + after),
        // Frames are decoded while the encoder holds others.
        _ => decode + after,
    }
}

/// Refuses an output that would take more memory than one may.
///
/// # Errors
/// [`Error::OutputTooLarge`].
pub(crate) fn judge_peak(peak: u64, limits: &Limits) -> Result<(), Error> {
    within(OUTPUT_MEMORY, peak, limits.max_memory).map_err(|_| Error::OutputTooLarge {
        what: OUTPUT_MEMORY,
        value: peak,
        limit: limits.max_memory,
    })
}
