//! JPEG: the walk over its segments that probing and stripping share, and decoding by zune-jpeg.
//!
//! The law: **a file without its end is refused**, not shown half grey; the walk looks for the end, strict decoding for
//! damage before it. Four-component files are ink: Adobe's are stored inverted (Adobe TN 5116), others as they are.

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

/// What the frame header and the segments before the first scan say.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let mut frame: Option<(u8, u32, u32, u8)> = None;
    let mut orientation = Orientation::NoTransforms;
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
            }
            (0xE1, body) => {
                metadata += body.len();
                if let Some(found) = body.strip_prefix(b"Exif\0\0").and_then(Orientation::from_exif_chunk) {
                    orientation = found;
                }
            }
            (0xE2..=0xED | 0xEF | 0xFE, body) => metadata += body.len(),
            (0xDA, _) => scans += 1,
            _ => {}
        }
        super::header::within("metadata bytes", metadata as u64, limits.max_metadata_bytes as u64)?;
        super::header::within("JPEG scans", u64::from(scans), u64::from(MAX_SCANS))
    })?;
    let Some((process, width, height, components)) = frame else {
        return Err(malformed("no frame header"));
    };
    if scans == 0 {
        return Err(malformed("no picture data"));
    }
    if !matches!(components, 1 | 3 | 4) {
        return Err(unsupported(format!("{components} components")));
    }
    // Decoded samples, and for progressive files the coefficients of the whole picture at 16 bits.
    let coefficients = if process == 0xC2 { 2 * u32::from(components) } else { 0 };
    let output = if components == 4 { 4 + 3 } else { 3 };
    Ok(Header { orientation, working: coefficients + output, ..Header::still(width, height, false) })
}

/// Decodes the whole picture.
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
        to_ink(&mut pixels, colours == Some(ColorSpace::YCCK), has_adobe_marker(bytes));
    }
    let space = decoder.icc_profile().map_or(Space::Srgb, Space::Icc);
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

fn has_adobe_marker(bytes: &[u8]) -> bool {
    let mut found = false;
    // The file was walked to its end when it was probed; an error here only means that no marker is seen.
    let walked = walk(bytes, |segment| {
        found |= segment.marker == 0xEE && segment.body.starts_with(b"Adobe");
        Ok(())
    });
    walked.is_ok() && found
}

/// Stored four components to ink coverage, in place.
fn to_ink(pixels: &mut [u8], ycck: bool, adobe: bool) {
    for pixel in pixels.chunks_exact_mut(4) {
        if ycck {
            let [y, cb, cr] = [pixel[0], pixel[1], pixel[2]].map(i32::from);
            let (cb, cr) = (cb - 128, cr - 128);
            // JFIF's conversion in 16-bit fixed point. YCCK holds the complement of the stored ink, so that for Adobe's
            // inverted files this is the ink itself.
            let rgb = [
                y + ((91_881 * cr + 32_768) >> 16),
                y - ((22_554 * cb + 46_802 * cr + 32_768) >> 16),
                y + ((116_130 * cb + 32_768) >> 16),
            ];
            for (value, channel) in pixel.iter_mut().zip(rgb) {
                let channel = channel.clamp(0, 255) as u8;
                *value = if adobe { channel } else { 255 - channel };
            }
            if adobe {
                pixel[3] = 255 - pixel[3];
            }
        } else if adobe {
            pixel.iter_mut().for_each(|value| *value = 255 - *value);
        }
    }
}
