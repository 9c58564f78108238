//! PNG and APNG: the chunk walk that probing and stripping share, and decoding by the png crate.
//!
//! Invariant: text chunks are never inflated, a colour profile only within the metadata limit, and **whether all rows
//! are there is the decoder's word**: a file may lack its end (IEND). Depths and palettes are expanded; 16 bits stay 16
//! until colour is done.

use std::borrow::Cow;
use std::io::Cursor;
use std::time::{Duration, Instant};

use ::png::{BitDepth, BlendOp, ColorType, Decoder, DecodingError, DisposeOp, Info, Reader, Transformations};
use image::metadata::Orientation;

use super::Picture;
use super::canvas::{Canvas, Dispose, Patch, shown_for};
use super::colour::{Channels, Raw, Samples, Space};
use super::header::{Header, within};
use crate::format::ImageFormat;
use crate::imaging::{Error, Limits, check};

/// Bytes of the signature, after which the chunks begin.
pub(crate) const SIGNATURE: usize = 8;

fn malformed(detail: impl ToString) -> Error {
    Error::Malformed { format: ImageFormat::Png, detail: detail.to_string() }
}

/// Calls `each` with the type, data and whole bytes of every chunk up to and with IEND; returns what lies after the last
/// whole chunk of a file without one.
pub(crate) fn walk<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut([u8; 4], &'a [u8], &'a [u8]) -> Result<(), Error>,
) -> Result<Option<&'a [u8]>, Error> {
    let mut rest = bytes.get(SIGNATURE..).unwrap_or_default();
    loop {
        let Some((&[a, b, c, d, k, i, n, e], _)) = rest.split_first_chunk::<8>() else { return Ok(Some(rest)) };
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(whole) = size.checked_add(12).and_then(|size| rest.get(..size)) else { return Ok(Some(rest)) };
        let kind = [k, i, n, e];
        each(kind, &whole[8..8 + size], whole)?;
        if &kind == b"IEND" {
            return Ok(None);
        }
        rest = &rest[whole.len()..];
    }
}

/// IEND, whole.
pub(crate) const END: [u8; 12] = [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xAE, 0x42, 0x60, 0x82];

/// The file as the decoder reads it: with an end, what there is of a last chunk of pixels, and no more alpha than its
/// palette has colours.
pub(crate) fn mended(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    let (mut colours, mut too_long) = (None, false);
    let left = walk(bytes, |kind, data, _| {
        match &kind {
            b"PLTE" => colours = colours.or(Some(data.len() / 3)),
            b"tRNS" => too_long |= colours.is_some_and(|colours| data.len() > colours) && bytes.get(25) == Some(&3),
            _ => {}
        }
        Ok(())
    })?;
    if left.is_none() && !too_long {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut file = bytes[..SIGNATURE].to_vec();
    walk(bytes, |kind, data, whole| {
        match (&kind, colours) {
            (b"tRNS", Some(colours)) if too_long => push(&mut file, kind, &data[..data.len().min(colours)]),
            _ => file.extend_from_slice(whole),
        }
        Ok(())
    })?;
    if let Some(left) = left {
        // Data, or data and a part of its sum: whether it is enough, the decoder knows.
        if let Some((&[a, b, c, d, b'I', b'D', b'A', b'T'], data)) = left.split_first_chunk::<8>() {
            let size = u32::from_be_bytes([a, b, c, d]) as usize;
            push(&mut file, *b"IDAT", &data[..data.len().min(size)]);
        }
        file.extend(END);
    }
    Ok(Cow::Owned(file))
}

fn push(file: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend(kind);
    file.extend(data);
    // The sum of PNG is that of zlib (ISO 3309).
    let sum = crc32fast::hash(&file[start..]);
    file.extend(sum.to_be_bytes());
}

/// What the chunks say.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    Ok(Chunks::read(bytes, limits)?.header)
}

/// What the chunks say, and how the default image is related to an animation.
struct Chunks {
    header: Header,
    /// The default image is no part of the animation, so that viewers that know animations never show it.
    hidden: bool,
}

