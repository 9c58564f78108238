//! What a source is, from its header: the one place where limits are asked, before anything is decoded.
//!
//! Invariant: probing reads bytes that are there and allocates nothing that grows with what a header claims.

use image::metadata::Orientation;

use super::decode::header::{Header, within};
use super::decode::{self, swaps};
use super::error::OUTPUT_MEMORY;
use super::{Error, Limits, Probe};
use crate::format::{ImageFormat, sniff};

/// Memory of a decoder that does not grow with the image: tables, contexts, profiles.
const FIXED: u64 = 4_000_000;

/// Recognises a source, reads its header and judges it.
///
/// Costs one pass over the compressed bytes at most (JPEG, whose end must be found); SVG is parsed.
///
/// # Errors
///
/// `Unrecognised`, `SvgRefused`, `Malformed`, `Unsupported`, `LimitExceeded`.
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<Probe, Error> {
    let format = sniff(bytes).ok_or(Error::Unrecognised)?;
    if format == ImageFormat::Svg && !limits.allow_svg {
        return Err(Error::SvgRefused);
    }
    let header = decode::header(bytes, format, limits)?;
    judge(&header, format, limits)?;
    let turned = swaps(header.orientation);
    let (width, height) = if turned { (header.height, header.width) } else { (header.width, header.height) };
    let decoded_bytes = if format.is_passed_on(limits.allow_heic) {
        0
    } else {
        decoded_bytes(&header) + copies(format, &header) * bytes.len() as u64
    };
    // A drawing is drawn at the size that is asked for.
    if format != ImageFormat::Svg {
        within(OUTPUT_MEMORY, decoded_bytes, limits.max_memory)?;
    }
    Ok(Probe {
        format,
        width,
        height,
        orientation: header.orientation,
        has_alpha: header.alpha,
        frames: header.frames,
        foreign: header.foreign,
        decoded_bytes,
    })
}

fn judge(header: &Header, format: ImageFormat, limits: &Limits) -> Result<(), Error> {
    let (width, height) = (u64::from(header.width), u64::from(header.height));
    if width == 0 || height == 0 {
        return Err(Error::Malformed { format, detail: "an empty image".to_owned() });
    }
    within("width", width, u64::from(limits.max_edge))?;
    within("height", height, u64::from(limits.max_edge))?;
    within("pixels", width * height, limits.max_pixels)?;
    within("frames", u64::from(header.frames), u64::from(limits.max_frames))?;
    if header.frames > 1 {
        within("frames times pixels", u64::from(header.frames) * width * height, limits.max_frame_pixels)?;
    }
    Ok(())
}

/// Copies of the whole file that decoders are given instead of it.
const fn copies(format: ImageFormat, header: &Header) -> u64 {
    match format {
        ImageFormat::Ico => 2,
        ImageFormat::Webp | ImageFormat::Svg => 1,
        _ => header.copies as u64,
    }
}

/// Peak memory in bytes, as measured: what the decoder holds ([`Header::working`]; colours are converted in place), or the
/// image beside its copy where it is turned upright, each times the pixels, and a fixed part. An animation is decoded
/// frame by frame: one frame counts.
fn decoded_bytes(header: &Header) -> u64 {
    let channels = if header.alpha { 4 } else { 3 };
    let turned = if header.orientation == Orientation::NoTransforms { channels } else { 2 * channels };
    u64::from(header.width) * u64::from(header.height) * u64::from(header.working.max(turned)) + FIXED
}
