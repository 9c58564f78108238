//! WebP: the chunk walk that probing and stripping share, and decoding by image-webp.
//!
//! The law: a file shorter than its RIFF header says is refused, and frames are counted by walking chunks.

use std::io::Cursor;
use std::time::{Duration, Instant};

use image::metadata::Orientation;
use image_webp::{DecodingError, WebPDecoder};

use super::Picture;
use super::colour::{Channels, Raw, Samples, Space};
use super::header::{Header, within};
use crate::format::ImageFormat;
use crate::imaging::{Error, Limits, check};

fn malformed(detail: impl ToString) -> Error {
    Error::Malformed { format: ImageFormat::Webp, detail: detail.to_string() }
}

/// Calls `each` with the type, data and whole bytes (with padding) of every top-level chunk.
pub(crate) fn walk<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut([u8; 4], &'a [u8], &'a [u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let size = bytes.get(4..8).and_then(|size| size.try_into().ok()).map_or(0, u32::from_le_bytes) as usize;
    let Some(mut rest) = bytes.get(12..size.saturating_add(8)) else {
        return Err(malformed("the file is truncated"));
    };
    while let Some((&[a, b, c, d, e, f, g, h], _)) = rest.split_first_chunk::<8>() {
        let size = u32::from_le_bytes([e, f, g, h]) as usize;
        let Some(data) = rest.get(8..size.saturating_add(8)) else {
            return Err(malformed("a chunk is truncated"));
        };
        // An odd chunk is padded; the last one's padding is often forgotten.
        let (whole, next) = rest.split_at((8 + size + size % 2).min(rest.len()));
        each([a, b, c, d], data, whole)?;
        rest = next;
    }
    Ok(())
}

/// What the chunks say.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let mut first: Option<Header> = None;
    let mut animated = false;
    let mut frames = 0;
    let mut metadata = 0;
    walk(bytes, |kind, data, _| {
        match (&kind, first.as_mut()) {
            (b"VP8X", None) => {
                let &[flags, _, _, _, a, b, c, d, e, f, ..] = data else {
                    return Err(malformed("the extended header is truncated"));
                };
                let size = |bytes: [u8; 3]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]) + 1;
                animated = flags & 2 != 0;
                first = Some(Header::still(size([a, b, c]), size([d, e, f]), flags & 0x10 != 0));
            }
            (b"VP8 ", None) => {
                let &[_, _, _, 0x9D, 0x01, 0x2A, a, b, c, d, ..] = data else {
                    return Err(malformed("no key frame"));
                };
                let size = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
                first = Some(Header::still(size(a, b), size(c, d), false));
            }
            (b"VP8L", None) => {
                let &[0x2F, a, b, c, d, ..] = data else {
                    return Err(malformed("no lossless signature"));
                };
                let bits = u32::from_le_bytes([a, b, c, d]);
                first = Some(Header::still((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bits >> 28 & 1 == 1));
            }
            (b"ANMF", Some(_)) => frames += 1,
            // Background colour, then how often it plays.
            (b"ANIM", Some(header)) => {
                header.plays = data.get(4..6).map_or(1, |plays| u32::from(plays[0]) | u32::from(plays[1]) << 8);
            }
            (b"EXIF", Some(header)) => {
                metadata += data.len();
                let body = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
                if let Some(found) = Orientation::from_exif_chunk(body) {
                    header.orientation = found;
                }
            }
            (b"ICCP" | b"XMP ", Some(_)) => metadata += data.len(),
            _ => {}
        }
        within("metadata bytes", metadata as u64, limits.max_metadata_bytes as u64)
    })?;
    let Some(mut header) = first else { return Err(malformed("no picture chunk")) };
    // The frame as planes and as RGBA beside the picture; and the canvas of an animation.
    header.working = 10;
    if animated {
        if frames == 0 {
            return Err(malformed("an animation without frames"));
        }
        header.frames = frames;
        header.working += 4;
    }
    Ok(header)
}

fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<WebPDecoder<Cursor<&'a [u8]>>, Error> {
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(refused)?;
    decoder.set_memory_limit(limits.max_metadata_bytes);
    if decoder.is_animated() {
        // Browsers ignore the file's background colour and clear to transparent.
        decoder.set_background_color([0; 4]).map_err(refused)?;
    }
    Ok(decoder)
}

fn refused(error: DecodingError) -> Error {
    match error {
        DecodingError::UnsupportedFeature(detail) => Error::Unsupported { format: ImageFormat::Webp, detail },
        other => malformed(other),
    }
}

fn space(decoder: &mut WebPDecoder<Cursor<&[u8]>>) -> Space {
    decoder.icc_profile().ok().flatten().map_or(Space::Srgb, Space::Icc)
}

fn buffer(decoder: &WebPDecoder<Cursor<&[u8]>>) -> Result<Vec<u8>, Error> {
    Ok(vec![0; decoder.output_buffer_size().ok_or_else(|| malformed("too large for memory"))?])
}

/// Decodes the picture, or the first frame of an animation.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raw, Error> {
    let mut decoder = open(bytes, limits)?;
    let mut pixels = buffer(&decoder)?;
    if decoder.is_animated() {
        decoder.read_frame(&mut pixels).map_err(refused)?;
    } else {
        decoder.read_image(&mut pixels).map_err(refused)?;
    }
    let space = space(&mut decoder);
    Ok(raw(&decoder, pixels, space))
}

fn raw(decoder: &WebPDecoder<Cursor<&[u8]>>, pixels: Vec<u8>, space: Space) -> Raw {
    let (width, height) = decoder.dimensions();
    let channels = if decoder.has_alpha() { Channels::Rgba } else { Channels::Rgb };
    Raw { width, height, channels, samples: Samples::Eight(pixels), space }
}

/// Streams the frames.
pub(crate) fn frames(
    bytes: &[u8],
    header: &Header,
    limits: &Limits,
    deadline: Instant,
    each: &mut dyn FnMut(Picture, Duration) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut decoder = open(bytes, limits)?;
    let space = space(&mut decoder);
    for _ in 0..header.frames {
        check(deadline)?;
        let mut pixels = buffer(&decoder)?;
        let delay = decoder.read_frame(&mut pixels).map_err(refused)?;
        // Delays are kept as they are: what is written is WebP again, and its readers apply their own minimum.
        each(raw(&decoder, pixels, space.clone()).into_picture(), Duration::from_millis(u64::from(delay)))?;
    }
    Ok(())
}
