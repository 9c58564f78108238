//! From a stranger's bytes to upright 8-bit sRGB pixels, in memory-safe Rust.
//!
//! Invariant: the probe has passed the limits before anything here allocates; what a decoder then delivers must have the
//! size that was probed. Order: decode, colour, orientation. The deadline is checked between stages and frames; a
//! decoder cannot be stopped within one, save those that have a process of their own ([`isolated`]).

mod avif;
mod bmp;
mod canvas;
mod colour;
mod gif;
mod hdr;
pub(crate) mod header;
mod heic;
mod icns;
mod ico;
mod isobmff;
pub(crate) mod isolated;
mod jpeg;
mod jxl;
mod orient;
mod png;
pub(crate) mod strip;
pub(super) mod svg;
mod tiff;
mod webp;
mod yuv;

use std::time::{Duration, Instant};

use colour::Space;
use header::{Header, within};
pub(crate) use orient::swaps;

use super::{Error, Limits, Probe, Settings, check};
use crate::format::ImageFormat;

/// Decoded pixels: interleaved 8-bit sRGB, rows from the top, upright.
///
/// `pixels.len() == width * height * channels()`. An image whose alpha is 255 everywhere has `alpha == false`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Four channels, the last straight (not premultiplied) alpha; three otherwise.
    pub alpha: bool,
    /// The samples.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Samples of one pixel: 3, or 4 with alpha.
    pub fn channels(&self) -> usize {
        if self.alpha { 4 } else { 3 }
    }

    /// Drops an alpha channel that is 255 everywhere: three channels cost less in every later stage.
    pub(crate) fn without_opaque_alpha(mut self) -> Self {
        if self.alpha && self.pixels.chunks_exact(4).all(|pixel| pixel[3] == 255) {
            let count = self.pixels.len() / 4;
            for at in 0..count {
                self.pixels.copy_within(at * 4..at * 4 + 3, at * 3);
            }
            self.pixels.truncate(count * 3);
            self.alpha = false;
        }
        self
    }

    fn into_rgba(self) -> Vec<u8> {
        if self.alpha {
            return self.pixels;
        }
        self.pixels.chunks_exact(3).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect()
    }
}

/// What the header of a source says, before limits on size are asked.
pub(crate) fn header(bytes: &[u8], format: ImageFormat, limits: &Limits) -> Result<Header, Error> {
    match format {
        ImageFormat::Jpeg => jpeg::header(bytes, limits),
        ImageFormat::Png => png::header(bytes, limits),
        ImageFormat::Gif => gif::header(bytes, limits),
        ImageFormat::Webp => webp::header(bytes, limits),
        ImageFormat::Avif => avif::header(bytes, limits),
        ImageFormat::Jxl => jxl::header(bytes),
        ImageFormat::Heic => heic::header(bytes, limits),
        ImageFormat::Icns => icns::header(bytes),
        ImageFormat::Bmp => bmp::header(bytes, limits),
        ImageFormat::Tiff => tiff::header(bytes, limits),
        ImageFormat::Ico => ico::header(bytes, limits),
        ImageFormat::Svg => svg::header(bytes, limits),
    }
}

/// Decodes a still image, or the first frame or primary image of what has several.
pub(crate) fn decode(bytes: &[u8], probe: &Probe, settings: &Settings, deadline: Instant) -> Result<Picture, Error> {
    judged(bytes, probe, settings, deadline).map(|(picture, _)| picture)
}

