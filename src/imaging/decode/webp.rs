//! WebP: the chunk walk that probing and stripping share; decoding by image-webp, one image at a time.
//!
//! Animations are put together on our own canvas from frames that are decoded as stills. Invariant: **what is there
//! decides, not what the header claims**: frames are counted by walking chunks, alpha is what images have, and an
//! animation that is cut short has the frames that are whole.

mod coded;

use std::time::{Duration, Instant};

use image::metadata::Orientation;

use super::Picture;
use super::canvas::{Canvas, Dispose, Patch};
use super::colour::{Channels, Raw, Samples, Space};
use super::header::{Header, within};
use crate::format::ImageFormat;
use crate::imaging::{Error, Limits, check};
use coded::Coded;

/// Flags of the extended header: without its flag a chunk of metadata does not count, as in browsers.
const PROFILE: u8 = 0x20;
const EXIF: u8 = 0x08;
const ANIMATED: u8 = 0x02;

fn malformed(detail: impl ToString) -> Error {
    Error::Malformed { format: ImageFormat::Webp, detail: detail.to_string() }
}

/// Calls `each` with the type, data and whole bytes (with padding) of every top-level chunk.
///
/// A file that is shorter than it says ends with its last whole chunk: what is missing then is noticed where it is
/// needed.
pub(crate) fn walk<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut([u8; 4], &'a [u8], &'a [u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let size = bytes.get(4..8).and_then(|size| size.try_into().ok()).map_or(0, u32::from_le_bytes) as usize;
    let end = size.saturating_add(8).min(bytes.len());
    chunks(bytes.get(12..end).unwrap_or_default(), &mut each)
}

fn chunks<'a>(
    mut rest: &'a [u8],
    each: &mut dyn FnMut([u8; 4], &'a [u8], &'a [u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    while let Some((&[a, b, c, d, e, f, g, h], _)) = rest.split_first_chunk::<8>() {
        let size = u32::from_le_bytes([e, f, g, h]) as usize;
        let Some(data) = rest.get(8..size.saturating_add(8)) else { break };
        // An odd chunk is padded; the last one's padding is often forgotten.
        let (whole, next) = rest.split_at((8 + size + size % 2).min(rest.len()));
        each([a, b, c, d], data, whole)?;
        rest = next;
    }
    Ok(())
}

/// A frame of an animation.
struct Frame<'a> {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    delay: Duration,
    /// Laid over what is there, or put in its place.
    over: bool,
    dispose: Dispose,
    coded: Coded<'a>,
}

impl<'a> Frame<'a> {
    fn read(data: &'a [u8]) -> Result<Self, Error> {
        let Some((head, rest)) = data.split_first_chunk::<16>() else {
            return Err(malformed("a frame's header is truncated"));
        };
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], 0]);
        let mut coded = Coded::default();
        chunks(rest, &mut |kind, data, _| {
            coded.take(kind, data);
            Ok(())
        })?;
        Ok(Self {
            left: number(0) * 2,
            top: number(3) * 2,
            width: number(6) + 1,
            height: number(9) + 1,
            delay: Duration::from_millis(u64::from(number(12))),
            over: head[15] & 2 == 0,
            dispose: if head[15] & 1 == 1 { Dispose::Clear } else { Dispose::Keep },
            coded,
        })
    }

    /// Whether it lies on the whole canvas.
    fn covers(&self, canvas: (u32, u32)) -> bool {
        self.left == 0 && self.top == 0 && (self.width, self.height) == canvas
    }
}

/// What the file is.
struct File<'a> {
    /// Of an extended file.
    canvas: Option<(u32, u32)>,
    animated: bool,
    plays: u32,
    orientation: Orientation,
    profile: Option<&'a [u8]>,
    still: Coded<'a>,
    frames: Vec<Frame<'a>>,
}

impl<'a> File<'a> {
    fn read(bytes: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let mut file = Self {
            canvas: None,
            animated: false,
            plays: 1,
            orientation: Orientation::NoTransforms,
            profile: None,
            still: Coded::default(),
            frames: Vec::new(),
        };
        let (mut flags, mut metadata, mut first) = (0, 0, true);
        walk(bytes, |kind, data, _| {
            match &kind {
                b"VP8X" if first => {
                    let &[said, _, _, _, a, b, c, d, e, f, ..] = data else {
                        return Err(malformed("the extended header is truncated"));
                    };
                    let side = |bytes: [u8; 3]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]) + 1;
                    flags = said;
                    file.animated = flags & ANIMATED != 0;
                    file.canvas = Some((side([a, b, c]), side([d, e, f])));
                }
                // Frames are counted against their limit here: it bounds what is kept of them.
                b"ANMF" if file.animated => {
                    within("frames", file.frames.len() as u64 + 1, u64::from(limits.max_frames))?;
                    file.frames.push(Frame::read(data)?);
                }
                // Background colour, which browsers ignore, then how often it plays.
                b"ANIM" => {
                    file.plays = data.get(4..6).map_or(1, |n| u32::from(n[0]) | u32::from(n[1]) << 8);
                }
                b"EXIF" => {
                    metadata += data.len();
                    if flags & EXIF != 0 {
                        let body = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
                        file.orientation = Orientation::from_exif_chunk(body).unwrap_or(file.orientation);
                    }
                }
                b"ICCP" => {
                    metadata += data.len();
                    if flags & PROFILE != 0 {
                        file.profile = file.profile.or(Some(data));
                    }
                }
                b"XMP " => metadata += data.len(),
                _ if !file.animated => file.still.take(kind, data),
                _ => {}
            }
            first = false;
            within("metadata bytes", metadata as u64, limits.max_metadata_bytes as u64)
        })?;
        // The last frame of a file that is cut short: its chunk is whole, or it was not seen at all.
        let whole = file.frames.iter().take_while(|frame| frame.coded.pixels.is_some()).count();
        if whole + 1 < file.frames.len() {
            return Err(malformed("a frame without an image"));
        }
        file.frames.truncate(whole);
        Ok(file)
    }

    fn space(&self) -> Space {
        self.profile.map_or(Space::Srgb, |profile| Space::Icc(profile.to_vec()))
    }

    /// Whether any frame leaves a part of the canvas uncovered, or can be transparent itself.
    fn has_alpha(&self, canvas: (u32, u32)) -> Result<bool, Error> {
        let mut bare = true;
        for frame in &self.frames {
            let (_, _, alpha) = frame.coded.shape()?;
            if alpha || bare && !frame.covers(canvas) {
                return Ok(true);
            }
            bare = frame.dispose == Dispose::Clear;
        }
        Ok(false)
    }
}

