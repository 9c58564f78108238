//! JPEG: the walk over its segments that probing and stripping share, and decoding by zune-jpeg.
//!
//! Invariant: **a file without its end is refused**, not shown half grey; the walk looks for the end, strict decoding for
//! damage before it. Four-component files are ink: Adobe's are stored inverted (Adobe TN 5116), others as they are.

use std::collections::BTreeMap;

use std::ops::Range;

use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::colour::{Channels, Raw, Samples, Space};
use super::header::Header;
use crate::format::ImageFormat;
use crate::imaging::{Error, Limits};

/// More scans than any encoder writes; each costs a pass over all coefficients.
const MAX_SCANS: u32 = 100;

fn malformed(detail: impl ToString) -> Error {
    Error::Malformed { format: ImageFormat::Jpeg, detail: detail.to_string() }
}

fn unsupported(detail: impl ToString) -> Error {
    Error::Unsupported { format: ImageFormat::Jpeg, detail: detail.to_string() }
}

/// One marker segment.
pub(crate) struct Segment<'a> {
    /// Its marker, the byte after 0xFF.
    pub(crate) marker: u8,
    /// What follows the length; empty for markers that have none.
    pub(crate) body: &'a [u8],
    /// Marker, length and body, and for a scan the entropy-coded data, in the file.
    pub(crate) span: Range<usize>,
}

/// Calls `each` for every segment up to and with the end of the image, and returns where that end is.
///
/// Costs one pass over the bytes; bytes between segments are skipped, as decoders do.
pub(crate) fn walk<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(&Segment<'a>) -> Result<(), Error>,
) -> Result<usize, Error> {
    let mut at = 2;
    loop {
        let Some(next) = find_marker(bytes, at) else {
            return Err(malformed("the end is missing: the file is truncated"));
        };
        let marker = bytes[next + 1];
        at = next + 2;
        match marker {
            0xD9 => {
                each(&Segment { marker, body: &[], span: next..at })?;
                return Ok(at);
            }
            // SOI, TEM and stray restart markers stand alone.
            0xD8 | 0x01 | 0xD0..=0xD7 => continue,
            _ => {}
        }
        let Some(&[high, low]) = bytes.get(at..at + 2) else {
            return Err(malformed("a segment is truncated"));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some(body) = length.checked_sub(2).and_then(|size| bytes.get(at + 2..at + 2 + size)) else {
            return Err(malformed("a segment is truncated"));
        };
        at += length;
        if marker == 0xDA {
            at = end_of_scan(bytes, at);
        }
        each(&Segment { marker, body, span: next..at })?;
    }
}

/// The next 0xFF that begins a marker: not stuffing, not fill.
fn find_marker(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += find_ff(bytes.get(at..)?)?;
        match bytes.get(at + 1)? {
            0x00 => at += 2,
            0xFF => at += 1,
            _ => return Some(at),
        }
    }
}

/// Where entropy-coded data ends: at the first marker that is no restart.
fn end_of_scan(bytes: &[u8], mut at: usize) -> usize {
    while let Some(next) = find_marker(bytes, at) {
        if !matches!(bytes[next + 1], 0xD0..=0xD7) {
            return next;
        }
        at = next + 2;
    }
    bytes.len()
}

/// Blocks first: `contains` compares a word at a time, and 0xFF is rare in entropy-coded data.
fn find_ff(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let block = bytes.chunks(BLOCK).position(|block| block.contains(&0xFF))? * BLOCK;
    Some(block + bytes[block..].iter().position(|byte| *byte == 0xFF)?)
}

/// How components lie in the file.
#[derive(Default)]
struct Layout {
    components: u8,
    /// Samples across and down of each component.
    sampling: Vec<(u8, u8)>,
    /// A scan has fewer components than the image.
    apart: bool,
    restarts: bool,
}

impl Layout {
    /// Bytes that the coefficients of a pixel take, at 16 bits each.
    fn coefficient_bytes(&self) -> u32 {
        let shared = |of: fn(&(u8, u8)) -> u8| u32::from(self.sampling.iter().map(of).max().unwrap_or(1).max(1));
        let blocks = self.sampling.iter().map(|(h, v)| u32::from(*h) * u32::from(*v)).sum::<u32>();
        (2 * blocks).div_ceil(shared(|(h, _)| *h) * shared(|(_, v)| *v))
    }

    /// What the decoder would draw as something else without a word; an error is better than that.
    fn misread(&self, process: u8) -> Option<&'static str> {
        let (&(across, down), others) = self.sampling.split_first()?;
        if others.iter().any(|(h, v)| *h > across || *v > down) {
            return Some("luma of fewer samples than chroma");
        }
        let shared = self.sampling.iter().any(|(_, v)| *v > 1);
        let sequential = process != 0xC2 && self.components > 1;
        (sequential && self.apart && (shared || self.restarts)).then_some("scans of single components of this sampling")
    }
}

