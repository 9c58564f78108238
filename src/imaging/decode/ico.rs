//! Windows icons: the largest entry, and of equal ones that of the most bits, as browsers show them.
//!
//! Invariant: [`header`] and [`decode`] choose the same entry, and its size is what the entry itself says: the directory,
//! which writers fill in carelessly, only decides which entry is looked at.

use super::bmp::{self, FILE_HEADER, word};
use super::colour::{Channels, Raw, Samples, Space};
use super::header::Header;
use super::png;
use crate::format::ImageFormat;
use crate::imaging::{Error, Limits};

/// Bytes of the only bitmap header that icons have.
const INFO_HEADER: usize = 40;

fn malformed(detail: &str) -> Error {
    Error::Malformed { format: ImageFormat::Ico, detail: detail.to_owned() }
}

/// What an entry holds.
enum Entry<'a> {
    Png(&'a [u8]),
    Bitmap(Bitmap<'a>),
}

/// A bitmap without a file header, its colours above, its mask below.
struct Bitmap<'a> {
    bytes: &'a [u8],
    width: usize,
    height: usize,
    depth: u16,
    /// Where the colours begin, after header and palette.
    colours: usize,
}

impl Bitmap<'_> {
    /// Bytes of a row of so many bits a pixel: rows are filled up to whole words.
    fn row(&self, depth: usize) -> usize {
        (self.width * depth).div_ceil(32) * 4
    }

    /// Where the mask begins, which has one bit a pixel: set where the icon is transparent.
    fn mask(&self) -> Option<&[u8]> {
        let start = self.colours + self.row(usize::from(self.depth)) * self.height;
        self.bytes.get(start..start + self.row(1) * self.height)
    }

    /// The colours as a BMP file.
    fn file(&self) -> Vec<u8> {
        let offset = (FILE_HEADER + self.colours) as u32;
        let mut file = b"BM".to_vec();
        file.extend((FILE_HEADER as u32 + self.bytes.len() as u32).to_le_bytes());
        file.extend([0; 4]);
        file.extend(offset.to_le_bytes());
        let end = self.colours + self.row(usize::from(self.depth)) * self.height;
        file.extend(&self.bytes[..end.min(self.bytes.len())]);
        file[FILE_HEADER + 8..FILE_HEADER + 12].copy_from_slice(&(self.height as u32).to_le_bytes());
        file
    }
}

/// The entry that is shown.
fn entry(bytes: &[u8]) -> Result<Entry<'_>, Error> {
    let count = bytes.get(4..6).map_or(0, |count| usize::from(u16::from_le_bytes([count[0], count[1]])));
    // A side of 256 is written as 0.
    let side = |byte: u8| if byte == 0 { 256 } else { u32::from(byte) };
    let (directory, _) = bytes.get(6..).unwrap_or_default().as_chunks::<16>();
    let best = directory
        .iter()
        .take(count)
        // The first of equals, as `max_by_key` would take the last.
        .rev()
        .max_by_key(|entry| (side(entry[0]) * side(entry[1]), bits(bytes, entry)))
        .ok_or_else(|| malformed("no entry"))?;
    let data = data(bytes, best).ok_or_else(|| malformed("an entry outside the file"))?;
    if data.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Ok(Entry::Png(data));
    }
    bitmap(data).map(Entry::Bitmap)
}

fn data<'a>(bytes: &'a [u8], entry: &[u8; 16]) -> Option<&'a [u8]> {
    let (size, offset) = (word(entry, 8)? as usize, word(entry, 12)? as usize);
    let rest = bytes.get(offset..)?;
    // A size beyond the end is a careless one: the entry itself knows how long it is.
    Some(&rest[..size.min(rest.len())])
}

/// Bits a pixel of an entry: what its bitmap says, as directories name 0 and nonsense.
fn bits(bytes: &[u8], entry: &[u8; 16]) -> u16 {
    let told = u16::from_le_bytes([entry[6], entry[7]]);
    let own = data(bytes, entry).filter(|data| word(data, 0) == Some(INFO_HEADER as u32));
    own.and_then(|data| data.get(14..16)).map_or(told, |own| u16::from_le_bytes([own[0], own[1]]))
}