impl Chunks {
    fn read(bytes: &[u8], limits: &Limits) -> Result<Self, Error> {
        let mut first: Option<Header> = None;
        // Frames as claimed, as found, and as found with all of their data.
        let (mut claimed, mut found, mut whole) = (0, 0, 0);
        let (mut metadata, mut hidden, mut partial) = (0, false, false);
        let left = walk(bytes, |kind, data, _| {
            match (&kind, first.as_mut()) {
                (b"IHDR", None) => {
                    let &[a, b, c, d, e, f, g, h, depth, colour, ..] = data else {
                        return Err(malformed("the header is truncated"));
                    };
                    let (width, height) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
                    let alpha = colour & 4 != 0;
                    let samples = match colour {
                        0 => 1,
                        4 => 2,
                        6 => 4,
                        _ => 3,
                    };
                    // Words are read as bytes first, grey is kept beside the colours made of it; transparency of a palette or
                    // a single colour is a sample more.
                    let grey = if colour & 2 == 0 { 3 + samples } else { 0 };
                    first = Some(Header {
                        working: grey.max(samples * if depth == 16 { 4 } else { 1 }),
                        foreign: depth == 16,
                        ..Header::still(width, height, alpha)
                    });
                }
                (_, None) => return Err(malformed("the first chunk is no header")),
                (b"tRNS", Some(header)) => {
                    header.alpha = true;
                    // A sample more a pixel.
                    header.working = if data.len() == 2 { 8 } else { header.working * 4 / 3 };
                }
                // PQ and HLG.
                (b"cICP", Some(header)) => header.foreign |= matches!(data.get(1), Some(16 | 18)),
                (b"eXIf", Some(header)) => {
                    metadata += data.len();
                    // Before or after the pixels: the specification (third edition) allows both.
                    if let Some(found) = Orientation::from_exif_chunk(data) {
                        header.orientation = found;
                    }
                }
                (b"acTL", Some(header)) => {
                    let &[a, b, c, d, e, f, g, h, ..] = data else {
                        return Err(malformed("the animation control is truncated"));
                    };
                    claimed = u32::from_be_bytes([a, b, c, d]);
                    header.plays = u32::from_be_bytes([e, f, g, h]);
                }
                (b"fcTL", Some(header)) => {
                    whole = found;
                    found += 1;
                    let size = |at: usize| data.get(at..at + 4).and_then(|v| v.try_into().ok()).map(u32::from_be_bytes);
                    let covers = (size(4), size(8)) == (Some(header.width), Some(header.height));
                    // Cleared or undone, or of a part before anything covers the whole: the canvas shows through.
                    partial |= data.get(24) != Some(&0) || found == 1 && !covers;
                }
                (b"IDAT", Some(_)) => hidden |= claimed > 0 && found == 0,
                (b"IEND", Some(_)) => whole = found,
                (b"tEXt" | b"zTXt" | b"iTXt" | b"iCCP", Some(_)) => metadata += data.len(),
                _ => {}
            }
            within("metadata bytes", metadata as u64, limits.max_metadata_bytes as u64)
        })?;
        let Some(mut header) = first else { return Err(malformed("no header")) };
        // What is mended is a copy.
        header.copies = u8::from(left.is_some());
        // A file that ends between two chunks may have all of its last frame: its decoder will tell.
        if left.is_some_and(<[u8]>::is_empty) {
            whole = found;
        }
        // What is claimed and what is there: the smaller is what can be shown.
        let frames = claimed.min(whole);
        header.frames = frames.max(1);
        if header.frames > 1 || hidden && frames > 0 {
            header.working += 12;
        }
        header.alpha |= frames > 0 && partial;
        Ok(Self { header, hidden: hidden && frames > 0 })
    }
}

/// The decoder's view of a file.
type Open<'a> = Reader<Cursor<Cow<'a, [u8]>>>;

fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Open<'a>, Error> {
    let mut decoder = Decoder::new_with_limits(
        Cursor::new(mended(bytes)?),
        ::png::Limits { bytes: limits.max_metadata_bytes + 8 * limits.max_edge as usize },
    );
    decoder.set_ignore_text_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    decoder.read_info().map_err(|error| refused(error, limits))
}

fn refused(error: DecodingError, limits: &Limits) -> Error {
    match error {
        DecodingError::LimitsExceeded => {
            let limit = limits.max_metadata_bytes as u64;
            Error::LimitExceeded { what: "metadata bytes", value: limit + 1, limit }
        }
        other => malformed(other),
    }
}

/// Decodes the default image; the frame of an animation of one, where that is another.
///
/// Of longer animations the default image is what their authors want to be seen of them as stills.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raw, Error> {
    let chunks = Chunks::read(bytes, limits)?;
    if chunks.hidden && chunks.header.frames == 1 {
        let mut shown = None;
        frames(bytes, &chunks.header, limits, None, &mut |picture, _| {
            shown = Some(picture);
            Ok(())
        })?;
        let picture = shown.ok_or_else(|| malformed("an animation without frames"))?;
        let channels = if picture.alpha { Channels::Rgba } else { Channels::Rgb };
        let samples = Samples::Eight(picture.pixels);
        return Ok(Raw { width: picture.width, height: picture.height, channels, samples, space: Space::Srgb });
    }
    let mut reader = open(bytes, limits)?;
    let frame = read(&mut reader, limits)?;
    let space = space(reader.info());
    Ok(Raw { width: frame.width, height: frame.height, channels: frame.channels, samples: frame.samples, space })
}