/// What the frame header and the segments before the first scan say.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let mut frame: Option<(u8, u32, u32, u8)> = None;
    let mut exif = None;
    let mut layout = Layout::default();
    let mut metadata = 0;
    let mut scans = 0u32;
    walk(bytes, |segment| {
        match (segment.marker, segment.body) {
            (0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF, body) if frame.is_none() => {
                let &[precision, a, b, c, d, components, ..] = body else {
                    return Err(malformed("the frame header is truncated"));
                };
                let (height, width) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                if precision != 8 {
                    return Err(unsupported(format!("{precision} bits a sample")));
                }
                if !matches!(segment.marker, 0xC0..=0xC2) {
                    return Err(unsupported(format!("coding process SOF{}", segment.marker - 0xC0)));
                }
                frame = Some((segment.marker, u32::from(width), u32::from(height), components));
                layout.components = components;
                layout.sampling =
                    body[6..].chunks_exact(3).map(|component| (component[1] >> 4, component[1] & 15)).collect();
            }
            (0xE1, body) => {
                metadata += body.len();
                // The first segment of EXIF counts, as in browsers and every tool, even if it says nothing of this.
                if let Some(body) = body.strip_prefix(b"Exif\0\0").filter(|_| exif.is_none()) {
                    exif = Some(Orientation::from_exif_chunk(body).unwrap_or(Orientation::NoTransforms));
                }
            }
            (0xE2..=0xED | 0xEF | 0xFE, body) => metadata += body.len(),
            (0xDA, body) => {
                scans += 1;
                layout.apart |= body.first().is_some_and(|count| *count < layout.components);
            }
            (0xDD, body) => layout.restarts |= body != [0, 0],
            _ => {}
        }
        super::header::within("metadata bytes", metadata as u64, limits.max_metadata_bytes as u64)?;
        super::header::within("JPEG scans", u64::from(scans), u64::from(MAX_SCANS))
    })?;
    let Some((process, width, height, components)) = frame else {
        return Err(malformed("no frame header"));
    };
    if scans == 0 {
        return Err(malformed("no image data"));
    }
    if !matches!(components, 1 | 3 | 4) {
        return Err(unsupported(format!("{components} components")));
    }
    if let Some(kind) = layout.misread(process) {
        return Err(unsupported(kind));
    }
    // Decoded samples, grey ones beside the colours made of them, and for progressive files the coefficients of the whole
    // image at 16 bits.
    let coefficients = if process == 0xC2 { layout.coefficient_bytes() } else { 0 };
    let output = if components == 3 { 3 } else { 4 };
    let orientation = exif.unwrap_or(Orientation::NoTransforms);
    let foreign = components == 4;
    Ok(Header { orientation, foreign, working: coefficients + output, ..Header::still(width, height, false) })
}

/// Decodes the whole image.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raw, Error> {
    let edge = limits.max_edge as usize;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(edge)
        .set_max_height(edge)
        .jpeg_set_max_scans(MAX_SCANS as usize);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(refused)?;
    let colours = decoder.input_colorspace();
    let (ask, channels) = match colours {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, Channels::Grey),
        Some(four @ (ColorSpace::CMYK | ColorSpace::YCCK)) => (four, Channels::Cmyk),
        Some(ColorSpace::YCbCr | ColorSpace::RGB) => (ColorSpace::RGB, Channels::Rgb),
        other => return Err(unsupported(format!("colour space {other:?}"))),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(ask));
    let mut pixels = decoder.decode().map_err(refused)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| malformed("no dimensions"))?;
    if channels == Channels::Cmyk {
        to_ink(&mut pixels, colours == Some(ColorSpace::YCCK));
    }
    let space = profile(bytes)?.map_or(Space::Srgb, Space::Icc);
    Ok(Raw { width: width as u32, height: height as u32, channels, samples: Samples::Eight(pixels), space })
}

fn refused(error: DecodeErrors) -> Error {
    match error {
        DecodeErrors::Unsupported(kind) => unsupported(format!("{kind:?}")),
        DecodeErrors::LargeDimensions(found) => {
            Error::LimitExceeded { what: "edge", value: found as u64, limit: found as u64 - 1 }
        }
        other => malformed(format!("{other:?}")),
    }
}

/// The colour profile, put together from its numbered parts (ICC.1, annex B.4). A part that is there twice counts once:
/// some writers repeat the profile after the frame header.
fn profile(bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let mut parts: BTreeMap<u8, &[u8]> = BTreeMap::new();
    let mut count = 0;
    walk(bytes, |segment| {
        if let (0xE2, Some(&[number, of, ref part @ ..])) =
            (segment.marker, segment.body.strip_prefix(b"ICC_PROFILE\0"))
        {
            parts.entry(number).or_insert(part);
            count = if count == 0 { of } else { count };
        }
        Ok(())
    })?;
    let whole = count > 0 && parts.len() == usize::from(count) && parts.keys().copied().eq(1..=count);
    Ok(whole.then(|| parts.into_values().flatten().copied().collect()))
}

/// Stored four components to ink coverage, in place. Stored is the complement of ink: what Adobe's marker says, and what
/// browsers and libvips take files without it for.
fn to_ink(pixels: &mut [u8], ycck: bool) {
    for pixel in pixels.chunks_exact_mut(4) {
        if ycck {
            let [y, cb, cr] = [pixel[0], pixel[1], pixel[2]].map(i32::from);
            let (cb, cr) = (cb - 128, cr - 128);
            // JFIF's conversion in 16-bit fixed point. YCCK holds the complement of the stored ink: the ink itself.
            let rgb = [
                y + ((91_881 * cr + 32_768) >> 16),
                y - ((22_554 * cb + 46_802 * cr + 32_768) >> 16),
                y + ((116_130 * cb + 32_768) >> 16),
            ];
            for (value, channel) in pixel.iter_mut().zip(rgb) {
                *value = channel.clamp(0, 255) as u8;
            }
            pixel[3] = 255 - pixel[3];
        } else {
            pixel.iter_mut().for_each(|value| *value = 255 - *value);
        }
    }
}

#[cfg(test)]
mod tests;