/// The same, and whether its own bytes are another image by what only its bitstream says ([`Probe::foreign`]).
pub(crate) fn judged(
    bytes: &[u8],
    probe: &Probe,
    settings: &Settings,
    deadline: Instant,
) -> Result<(Picture, bool), Error> {
    check(deadline)?;
    let limits = &settings.limits;
    let raw = match probe.format {
        ImageFormat::Jpeg => jpeg::decode(bytes, limits)?,
        ImageFormat::Png => png::decode(bytes, limits)?,
        ImageFormat::Webp => webp::decode(bytes, limits)?,
        format if format.is_passed_on(limits.allow_heic) => return Err(Error::NotDecoded { format }),
        format @ (ImageFormat::Avif | ImageFormat::Jxl | ImageFormat::Heic | ImageFormat::Icns) => {
            match &settings.decoder {
                Some(program) => isolated::decode(program, bytes, probe, deadline)?,
                None => isolated::here(format, bytes)?,
            }
        }
        ImageFormat::Bmp => bmp::decode(bytes, limits)?,
        ImageFormat::Tiff => tiff::decode(bytes, limits)?,
        ImageFormat::Ico => ico::decode(bytes, limits)?,
        ImageFormat::Gif => return first_frame(bytes, probe, deadline).map(|picture| (picture, false)),
        ImageFormat::Svg => {
            return decode_svg(bytes, probe.width, probe.height, limits).map(|picture| (picture, false));
        }
    };
    let stored = stored_size(probe);
    if (raw.width, raw.height) != stored {
        let detail = format!("decoded as {} x {}, not {} x {}", raw.width, raw.height, stored.0, stored.1);
        return Err(Error::Malformed { format: probe.format, detail });
    }
    if let Space::Icc(profile) = &raw.space {
        within("metadata bytes", profile.len() as u64, limits.max_metadata_bytes as u64)?;
    }
    check(deadline)?;
    // PQ and HLG.
    let foreign = matches!(raw.space, Space::Cicp { transfer: 16 | 18, .. });
    let picture = raw.into_picture();
    check(deadline)?;
    Ok((orient::upright(picture, probe.orientation), foreign))
}

/// Draws an SVG at exactly this size.
pub(crate) fn decode_svg(bytes: &[u8], width: u32, height: u32, limits: &Limits) -> Result<Picture, Error> {
    if limits.allow_svg { svg::draw(bytes, width, height, limits) } else { Err(Error::SvgRefused) }
}

/// Streams every frame of an animation as a whole canvas with the time it is shown; returns how often it plays, 0 for
/// ever. A still image is one frame, shown for no time.
pub(crate) fn frames(
    bytes: &[u8],
    probe: &Probe,
    settings: &Settings,
    deadline: Instant,
    each: &mut dyn FnMut(Picture, Duration) -> Result<(), Error>,
) -> Result<u32, Error> {
    if probe.frames <= 1 {
        each(decode(bytes, probe, settings, deadline)?, Duration::ZERO)?;
        return Ok(1);
    }
    let limits = &settings.limits;
    let header = header(bytes, probe.format, limits)?;
    let mut upright = |picture: Picture, delay| {
        each(orient::upright(picture, probe.orientation), delay)?;
        check(deadline)
    };
    match probe.format {
        ImageFormat::Gif => gif::frames(bytes, &header, deadline, &mut upright)?,
        ImageFormat::Png => png::frames(bytes, &header, limits, Some(deadline), &mut upright)?,
        ImageFormat::Webp => webp::frames(bytes, limits, deadline, &mut upright)?,
        format => return Err(Error::Unsupported { format, detail: "several frames".to_owned() }),
    }
    Ok(header.plays)
}

/// How often an animation plays, 0 for ever: known from the blocks, before the first frame is decoded.
pub(crate) fn plays(bytes: &[u8], probe: &Probe, limits: &Limits) -> Result<u32, Error> {
    Ok(header(bytes, probe.format, limits)?.plays)
}

/// GIF has no other way to an image than drawing its first frame.
fn first_frame(bytes: &[u8], probe: &Probe, deadline: Instant) -> Result<Picture, Error> {
    let header = Header { frames: 1, ..Header::still(probe.width, probe.height, probe.has_alpha) };
    let mut first = None;
    gif::frames(bytes, &header, deadline, &mut |picture, _| {
        first = Some(picture);
        Ok(())
    })?;
    first.ok_or_else(|| Error::Malformed { format: probe.format, detail: "no frame".to_owned() })
}

/// Size before orientation.
fn stored_size(probe: &Probe) -> (u32, u32) {
    if swaps(probe.orientation) { (probe.height, probe.width) } else { (probe.width, probe.height) }
}

#[cfg(test)]
mod tests;
