//! GIF: the block walk that probing, decoding and stripping share; codes are undone by weezl.
//!
//! Invariant: frames are counted and measured by walking blocks, never by unpacking them, and every frame that leaves is
//! the whole canvas. The gif crate refuses much that every browser shows (short data, frames of no size, bytes that
//! begin no block), so that only its decompressor is used. Colours are sRGB; ICC in GIF is not read, as in browsers.

use std::time::{Duration, Instant};

use weezl::decode::Decoder;
use weezl::{BitOrder, LzwStatus};

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

/// Calls `each` for every block up to the trailer, or up to where blocks end otherwise: a file may lack its trailer, end
/// within a block, or go on with bytes that begin none, which is where browsers stop too.
pub(crate) fn walk<'a>(bytes: &'a [u8], mut each: impl FnMut(Block<'a>) -> Result<(), Error>) -> Result<(), Error> {
    let truncated = || malformed("the head is truncated");
    let mut at = 13 + palette_bytes(*bytes.get(10).ok_or_else(truncated)?);
    each(Block::Head(bytes.get(..at).ok_or_else(truncated)?))?;
    loop {
        let start = at;
        let (label, end) = match bytes.get(at..) {
            Some([0x21, label, ..]) => (Some(*label), skip(bytes, at + 2)),
            // After the descriptor and the palette one byte of code size, then data.
            Some([0x2C, descriptor @ ..]) if descriptor.len() >= 9 => {
                (None, skip(bytes, at + 10 + palette_bytes(descriptor[8]) + 1))
            }
            _ => return Ok(()),
        };
        let Some(end) = end else { return Ok(()) };
        at = end;
        let block = &bytes[start..end];
        each(label.map_or(Block::Frame(block), |label| Block::Extension(label, block)))?;
    }
}

/// Bytes of a palette by the field that says whether there is one.
fn palette_bytes(packed: u8) -> usize {
    if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
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

/// Where a frame lies: left, top, width, height.
fn rectangle(frame: &[u8], screen: (u32, u32)) -> [u32; 4] {
    let [left, top, width, height] = [1, 3, 5, 7].map(|at| pair(frame, at));
    // A frame of no size is one of the screen's, as browsers have it.
    if width == 0 || height == 0 { [left, top, screen.0, screen.1] } else { [left, top, width, height] }
}

fn pair(bytes: &[u8], at: usize) -> u32 {
    u32::from(bytes[at]) | u32::from(bytes[at + 1]) << 8
}

/// What the blocks say.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let (mut screen, mut frames, mut plays, mut alpha, mut metadata) = ((0, 0), 0, 1, false, 0);
    // What no frame has covered yet, or what was cleared away, is transparent.
    let (mut bare, mut control) = (true, Control::default());
    let (mut largest, mut all, mut global) = (0, 0, 0);
    walk(bytes, |block| {
        match block {
            Block::Head(head) => (screen, global) = ((pair(head, 6), pair(head, 8)), palette_bytes(head[10])),
            Block::Extension(0xF9, extension) => control = Control::of(extension),
            Block::Extension(0xFF, extension) if is_loop(extension) => {
                // Repetitions after the first showing; 0 is for ever.
                plays = extension.get(16..18).map_or(1, |count| match pair(count, 0) {
                    0 => 0,
                    again => again + 1,
                });
            }
            Block::Extension(_, extension) => metadata += extension.len(),
            Block::Frame(frame) => {
                let [left, top, width, height] = rectangle(frame, screen);
                if width == 0 || height == 0 {
                    return Err(malformed("neither a frame nor its screen has a size"));
                }
                if frames == 0 {
                    // Some writers leave the screen empty or too small: it grows to the first frame.
                    screen = (screen.0.max(left + width), screen.1.max(top + height));
                }
                let covers = (left, top) == (0, 0) && width >= screen.0 && height >= screen.1;
                // Indices beyond the palette are transparent too.
                let local = palette_bytes(frame[9]);
                let colours = if local > 0 { local } else { global } / 3;
                let indices = 1usize << frame[10 + local].min(11);
                alpha |= control.transparent.is_some() || colours < indices || bare && !covers;
                bare = match control.dispose {
                    Dispose::Keep => bare && !covers,
                    Dispose::Clear => true,
                    Dispose::Undo => bare,
                };
                (frames, control) = (frames + 1, Control::default());
                // A frame may be larger than the screen, and is unpacked whole.
                let pixels = u64::from(width) * u64::from(height);
                (largest, all) = (pixels.max(largest), all + pixels);
                within("pixels", pixels, limits.max_pixels)?;
                if frames > 1 {
                    within("frames times pixels", all, limits.max_frame_pixels)?;
                }
            }
        }
        within("metadata bytes", metadata as u64, limits.max_metadata_bytes as u64)
    })?;
    if frames == 0 {
        return Err(malformed("no whole frame"));
    }
    // Canvas, its saved copy, and the image handed on; and the largest frame as indices and as RGBA.
    let canvas = (u64::from(screen.0) * u64::from(screen.1)).max(1);
    let working = u32::try_from((12 * canvas + 5 * largest).div_ceil(canvas)).unwrap_or(u32::MAX);
    Ok(Header { frames, plays, working, ..Header::still(screen.0, screen.1, alpha) })
}

