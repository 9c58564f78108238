//! The source's own image without what is not image: location, author, edit history, and whatever follows its end.
//!
//! Invariant: **pixels and how they are shown are untouched, all else goes**. What is kept is a list; a segment or chunk
//! that is not on it is dropped. Trailing bytes are dropped too, so that no second file hides behind the first.

use super::{avif, gif, jpeg, png, webp};
use crate::format::ImageFormat;
use crate::imaging::Error;

/// The stripped copy, or `None` for formats (and files) whose metadata cannot be taken out simply.
pub(crate) fn picture_only(bytes: &[u8], format: ImageFormat) -> Option<Vec<u8>> {
    let stripped = match format {
        ImageFormat::Jpeg => strip_jpeg(bytes),
        ImageFormat::Png => strip_png(bytes),
        ImageFormat::Webp => strip_webp(bytes),
        ImageFormat::Gif => strip_gif(bytes),
        ImageFormat::Avif => return avif::bare_end(bytes).map(|end| bytes[..end].to_vec()),
        ImageFormat::Bmp
        | ImageFormat::Tiff
        | ImageFormat::Ico
        | ImageFormat::Svg
        | ImageFormat::Jxl
        | ImageFormat::Heic
        | ImageFormat::Icns => return None,
    };
    stripped.ok()
}

fn strip_jpeg(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = vec![0xFF, 0xD8];
    jpeg::walk(bytes, |segment| {
        let kept = match segment.marker {
            // JFIF, colour profile, Adobe's colour transform.
            0xE0 => segment.body.starts_with(b"JFIF\0"),
            0xE2 => segment.body.starts_with(b"ICC_PROFILE\0"),
            0xEE => segment.body.starts_with(b"Adobe"),
            0xE1..=0xEF | 0xFE => false,
            _ => true,
        };
        if kept {
            out.extend_from_slice(&bytes[segment.span.clone()]);
        }
        Ok(())
    })?;
    Ok(out)
}

fn strip_png(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    const KEPT: [&[u8; 4]; 17] = [
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"sBIT", b"bKGD",
        b"pHYs", b"mDCV", b"acTL", b"fcTL", b"fdAT",
    ];
    // With an end, where it has none: what lies after its last whole chunk is nobody's image.
    let file = png::mended(bytes)?;
    let mut out = file[..png::SIGNATURE.min(file.len())].to_vec();
    png::walk(&file, |kind, _, whole| {
        if KEPT.contains(&&kind) {
            out.extend_from_slice(whole);
        }
        Ok(())
    })?;
    Ok(out)
}

fn strip_webp(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    const KEPT: [&[u8; 4]; 7] = [b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"];
    const EXIF_AND_XMP: u8 = 0x0C;
    let mut out = b"RIFF\0\0\0\0WEBP".to_vec();
    webp::walk(bytes, |kind, data, whole| {
        if KEPT.contains(&&kind) && (&kind != b"ANMF" || webp::is_frame(data)) {
            let start = out.len();
            out.extend_from_slice(whole);
            if &kind == b"VP8X"
                && let Some(flags) = out.get_mut(start + 8)
            {
                *flags &= !EXIF_AND_XMP;
            }
            // The padding of an odd chunk, where the file's end left it out.
            if out.len() % 2 == 1 {
                out.push(0);
            }
        }
        Ok(())
    })?;
    let size = u32::try_from(out.len() - 8).unwrap_or(u32::MAX);
    out[4..8].copy_from_slice(&size.to_le_bytes());
    Ok(out)
}

fn strip_gif(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(bytes.len());
    gif::walk(bytes, |block| {
        match block {
            gif::Block::Head(all) | gif::Block::Frame(all) | gif::Block::Extension(0xF9, all) => {
                out.extend_from_slice(all)
            }
            gif::Block::Extension(0xFF, all) if gif::is_loop(all) => out.extend_from_slice(all),
            gif::Block::Extension(..) => {}
        }
        Ok(())
    })?;
    out.push(0x3B);
    Ok(out)
}
