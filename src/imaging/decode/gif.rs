//! GIF: the block walk that probing and stripping share, and decoding by the gif crate.
//!
//! The law: frames are counted and measured by walking blocks, never by unpacking them, and every frame that leaves is
//! the whole canvas. Colours are sRGB; ICC in GIF is not read, as in browsers.

use std::io::Cursor;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use ::gif::{ColorOutput, DecodeOptions, DisposalMethod, MemoryLimit};

use super::Picture;
use super::canvas::{Canvas, Dispose, Patch, shown_for};
use super::header::{Header, within};
use crate::format::ImageFormat;
use crate::imaging::{Error, Limits, check};

fn malformed(detail: impl ToString) -> Error {
    Error::Malformed { format: ImageFormat::Gif, detail: detail.to_string() }
}

/// One block of a GIF, with all its bytes.
pub(crate) enum Block<'a> {
    /// Signature, screen descriptor and global palette.
    Head(&'a [u8]),
    /// An extension, by label.
    Extension(u8, &'a [u8]),
    /// A frame: image descriptor, local palette, data.
    Frame(&'a [u8]),
}

/// Calls `each` for every block; the trailer ends the walk, and a file may lack it, but may not end within a block.
pub(crate) fn walk<'a>(bytes: &'a [u8], mut each: impl FnMut(Block<'a>) -> Result<(), Error>) -> Result<(), Error> {
    let truncated = || malformed("a block is truncated");
    let palette = |packed: u8| if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) };
    let mut at = 13 + palette(*bytes.get(10).ok_or_else(truncated)?);
    each(Block::Head(bytes.get(..at).ok_or_else(truncated)?))?;
    loop {
        let start = at;
        match bytes.get(at) {
            Some(0x21) => at = skip(bytes, at + 2).ok_or_else(truncated)?,
            Some(0x2C) => {
                let packed = *bytes.get(at + 9).ok_or_else(truncated)?;
                // After the descriptor and the palette one byte of code size, then data.
                at = skip(bytes, at + 10 + palette(packed) + 1).ok_or_else(truncated)?;
                each(Block::Frame(&bytes[start..at]))?;
                continue;
            }
            Some(0x3B) | None => return Ok(()),
            Some(_) => return Err(malformed("unknown block")),
        }
        each(Block::Extension(bytes[start + 1], &bytes[start..at]))?;
    }
}

/// Whether an application extension says how often an animation plays.
pub(crate) fn is_loop(extension: &[u8]) -> bool {
    matches!(extension.get(3..14), Some(b"NETSCAPE2.0" | b"ANIMEXTS1.0"))
}

/// Past a run of sub-blocks.
fn skip(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let size = usize::from(*bytes.get(at)?);
        at += 1 + size;
        if size == 0 {
            return Some(at);
        }
    }
}

/// What the blocks say.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let (mut width, mut height, mut frames, mut plays, mut alpha, mut metadata) = (0, 0, 0, 1, false, 0);
    walk(bytes, |block| {
        let pair = |bytes: &[u8], at: usize| u32::from(bytes[at]) | u32::from(bytes[at + 1]) << 8;
        match block {
            Block::Head(head) => (width, height) = (pair(head, 6), pair(head, 8)),
            Block::Extension(0xF9, extension) => alpha |= extension.get(3).is_some_and(|packed| packed & 1 == 1),
            Block::Extension(0xFF, extension) if is_loop(extension) => {
                // Repetitions after the first showing; 0 is for ever.
                plays = extension.get(16..18).map_or(1, |count| match pair(count, 0) {
                    0 => 0,
                    again => again + 1,
                });
            }
            Block::Extension(_, extension) => metadata += extension.len(),
            Block::Frame(frame) => {
                let [left, top, w, h] = [1, 3, 5, 7].map(|at| pair(frame, at));
                if width == 0 || height == 0 {
                    // Some writers leave the screen empty; browsers then take the first frame's.
                    (width, height) = (left + w, top + h);
                }
                // What no frame covers at first is transparent.
                alpha |= frames == 0 && (left > 0 || top > 0 || w < width || h < height);
                frames += 1;
                // A frame may be larger than the screen, and is unpacked whole.
                within("pixels", u64::from(w) * u64::from(h), limits.max_pixels)?;
            }
        }
        within("metadata bytes", metadata as u64, limits.max_metadata_bytes as u64)
    })?;
    if frames == 0 {
        return Err(malformed("no frame"));
    }
    // Canvas, its saved copy, the frame as indices and as RGBA, and the picture handed on.
    Ok(Header { frames, plays, working: 17, ..Header::still(width, height, alpha) })
}

/// Streams the frames.
pub(crate) fn frames(
    bytes: &[u8],
    header: &Header,
    limits: &Limits,
    deadline: Instant,
    each: &mut dyn FnMut(Picture, Duration) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    let most = NonZeroU64::new(limits.max_pixels.saturating_mul(4).max(1));
    options.set_memory_limit(most.map_or(MemoryLimit::Unlimited, MemoryLimit::Bytes));
    let mut decoder = options.read_info(Cursor::new(bytes)).map_err(malformed)?;
    let mut canvas = Canvas::new(header.width, header.height);
    for _ in 0..header.frames {
        check(deadline)?;
        let Some(frame) = decoder.read_next_frame().map_err(malformed)? else {
            return Err(malformed("fewer frames than blocks"));
        };
        let patch = Patch {
            left: u32::from(frame.left),
            top: u32::from(frame.top),
            width: u32::from(frame.width),
            height: u32::from(frame.height),
            rgba: &frame.buffer,
            over: true,
            dispose: match frame.dispose {
                DisposalMethod::Any | DisposalMethod::Keep => Dispose::Keep,
                DisposalMethod::Background => Dispose::Clear,
                DisposalMethod::Previous => Dispose::Undo,
            },
        };
        let delay = Duration::from_millis(u64::from(frame.delay) * 10);
        let pixels = canvas.draw(&patch).to_vec();
        let picture = Picture { width: header.width, height: header.height, alpha: true, pixels };
        each(picture.without_opaque_alpha(), shown_for(delay))?;
    }
    Ok(())
}
