//! BMP, by the image crate's decoder, with headers it does not know rewritten to ones it does.
//!
//! Invariant: what [`header`] reports is what [`decode`] delivers, since both look at the same rewritten header. Browsers
//! decide what is right: an alpha mask counts without bit fields too, and an embedded profile is used.

use std::borrow::Cow;
use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::{ColorType, ImageDecoder, ImageError};

use super::colour::{Channels, Raw, Samples, Space};
use super::header::Header;
use crate::format::ImageFormat;
use crate::imaging::{Error, Limits};

/// Bytes of the file header, which the bitmap's own header follows.
pub(super) const FILE_HEADER: usize = 14;
/// Bytes of a `BITMAPINFOHEADER`.
const INFO_HEADER: usize = 40;
/// Bytes of the header from which on there is an alpha mask, and of the one from which on there is a profile.
const V3_HEADER: usize = 56;
const V5_HEADER: usize = 124;
/// `bV5CSType` of a profile that lies in the file.
const EMBEDDED: u32 = u32::from_be_bytes(*b"MBED");
/// Values of `biCompression`.
const RGB: u32 = 0;
const BIT_FIELDS: u32 = 3;

fn refused(error: ImageError) -> Error {
    let format = ImageFormat::Bmp;
    match error {
        ImageError::Unsupported(error) => Error::Unsupported { format, detail: error.to_string() },
        other => Error::Malformed { format, detail: other.to_string() },
    }
}

fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<BmpDecoder<Cursor<Cow<'a, [u8]>>>, Error> {
    let mut decoder = BmpDecoder::new(Cursor::new(rewritten(bytes))).map_err(refused)?;
    let mut allowed = image::Limits::no_limits();
    allowed.max_image_width = Some(limits.max_edge);
    allowed.max_image_height = Some(limits.max_edge);
    allowed.max_alloc = Some(limits.max_pixels.saturating_mul(32));
    decoder.set_limits(allowed).map_err(refused)?;
    Ok(decoder)
}

/// What the header says.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let decoder = open(bytes, limits)?;
    let (width, height) = decoder.dimensions();
    let colour = decoder.color_type();
    let copies = u8::from(matches!(rewritten(bytes), Cow::Owned(_)));
    let working = u32::from(colour.bytes_per_pixel());
    Ok(Header { working, copies, ..Header::still(width, height, colour.has_alpha()) })
}

/// Decodes the image.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raw, Error> {
    let decoder = open(bytes, limits)?;
    let (width, height) = decoder.dimensions();
    let channels = match decoder.color_type() {
        ColorType::L8 => Channels::Grey,
        ColorType::Rgb8 => Channels::Rgb,
        ColorType::Rgba8 => Channels::Rgba,
        other => return Err(Error::Unsupported { format: ImageFormat::Bmp, detail: format!("samples {other:?}") }),
    };
    let size = usize::try_from(decoder.total_bytes())
        .map_err(|_| Error::Malformed { format: ImageFormat::Bmp, detail: "too large for memory".to_owned() })?;
    let mut pixels = vec![0; size];
    decoder.read_image(&mut pixels).map_err(refused)?;
    // A mask over bytes that no writer has filled in: browsers take an image without any alpha for an opaque one.
    if channels == Channels::Rgba && pixels.chunks_exact(4).all(|pixel| pixel[3] == 0) {
        pixels.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 255);
    }
    let space = profile(bytes, limits).map_or(Space::Srgb, |profile| Space::Icc(profile.to_vec()));
    Ok(Raw { width, height, channels, samples: Samples::Eight(pixels), space })
}

/// The little-endian word at `at`.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// The profile that the header names, where it lies in the file.
fn profile<'a>(bytes: &'a [u8], limits: &Limits) -> Option<&'a [u8]> {
    if (word(bytes, FILE_HEADER)? as usize) < V5_HEADER || word(bytes, FILE_HEADER + 56)? != EMBEDDED {
        return None;
    }
    // Its place counts from the bitmap's header.
    let start = FILE_HEADER.checked_add(word(bytes, FILE_HEADER + 112)? as usize)?;
    let length = word(bytes, FILE_HEADER + 116)? as usize;
    bytes.get(start..start.checked_add(length)?).filter(|_| length <= limits.max_metadata_bytes)
}

/// The file with a header that the decoder knows and that means the same; the file itself where it does already.
fn rewritten(bytes: &[u8]) -> Cow<'_, [u8]> {
    let known = Cow::Borrowed(bytes);
    let Some(size) = word(bytes, FILE_HEADER).map(|size| size as usize) else { return known };
    match size {
        // The second header of OS/2 begins as Windows' does and may end after any field.
        16..=64 if !matches!(size, INFO_HEADER | 52 | V3_HEADER) => os2(bytes, size).map_or(known, Cow::Owned),
        INFO_HEADER.. => windows(bytes, size).map_or(known, Cow::Owned),
        _ => known,
    }
}

fn os2(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let fields = bytes.get(FILE_HEADER..FILE_HEADER + size)?;
    let rest = bytes.get(FILE_HEADER + size..)?;
    let offset = word(bytes, 10)? as usize;
    let mut info = fields[..size.min(INFO_HEADER)].to_vec();
    info.resize(INFO_HEADER, 0);
    // 3 and 4 are Huffman codes and run lengths of 24 bits here: to Windows they would be something else.
    if word(&info, 16)? >= BIT_FIELDS {
        return None;
    }
    info[..4].copy_from_slice(&(INFO_HEADER as u32).to_le_bytes());
    let offset = u32::try_from((offset + INFO_HEADER).checked_sub(size)?).ok()?;
    let mut file = bytes[..10].to_vec();
    file.extend(offset.to_le_bytes());
    file.extend(info);
    file.extend(rest);
    Some(file)
}

fn windows(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let depth = half(bytes, FILE_HEADER + 14)?;
    let compression = word(bytes, FILE_HEADER + 16)?;
    let colours = word(bytes, FILE_HEADER + 32)?;
    // More colours than indices can name: the first ones count.
    let most = if depth <= 8 { 1u32 << depth } else { u32::MAX };
    let masked = size >= V3_HEADER && depth == 32 && compression == RGB && word(bytes, FILE_HEADER + 52)? != 0;
    if colours <= most && !masked {
        return None;
    }
    let mut file = bytes.to_vec();
    if colours > most {
        file[FILE_HEADER + 32..FILE_HEADER + 36].copy_from_slice(&most.to_le_bytes());
    }
    if masked {
        file[FILE_HEADER + 16..FILE_HEADER + 20].copy_from_slice(&BIT_FIELDS.to_le_bytes());
        for (at, mask) in [0x00FF_0000u32, 0x0000_FF00, 0x0000_00FF].into_iter().enumerate() {
            let at = FILE_HEADER + INFO_HEADER + 4 * at;
            file[at..at + 4].copy_from_slice(&mask.to_le_bytes());
        }
    }
    Some(file)
}

#[cfg(test)]
mod tests;