struct Frame {
    width: u32,
    height: u32,
    channels: Channels,
    samples: Samples,
}

fn read(reader: &mut Open<'_>, limits: &Limits) -> Result<Frame, Error> {
    let size = reader.output_buffer_size().ok_or_else(|| malformed("too large for memory"))?;
    let mut buffer = vec![0; size];
    let output = reader.next_frame(&mut buffer).map_err(|error| refused(error, limits))?;
    buffer.truncate(output.buffer_size());
    let channels = match output.color_type {
        ColorType::Grayscale => Channels::Grey,
        ColorType::GrayscaleAlpha => Channels::GreyAlpha,
        ColorType::Rgb => Channels::Rgb,
        ColorType::Rgba => Channels::Rgba,
        ColorType::Indexed => return Err(malformed("a palette was not expanded")),
    };
    let samples = match output.bit_depth {
        BitDepth::Sixteen => {
            Samples::Sixteen(buffer.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
        }
        _ => Samples::Eight(buffer),
    };
    Ok(Frame { width: output.width, height: output.height, channels, samples })
}

/// In the order of the specification (third edition, §4.3): cICP, iCCP, sRGB, gAMA with cHRM.
fn space(info: &Info<'_>) -> Space {
    if let Some(points) = &info.coding_independent_code_points {
        return Space::Cicp { primaries: points.color_primaries, transfer: points.transfer_function };
    }
    if let Some(profile) = &info.icc_profile {
        return Space::Icc(profile.to_vec());
    }
    let Some(gamma) = info.gama_chunk.filter(|_| info.srgb.is_none()).map(|gamma| gamma.into_value()) else {
        return Space::Srgb;
    };
    if !(0.1..=10.0).contains(&gamma) {
        return Space::Srgb;
    }
    let chromaticities =
        info.chrm_chunk.map(|c| [c.white, c.red, c.green, c.blue].map(|(x, y)| (x.into_value(), y.into_value())));
    const SRGB: [(f32, f32); 4] = [(0.3127, 0.3290), (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)];
    let near = |a: (f32, f32), b: (f32, f32)| (a.0 - b.0).abs() < 0.002 && (a.1 - b.1).abs() < 0.002;
    let chromaticities = chromaticities
        .filter(|points| points.iter().all(|(x, y)| (0.0..=1.0).contains(x) && (0.001..=1.0).contains(y)))
        .filter(|points| !points.iter().zip(SRGB).all(|(a, b)| near(*a, b)));
    // 1/2.2 is how files say "sRGB" in this chunk.
    if chromaticities.is_none() && (gamma - 0.454_55).abs() < 0.005 {
        return Space::Srgb;
    }
    Space::Power { exponent: 1.0 / gamma, chromaticities }
}

/// Streams the frames of an APNG.
pub(crate) fn frames(
    bytes: &[u8],
    header: &Header,
    limits: &Limits,
    deadline: Option<Instant>,
    each: &mut dyn FnMut(Picture, Duration) -> Result<(), Error>,
) -> Result<(), Error> {
    let cut = walk(bytes, |_, _, _| Ok(()))?.is_some();
    let mut reader = open(bytes, limits)?;
    let space = space(reader.info());
    let mut canvas = Canvas::new(header.width, header.height);
    if reader.info().frame_control.is_none() {
        // A default image that is no part of the animation; decoded all the same, to judge it.
        read(&mut reader, limits)?;
    }
    for shown in 0..header.frames {
        deadline.map_or(Ok(()), check)?;
        let frame = match read(&mut reader, limits) {
            // A file that is cut short ends with its last whole frame.
            Err(_) if cut && shown > 0 && shown + 1 == header.frames => break,
            frame => frame?,
        };
        let Some(control) = reader.info().frame_control else {
            return Err(malformed("a frame without its control chunk"));
        };
        let raw = Raw {
            width: frame.width,
            height: frame.height,
            channels: frame.channels,
            samples: frame.samples,
            space: space.clone(),
        };
        let rgba = raw.into_picture().into_rgba();
        let patch = Patch {
            left: control.x_offset,
            top: control.y_offset,
            width: frame.width,
            height: frame.height,
            rgba: &rgba,
            over: control.blend_op == BlendOp::Over,
            dispose: match control.dispose_op {
                DisposeOp::None => Dispose::Keep,
                DisposeOp::Background => Dispose::Clear,
                DisposeOp::Previous => Dispose::Undo,
            },
        };
        let pixels = canvas.draw(&patch).to_vec();
        let picture = Picture { width: header.width, height: header.height, alpha: true, pixels };
        let denominator = if control.delay_den == 0 { 100 } else { u64::from(control.delay_den) };
        let delay = Duration::from_millis(u64::from(control.delay_num) * 1000 / denominator);
        each(picture.without_opaque_alpha(), shown_for(delay))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