/// What the chunks say.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let file = File::read(bytes, limits)?;
    let canvas = match file.canvas {
        Some(canvas) if file.animated => canvas,
        canvas => {
            let (width, height, alpha) = file.still.shape()?;
            if canvas.is_some_and(|canvas| canvas != (width, height)) {
                return Err(malformed("a canvas of another size than the image"));
            }
            // As measured: planes beside the image, with alpha planes of that too; lossless the frame as RGBA, and as RGB.
            let working = match (file.still.pixels.is_some_and(|(kind, _)| &kind == b"VP8L"), alpha) {
                (true, false) => 8,
                (true, true) => 5,
                (false, false) => 5,
                (false, true) => 12,
            };
            let still = Header::still(width, height, alpha);
            return Ok(Header { orientation: file.orientation, working, ..still });
        }
    };
    if file.frames.is_empty() {
        return Err(malformed("an animation without frames"));
    }
    for frame in &file.frames {
        let (right, bottom) = (frame.left + frame.width, frame.top + frame.height);
        let (width, height, _) = frame.coded.shape()?;
        if right > canvas.0 || bottom > canvas.1 || (width, height) != (frame.width, frame.height) {
            return Err(malformed("a frame of an impossible size or place"));
        }
    }
    let (frames, alpha) = (file.frames.len() as u32, file.has_alpha(canvas)?);
    // A frame as planes, as decoded and as RGBA; the canvas and the image that is handed on.
    let still = Header::still(canvas.0, canvas.1, alpha);
    Ok(Header { orientation: file.orientation, frames, plays: file.plays, working: 18, ..still })
}

/// Whether the data of a frame's chunk holds an image.
pub(crate) fn is_frame(data: &[u8]) -> bool {
    Frame::read(data).is_ok_and(|frame| frame.coded.pixels.is_some())
}

/// Decodes the image, or the first frame of an animation.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raw, Error> {
    let file = File::read(bytes, limits)?;
    if file.animated {
        let (canvas, first) = (canvas(&file)?, file.frames.first());
        let first = first.ok_or_else(|| malformed("an animation without frames"))?;
        return drawn(&mut Canvas::new(canvas.0, canvas.1), canvas, first, file.space(), limits);
    }
    let (width, height, channels, pixels) = file.still.decoded(limits)?;
    Ok(Raw { width, height, channels, samples: Samples::Eight(pixels), space: file.space() })
}

fn canvas(file: &File<'_>) -> Result<(u32, u32), Error> {
    file.canvas.ok_or_else(|| malformed("an animation without a canvas"))
}

/// The canvas after this frame.
fn drawn(
    canvas: &mut Canvas,
    (width, height): (u32, u32),
    frame: &Frame<'_>,
    space: Space,
    limits: &Limits,
) -> Result<Raw, Error> {
    let (w, h, channels, pixels) = frame.coded.decoded(limits)?;
    let rgba = match channels {
        Channels::Rgba => pixels,
        _ => pixels.as_chunks::<3>().0.iter().flat_map(|p| [p[0], p[1], p[2], 255]).collect(),
    };
    let Frame { left, top, over, dispose, .. } = *frame;
    let pixels = canvas.draw(&Patch { left, top, width: w, height: h, rgba: &rgba, over, dispose }).to_vec();
    Ok(Raw { width, height, channels: Channels::Rgba, samples: Samples::Eight(pixels), space })
}

/// Streams the frames.
pub(crate) fn frames(
    bytes: &[u8],
    limits: &Limits,
    deadline: Instant,
    each: &mut dyn FnMut(Picture, Duration) -> Result<(), Error>,
) -> Result<(), Error> {
    let file = File::read(bytes, limits)?;
    let size = canvas(&file)?;
    let mut canvas = Canvas::new(size.0, size.1);
    for frame in &file.frames {
        check(deadline)?;
        let raw = drawn(&mut canvas, size, frame, file.space(), limits)?;
        // Delays are kept as they are: what is written is WebP again, and its readers apply their own minimum.
        each(raw.into_picture(), frame.delay)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