/// A graphic control extension, which is about the frame after it.
#[derive(Clone, Copy)]
struct Control {
    transparent: Option<u8>,
    dispose: Dispose,
    delay: Duration,
}

impl Default for Control {
    fn default() -> Self {
        Self { transparent: None, dispose: Dispose::Keep, delay: Duration::ZERO }
    }
}

impl Control {
    fn of(extension: &[u8]) -> Self {
        let &[_, _, _, packed, low, high, transparent, ..] = extension else { return Self::default() };
        Self {
            transparent: (packed & 1 == 1).then_some(transparent),
            dispose: match packed >> 2 & 7 {
                2 => Dispose::Clear,
                // 4 is how some writers spell 3.
                3 | 4 => Dispose::Undo,
                _ => Dispose::Keep,
            },
            delay: Duration::from_millis(u64::from(u16::from_le_bytes([low, high])) * 10),
        }
    }
}

/// Streams the first `header.frames` frames.
pub(crate) fn frames(
    bytes: &[u8],
    header: &Header,
    deadline: Instant,
    each: &mut dyn FnMut(Picture, Duration) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut canvas = Canvas::new(header.width, header.height);
    let (mut global, mut screen, mut control, mut left) = (&bytes[..0], (0, 0), Control::default(), header.frames);
    walk(bytes, |block| {
        match block {
            Block::Head(head) => (global, screen) = (&head[13..], (pair(head, 6), pair(head, 8))),
            Block::Extension(0xF9, extension) => control = Control::of(extension),
            Block::Frame(frame) if left > 0 => {
                check(deadline)?;
                let [x, y, width, height] = rectangle(frame, screen);
                screen = (header.width, header.height);
                let rgba = rgba(frame, global, (width, height), control.transparent)?;
                let patch = Patch { left: x, top: y, width, height, rgba: &rgba, over: true, dispose: control.dispose };
                let pixels = canvas.draw(&patch).to_vec();
                let picture = Picture { width: header.width, height: header.height, alpha: true, pixels };
                each(picture.without_opaque_alpha(), shown_for(control.delay))?;
                (left, control) = (left - 1, Control::default());
            }
            _ => {}
        }
        Ok(())
    })
}

/// The pixels of a frame. Rows that its data does not reach stay transparent where the data ends as it should: browsers
/// show such frames. Without any palette nothing of it is seen.
fn rgba(frame: &[u8], global: &[u8], (width, height): (u32, u32), transparent: Option<u8>) -> Result<Vec<u8>, Error> {
    let local = palette_bytes(frame[9]);
    let palette = if local > 0 { &frame[10..10 + local] } else { global };
    let indices = indices(&frame[10 + local..], width as usize * height as usize)?;
    let mut pixels = vec![0; width as usize * height as usize * 4];
    let stride = width as usize * 4;
    for (source, target) in indices.chunks(width as usize).zip(rows(height as usize, frame[9] & 0x40 != 0)) {
        let row = &mut pixels[target * stride..][..stride];
        for (index, pixel) in source.iter().zip(row.as_chunks_mut::<4>().0) {
            let at = usize::from(*index) * 3;
            if let Some(&[red, green, blue]) = palette.get(at..at + 3)
                && transparent != Some(*index)
            {
                *pixel = [red, green, blue, 255];
            }
        }
    }
    Ok(pixels)
}

/// The rows of an image in the order in which they are stored.
fn rows(height: usize, interlaced: bool) -> impl Iterator<Item = usize> {
    let passes: &[(usize, usize)] = if interlaced { &[(0, 8), (4, 8), (2, 4), (1, 2)] } else { &[(0, 1)] };
    passes.iter().flat_map(move |&(first, step)| (first..height).step_by(step))
}

/// The palette indices of a frame, from its code size and its sub-blocks; no more than `count`.
fn indices(data: &[u8], count: usize) -> Result<Vec<u8>, Error> {
    let (&size, mut blocks) = data.split_first().ok_or_else(|| malformed("a frame without data"))?;
    if !(1..=11).contains(&size) {
        return Err(malformed("an impossible code size"));
    }
    let mut decoder = Decoder::new(BitOrder::Lsb, size);
    let mut out = vec![0; count];
    let mut filled = 0;
    while let Some((&length, rest)) = blocks.split_first()
        && length > 0
        && filled < count
        && !decoder.has_ended()
    {
        let (mut block, rest) = rest.split_at(usize::from(length).min(rest.len()));
        // What the last codes stand for may come after all input is taken.
        while filled < count {
            let result = decoder.decode_bytes(block, &mut out[filled..]);
            (block, filled) = (&block[result.consumed_in..], filled + result.consumed_out);
            match result.status {
                Ok(LzwStatus::Ok) if result.consumed_in > 0 || result.consumed_out > 0 => {}
                Ok(_) => break,
                Err(error) => return Err(malformed(error)),
            }
        }
        blocks = rest;
    }
    out.truncate(filled);
    Ok(out)
}

#[cfg(test)]
mod tests;
