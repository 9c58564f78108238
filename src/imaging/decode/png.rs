//! PNG and APNG: the chunk walk that probing and stripping share, and decoding by the png crate.
//!
//! The law: text chunks are never inflated, a colour profile only within the metadata limit, and a file without its
//! end (IEND) is refused. Depths and palettes are expanded; 16 bits stay 16 until colour is done.

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

/// Calls `each` with the type, data and whole bytes of every chunk up to and with IEND; returns where that ends.
pub(crate) fn walk<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut([u8; 4], &'a [u8], &'a [u8]) -> Result<(), Error>,
) -> Result<usize, Error> {
    let mut at = SIGNATURE;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some((&[a, b, c, d, k, i, n, e], _)) = rest.split_first_chunk::<8>() else {
            return Err(malformed("the end is missing: the file is truncated"));
        };
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(whole) = size.checked_add(12).and_then(|size| rest.get(..size)) else {
            return Err(malformed("a chunk is truncated"));
        };
        let kind = [k, i, n, e];
        each(kind, &whole[8..8 + size], whole)?;
        at += whole.len();
        if &kind == b"IEND" {
            return Ok(at);
        }
    }
}

/// What the chunks say.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let mut first: Option<Header> = None;
    let mut frames = (0, 0);
    let mut metadata = 0;
    walk(bytes, |kind, data, _| {
        match (&kind, first.as_mut()) {
            (b"IHDR", None) => {
                let &[a, b, c, d, e, f, g, h, depth, colour, ..] = data else {
                    return Err(malformed("the header is truncated"));
                };
                let (width, height) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
                let alpha = colour & 4 != 0;
                // The 8-bit result beside the decoder's own samples.
                let samples = if alpha { 4 } else { 3 } * if depth == 16 { 2 } else { 1 };
                first = Some(Header { working: samples + 4, ..Header::still(width, height, alpha) });
            }
            (_, None) => return Err(malformed("the first chunk is no header")),
            (b"tRNS", Some(header)) => header.alpha = true,
            (b"eXIf", Some(header)) => {
                metadata += data.len();
                if let Some(found) = Orientation::from_exif_chunk(data) {
                    header.orientation = found;
                }
            }
            (b"acTL", Some(header)) => {
                let &[a, b, c, d, e, f, g, h, ..] = data else {
                    return Err(malformed("the animation control is truncated"));
                };
                frames.0 = u32::from_be_bytes([a, b, c, d]);
                header.plays = u32::from_be_bytes([e, f, g, h]);
            }
            (b"fcTL", Some(_)) => frames.1 += 1,
            (b"tEXt" | b"zTXt" | b"iTXt" | b"iCCP", Some(_)) => metadata += data.len(),
            _ => {}
        }
        within("metadata bytes", metadata as u64, limits.max_metadata_bytes as u64)
    })?;
    let Some(mut header) = first else { return Err(malformed("no header")) };
    // What is claimed and what is there: the smaller is what can be shown.
    header.frames = frames.0.min(frames.1).max(1);
    if header.frames > 1 {
        header.alpha = true;
        header.working += 12;
    }
    Ok(header)
}

fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Reader<Cursor<&'a [u8]>>, Error> {
    let mut decoder = Decoder::new_with_limits(
        Cursor::new(bytes),
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

/// Decodes the default image.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raw, Error> {
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

fn read(reader: &mut Reader<Cursor<&[u8]>>, limits: &Limits) -> Result<Frame, Error> {
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
    deadline: Instant,
    each: &mut dyn FnMut(Picture, Duration) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut reader = open(bytes, limits)?;
    let space = space(reader.info());
    let mut canvas = Canvas::new(header.width, header.height);
    if reader.info().frame_control.is_none() {
        // A default image that is no part of the animation; decoded all the same, to judge it.
        read(&mut reader, limits)?;
    }
    for _ in 0..header.frames {
        check(deadline)?;
        let frame = read(&mut reader, limits)?;
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