fn bitmap(bytes: &[u8]) -> Result<Bitmap<'_>, Error> {
    let field = |at| word(bytes, at).ok_or_else(|| malformed("a bitmap cut short"));
    if field(0)? as usize != INFO_HEADER {
        return Err(malformed("an entry that is neither PNG nor bitmap"));
    }
    let (width, doubled) = (field(4)?, field(8)?);
    let depth = (field(12)? >> 16) as u16;
    if field(16)? != 0 || !matches!(depth, 1 | 4 | 8 | 16 | 24 | 32) {
        let detail = format!("a bitmap of {depth} bits with compression {}", field(16)?);
        return Err(Error::Unsupported { format: ImageFormat::Ico, detail });
    }
    // The height counts colours and mask.
    let height = doubled / 2;
    // Larger ones are not written, and sums of them stay within the range of numbers here.
    if width == 0 || height == 0 || width > 65_535 || height > 65_535 {
        return Err(malformed("a bitmap of an impossible size"));
    }
    let palette = match (depth, field(32)?) {
        (16.., _) => 0,
        (_, 0) => 1 << depth,
        (_, colours) => colours.min(1 << depth) as usize,
    };
    let (width, height) = (width as usize, height as usize);
    Ok(Bitmap { bytes, width, height, depth, colours: INFO_HEADER + 4 * palette })
}

/// What the header says.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    match entry(bytes)? {
        Entry::Png(png) => Ok(Header { frames: 1, ..png::header(png, limits)? }),
        Entry::Bitmap(bitmap) => {
            let (width, height) = (bitmap.width as u32, bitmap.height as u32);
            // The copy with a file header, the decoder's samples and the image.
            Ok(Header { working: 16, ..Header::still(width, height, true) })
        }
    }
}

/// Decodes the image.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raw, Error> {
    let bitmap = match entry(bytes)? {
        Entry::Png(png) => return png::decode(png, limits),
        Entry::Bitmap(bitmap) => bitmap,
    };
    let raw = bmp::decode(&bitmap.file(), limits).map_err(|error| match error {
        Error::Malformed { detail, .. } => malformed(&detail),
        other => other,
    })?;
    let Samples::Eight(colours) = &raw.samples else { return Err(malformed("no 8-bit samples")) };
    let count = raw.channels.count();
    let mut pixels: Vec<u8> = match raw.channels {
        Channels::Grey => colours.iter().flat_map(|v| [*v, *v, *v, 255]).collect(),
        _ => colours.chunks_exact(count).flat_map(|p| [p[0], p[1], p[2], 255]).collect(),
    };
    // Alpha of 32 bits counts if any of it is set; else, and with fewer bits, the mask does.
    let alpha = if bitmap.depth == 32 { alpha(&bitmap) } else { None };
    match alpha {
        Some(alpha) => pixels.chunks_exact_mut(4).zip(alpha).for_each(|(pixel, alpha)| pixel[3] = alpha),
        None => mask(&bitmap, &mut pixels),
    }
    let samples = Samples::Eight(pixels);
    Ok(Raw { width: raw.width, height: raw.height, channels: Channels::Rgba, samples, space: Space::Srgb })
}

/// The fourth byte of each pixel from the top, unless all are 0.
fn alpha(bitmap: &Bitmap<'_>) -> Option<Vec<u8>> {
    let rows = bitmap.bytes.get(bitmap.colours..)?.chunks_exact(bitmap.width * 4).take(bitmap.height);
    let rows: Vec<_> = rows.collect();
    let alpha: Vec<u8> = rows.iter().rev().flat_map(|row| row.as_chunks::<4>().0.iter().map(|p| p[3])).collect();
    alpha.iter().any(|alpha| *alpha != 0).then_some(alpha)
}

/// Clears what the mask says; an icon without one is opaque.
fn mask(bitmap: &Bitmap<'_>, pixels: &mut [u8]) {
    let Some(mask) = bitmap.mask() else { return };
    let rows = mask.chunks_exact(bitmap.row(1)).rev();
    for (row, pixels) in rows.zip(pixels.chunks_exact_mut(bitmap.width * 4)) {
        for (at, pixel) in pixels.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            if row[at / 8] >> (7 - at % 8) & 1 == 1 {
                pixel[3] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests;
