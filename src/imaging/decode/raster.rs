//! BMP, TIFF and ICO, by the image crate's decoders.
//!
//! TIFF shows its first page, ICO its largest entry; 16-bit and floating-point samples (clamped to 0 to 1) keep their
//! depth until colour is done.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::ico::IcoDecoder;
use image::codecs::tiff::TiffDecoder;
use image::{ColorType, ExtendedColorType, ImageDecoder, ImageError};

use super::colour::{Channels, Raw, Samples, Space};
use super::header::Header;
use super::png;
use crate::format::ImageFormat;
use crate::imaging::{Error, Limits};

fn refused(format: ImageFormat) -> impl Fn(ImageError) -> Error {
    move |error| match error {
        ImageError::Unsupported(error) => Error::Unsupported { format, detail: error.to_string() },
        ImageError::Limits(error) => {
            Error::Malformed { format, detail: format!("beyond the decoder's limits: {error}") }
        }
        other => Error::Malformed { format, detail: other.to_string() },
    }
}

/// Runs `$then` with the decoder of `$format`, opened and limited.
macro_rules! with_decoder {
    ($bytes:expr, $format:expr, $limits:expr, |$decoder:ident| $then:expr) => {{
        let cursor = Cursor::new($bytes);
        let refused = refused($format);
        match $format {
            ImageFormat::Bmp => {
                let mut $decoder = BmpDecoder::new(cursor).map_err(&refused)?;
                $decoder.set_limits(image_limits($limits)).map_err(&refused)?;
                $then
            }
            ImageFormat::Tiff => {
                let mut $decoder = TiffDecoder::new(cursor).map_err(&refused)?;
                $decoder.set_limits(image_limits($limits)).map_err(&refused)?;
                $then
            }
            ImageFormat::Ico => {
                let mut $decoder = IcoDecoder::new(cursor).map_err(&refused)?;
                $decoder.set_limits(image_limits($limits)).map_err(&refused)?;
                $then
            }
            format => return Err(Error::Unsupported { format, detail: "no raster format".to_owned() }),
        }
    }};
}

fn image_limits(limits: &Limits) -> image::Limits {
    let mut image = image::Limits::no_limits();
    image.max_image_width = Some(limits.max_edge);
    image.max_image_height = Some(limits.max_edge);
    // Four samples of 32 bits, and as much again to work with.
    image.max_alloc = Some(limits.max_pixels.saturating_mul(32));
    image
}

/// What the header says.
pub(crate) fn header(bytes: &[u8], format: ImageFormat, limits: &Limits) -> Result<Header, Error> {
    if let Some(png) = png_in_icon(bytes, format) {
        return Ok(Header { frames: 1, ..png::header(png, limits)? });
    }
    with_decoder!(bytes, format, limits, |decoder| header_of(&mut decoder, format))
}

fn header_of(decoder: &mut impl ImageDecoder, format: ImageFormat) -> Result<Header, Error> {
    let (width, height) = decoder.dimensions();
    let colour = decoder.color_type();
    let orientation = decoder.orientation().map_err(refused(format))?;
    // The decoder's samples twice (unpacked and as read) beside the 8-bit picture.
    let working = 2 * u32::from(colour.bytes_per_pixel()) + 4;
    Ok(Header { orientation, working, ..Header::still(width, height, colour.has_alpha()) })
}

/// Decodes the picture.
pub(crate) fn decode(bytes: &[u8], format: ImageFormat, limits: &Limits) -> Result<Raw, Error> {
    if let Some(png) = png_in_icon(bytes, format) {
        return png::decode(png, limits);
    }
    with_decoder!(bytes, format, limits, |decoder| read(decoder, format, limits))
}

/// The PNG inside an icon, when its largest entry is one: the icon decoder takes only RGBA there, browsers take any.
fn png_in_icon(bytes: &[u8], format: ImageFormat) -> Option<&[u8]> {
    if format != ImageFormat::Ico {
        return None;
    }
    let entries = usize::from(u16::from_le_bytes([*bytes.get(4)?, *bytes.get(5)?]));
    let directory = bytes.get(6..)?.chunks_exact(16).take(entries);
    // A side of 256 is written as 0.
    let side = |byte: u8| if byte == 0 { 256 } else { u32::from(byte) };
    let largest = directory.max_by_key(|entry| (side(entry[0]) * side(entry[1]), entry[6]))?;
    let word = |at: usize| {
        let word = [largest[at], largest[at + 1], largest[at + 2], largest[at + 3]];
        usize::try_from(u32::from_le_bytes(word)).ok()
    };
    let (size, offset) = (word(8)?, word(12)?);
    let entry = bytes.get(offset..offset.checked_add(size)?)?;
    entry.starts_with(b"\x89PNG\r\n\x1a\n").then_some(entry)
}

fn read(mut decoder: impl ImageDecoder, format: ImageFormat, limits: &Limits) -> Result<Raw, Error> {
    let (width, height) = decoder.dimensions();
    let colour = decoder.color_type();
    let ink = matches!(decoder.original_color_type(), ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16);
    let profile = decoder.icc_profile().ok().flatten().filter(|profile| profile.len() <= limits.max_metadata_bytes);
    let size = usize::try_from(decoder.total_bytes())
        .map_err(|_| Error::Malformed { format, detail: "too large for memory".to_owned() })?;
    let mut bytes = vec![0; size];
    decoder.read_image(&mut bytes).map_err(refused(format))?;
    let words = |bytes: &[u8]| bytes.chunks_exact(2).map(|p| u16::from_ne_bytes([p[0], p[1]])).collect();
    let floats = |bytes: &[u8]| {
        let whole = bytes.chunks_exact(4).map(|p| f32::from_ne_bytes([p[0], p[1], p[2], p[3]]));
        whole.map(|value| (value.clamp(0.0, 1.0) * 65_535.0 + 0.5) as u16).collect()
    };
    let (channels, samples) = match colour {
        ColorType::L8 => (Channels::Grey, Samples::Eight(bytes)),
        ColorType::La8 => (Channels::GreyAlpha, Samples::Eight(bytes)),
        ColorType::Rgb8 => (Channels::Rgb, Samples::Eight(bytes)),
        ColorType::Rgba8 => (Channels::Rgba, Samples::Eight(bytes)),
        ColorType::L16 => (Channels::Grey, Samples::Sixteen(words(&bytes))),
        ColorType::La16 => (Channels::GreyAlpha, Samples::Sixteen(words(&bytes))),
        ColorType::Rgb16 => (Channels::Rgb, Samples::Sixteen(words(&bytes))),
        ColorType::Rgba16 => (Channels::Rgba, Samples::Sixteen(words(&bytes))),
        ColorType::Rgb32F => (Channels::Rgb, Samples::Sixteen(floats(&bytes))),
        ColorType::Rgba32F => (Channels::Rgba, Samples::Sixteen(floats(&bytes))),
        other => return Err(Error::Unsupported { format, detail: format!("samples {other:?}") }),
    };
    // The decoder has turned ink to RGB already, so that an ink profile no longer applies.
    let space = profile.filter(|_| !ink).map_or(Space::Srgb, Space::Icc);
    Ok(Raw { width, height, channels, samples, space })
}
