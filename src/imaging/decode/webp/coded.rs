//! One coded image of a WebP file, decoded by image-webp as a file of its own.
//!
//! Invariant: size and alpha are those of the coded image itself, whatever is said around it.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use super::malformed;
use crate::format::ImageFormat;
use crate::imaging::decode::colour::Channels;
use crate::imaging::{Error, Limits};

/// One coded image: the file's own, or a frame's.
#[derive(Default)]
pub(super) struct Coded<'a> {
    alpha: Option<&'a [u8]>,
    /// Type and data of the chunk of pixels.
    pub(super) pixels: Option<([u8; 4], &'a [u8])>,
}

impl<'a> Coded<'a> {
    /// Takes a chunk that belongs to an image; the first of each kind counts.
    pub(super) fn take(&mut self, kind: [u8; 4], data: &'a [u8]) {
        match &kind {
            b"ALPH" if self.pixels.is_none() => self.alpha = self.alpha.or(Some(data)),
            b"VP8 " | b"VP8L" => self.pixels = self.pixels.or(Some((kind, data))),
            _ => {}
        }
    }

    fn pixels(&self) -> Result<([u8; 4], &'a [u8]), Error> {
        self.pixels.ok_or_else(|| malformed("no image chunk, or one that is cut short"))
    }

    /// Width, height, and whether it can be transparent.
    pub(super) fn shape(&self) -> Result<(u32, u32, bool), Error> {
        let (kind, data) = self.pixels()?;
        if &kind == b"VP8L" {
            let &[0x2F, a, b, c, d, ..] = data else { return Err(malformed("no lossless signature")) };
            let bits = u32::from_le_bytes([a, b, c, d]);
            return Ok(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bits >> 28 & 1 == 1));
        }
        let &[_, _, _, 0x9D, 0x01, 0x2A, a, b, c, d, ..] = data else { return Err(malformed("no key frame")) };
        let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
        Ok((side(a, b), side(c, d), self.alpha.is_some()))
    }

    /// Decodes it, as RGB or RGBA.
    pub(super) fn decoded(&self, limits: &Limits) -> Result<(u32, u32, Channels, Vec<u8>), Error> {
        let (width, height, alpha) = self.shape()?;
        let file = self.file(width, height)?;
        let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(refused)?;
        decoder.set_memory_limit(limits.max_metadata_bytes);
        let size = decoder.output_buffer_size().ok_or_else(|| malformed("too large for memory"))?;
        let mut pixels = vec![0; size];
        decoder.read_image(&mut pixels).map_err(refused)?;
        if decoder.dimensions() != (width, height) || decoder.has_alpha() != alpha {
            return Err(malformed("an image of another size or kind than its header says"));
        }
        Ok((width, height, if alpha { Channels::Rgba } else { Channels::Rgb }, pixels))
    }

    /// A file of this image alone, whose flags say what is in it.
    fn file(&self, width: u32, height: u32) -> Result<Vec<u8>, Error> {
        let (kind, data) = self.pixels()?;
        let mut file = b"RIFF\0\0\0\0WEBP".to_vec();
        let mut push = |kind: [u8; 4], data: &[u8]| {
            file.extend(kind);
            file.extend((data.len() as u32).to_le_bytes());
            file.extend(data);
            if data.len() % 2 == 1 {
                file.push(0);
            }
        };
        if let Some(alpha) = self.alpha.filter(|_| &kind == b"VP8 ") {
            let [w, h] = [width, height].map(|side| side.wrapping_sub(1).to_le_bytes());
            push(*b"VP8X", &[0x10, 0, 0, 0, w[0], w[1], w[2], h[0], h[1], h[2]]);
            push(*b"ALPH", alpha);
        }
        push(kind, data);
        let size = u32::try_from(file.len() - 8).map_err(|_| malformed("too large"))?;
        file[4..8].copy_from_slice(&size.to_le_bytes());
        Ok(file)
    }
}

fn refused(error: DecodingError) -> Error {
    match error {
        DecodingError::UnsupportedFeature(detail) => Error::Unsupported { format: ImageFormat::Webp, detail },
        other => malformed(other),
    }
}
