//! AVIF: container and colour by our own code, AV1 by rav1d without its assembly.
//!
//! Invariant: the bitstream may not be larger than the container says; one thread decodes one image. Sequences show
//! their primary item, or the first image of their track.

use re_rav1d::dav1d::{Decoder, Picture as Frame, PixelLayout, PlanarImageComponent, Settings, pixel::YUVRange};

use super::colour::{Channels, Raw, Samples, Space};
use super::header::{Header, within};
use super::isobmff::{self, Container, Fault, Item, Nclx};
use super::orient;
use super::yuv::{self, Matrix, Plane, Range, Sample};
use crate::format::ImageFormat;
use crate::imaging::{Error, Limits};

fn malformed(detail: impl ToString) -> Error {
    Error::Malformed { format: ImageFormat::Avif, detail: detail.to_string() }
}

fn unsupported(detail: impl ToString) -> Error {
    Error::Unsupported { format: ImageFormat::Avif, detail: detail.to_string() }
}

fn open(bytes: &[u8]) -> Result<Container<'_>, Error> {
    isobmff::parse(bytes).map_err(|fault| match fault {
        Fault::Malformed(detail) => malformed(detail),
        Fault::Unsupported(detail) => unsupported(detail),
    })
}

/// What the container says.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let container = open(bytes)?;
    within("metadata bytes", container.icc.map_or(0, <[u8]>::len) as u64, limits.max_metadata_bytes as u64)?;
    let (width, height) = container.shown();
    // All of the coded image is decoded, whatever part of it is shown.
    let (coded_width, coded_height) = (u64::from(container.colour.width), u64::from(container.colour.height));
    within("width", coded_width, u64::from(limits.max_edge))?;
    within("height", coded_height, u64::from(limits.max_edge))?;
    within("pixels", coded_width * coded_height, limits.max_pixels)?;
    let shown = (u64::from(width) * u64::from(height)).max(1);
    let orientation = orient::turned_and_mirrored(container.quarters, container.mirror);
    let alpha = container.alpha.is_some();
    // Planes of the decoder at up to 16 bits with its own copy for filtering, then RGB at up to 16 bits, then 8.
    let working: u64 = 2 * 6 + 6 + 3 + if alpha { 4 } else { 0 };
    let working = u32::try_from((working * coded_width * coded_height).div_ceil(shown)).unwrap_or(u32::MAX);
    // Above ten bits, which is what is written; PQ and HLG.
    let wide_range = container.nclx.is_some_and(|nclx| [16, 18].contains(&nclx.transfer));
    // Browsers show all of an image with an aperture, and every other width of ours a part.
    let foreign = container.twelve_bits || wide_range || container.aperture.is_some();
    Ok(Header { orientation, foreign, working, ..Header::still(width, height, alpha) })
}

/// Where the container ends, when it holds nothing beside the image that would have to be taken out.
pub(crate) fn bare_end(bytes: &[u8]) -> Option<usize> {
    open(bytes).ok().filter(|container| !container.has_metadata).map(|container| container.end)
}

/// Decodes the image.
pub(crate) fn decode(bytes: &[u8]) -> Result<Raw, Error> {
    let container = open(bytes)?;
    let (width, height) = (container.colour.width, container.colour.height);
    let (mut samples, channels, coded) = colour(&container)?;
    let space = match container.icc {
        Some(profile) => Space::Icc(profile.to_vec()),
        None => Space::Cicp { primaries: coded.primaries, transfer: coded.transfer },
    };
    let mut channels = channels;
    if let Some(item) = &container.alpha {
        if (item.width, item.height) != (width, height) {
            return Err(malformed("alpha of another size than the image"));
        }
        let first = first_tile(item)?;
        let opacity: Vec<u16> = assemble(item, first, 1, |frame| {
            let data = frame.plane(PlanarImageComponent::Y);
            let range = Range { depth: depth(frame)?, full: frame.color_range() == YUVRange::Full };
            Ok(yuv::grey(plane(frame, PlanarImageComponent::Y, &data), range))
        })?;
        (samples, channels) = match samples {
            Samples::Eight(values) => {
                let opacity: Vec<u8> = opacity.iter().map(|value| ((u32::from(*value) + 128) / 257) as u8).collect();
                let (values, channels) = join(&values, &opacity, channels, container.premultiplied);
                (Samples::Eight(values), channels)
            }
            Samples::Sixteen(values) => {
                let (values, channels) = join(&values, &opacity, channels, container.premultiplied);
                (Samples::Sixteen(values), channels)
            }
        };
    }
    let raw = Raw { width, height, channels, samples, space };
    Ok(match container.aperture {
        Some(aperture) => aperture.cut(raw),
        None => raw,
    })
}

/// Colour and alpha as one; colour that was multiplied with alpha is divided by it.
fn join<T: Sample + Into<f32>>(colour: &[T], opacity: &[T], channels: Channels, divide: bool) -> (Vec<T>, Channels) {
    let count = channels.count();
    let mut out = Vec::with_capacity(opacity.len() * (count + 1));
    for (pixel, alpha) in colour.chunks_exact(count).zip(opacity) {
        let whole: f32 = (*alpha).into();
        if divide && whole > 0.0 {
            out.extend(pixel.iter().map(|value| {
                let value: f32 = (*value).into();
                T::of(value / whole)
            }));
        } else {
            out.extend_from_slice(pixel);
        }
        out.push(*alpha);
    }
    (out, if count == 1 { Channels::GreyAlpha } else { Channels::Rgba })
}

/// The image without alpha, and the code points that describe it.
fn colour(container: &Container<'_>) -> Result<(Samples, Channels, Nclx), Error> {
    let item = &container.colour;
    let first = first_tile(item)?;
    let (layout, bits) = (first.pixel_layout(), depth(&first)?);
    let coded = described(container.nclx, &first)?;
    let matrix = Matrix::of(coded.matrix, coded.primaries)
        .ok_or_else(|| unsupported(format!("matrix coefficients {}", coded.matrix)))?;
    if matrix == Matrix::Identity && matches!(layout, PixelLayout::I420 | PixelLayout::I422) {
        return Err(malformed("RGB with subsampled channels"));
    }
    let range = Range { depth: bits, full: coded.full };
    let channels = if layout == PixelLayout::I400 { Channels::Grey } else { Channels::Rgb };
    let same = |frame: &Frame| {
        if frame.pixel_layout() == layout && depth(frame)? == bits {
            Ok(())
        } else {
            Err(malformed("tiles of different kinds"))
        }
    };
    let samples = if bits == 8 {
        Samples::Eight(assemble(item, first, channels.count(), |frame| {
            same(frame).map(|()| pixels(frame, matrix, range))
        })?)
    } else {
        Samples::Sixteen(assemble(item, first, channels.count(), |frame| {
            same(frame).map(|()| pixels(frame, matrix, range))
        })?)
    };
    Ok((samples, channels, coded))
}

/// What the container says of colour; what it leaves unspecified (2), the bitstream says.
fn described(container: Option<Nclx>, frame: &Frame) -> Result<Nclx, Error> {
    if let Some(nclx) = container
        && ![nclx.primaries, nclx.transfer, nclx.matrix].contains(&2)
    {
        return Ok(nclx);
    }
    // rav1d's accessors panic on reserved code points, which a stranger may well write.
    let stream = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Nclx {
        primaries: frame.color_primaries() as u8,
        transfer: frame.transfer_characteristic() as u8,
        matrix: frame.matrix_coefficients() as u8,
        full: frame.color_range() == YUVRange::Full,
    }))
    .map_err(|_| malformed("reserved colour code points"))?;
    let Some(outer) = container else { return Ok(stream) };
    let pick = |outer: u8, inner: u8| if outer == 2 { inner } else { outer };
    Ok(Nclx {
        primaries: pick(outer.primaries, stream.primaries),
        transfer: pick(outer.transfer, stream.transfer),
        matrix: pick(outer.matrix, stream.matrix),
        full: outer.full,
    })
}

fn first_tile(item: &Item<'_>) -> Result<Frame, Error> {
    av1(item.tiles.first().ok_or_else(|| malformed("no tile"))?, item)
}

/// Converts every tile and puts it in its place; one decoded tile is held at a time.
fn assemble<T: Sample>(
    item: &Item<'_>,
    first: Frame,
    channels: usize,
    mut convert: impl FnMut(&Frame) -> Result<Vec<T>, Error>,
) -> Result<Vec<T>, Error> {
    let (tile_width, tile_height) = (first.width(), first.height());
    let (columns, rows) = (item.columns, item.tiles.len() as u32 / item.columns);
    // Tiles cover the image, and none lies wholly outside: so they are together no more than four times its size.
    let covers = |tile: u32, count: u32, whole: u32| {
        u64::from(tile) * u64::from(count) >= u64::from(whole)
            && u64::from(tile) * u64::from(count - 1) < u64::from(whole)
    };
    if item.tiles.len() == 1 {
        if (tile_width, tile_height) != (item.width, item.height) {
            return Err(malformed("the coded image is of another size than the container says"));
        }
        return convert(&first);
    }
    if !covers(tile_width, columns, item.width) || !covers(tile_height, rows, item.height) {
        return Err(malformed("tiles that do not make up the image"));
    }
    let stride = item.width as usize * channels;
    let mut out = vec![T::default(); stride * item.height as usize];
    let mut frame = first;
    for at in 0..item.tiles.len() {
        if at > 0 {
            frame = av1(&item.tiles[at], item)?;
            if (frame.width(), frame.height()) != (tile_width, tile_height) {
                return Err(malformed("tiles of different sizes"));
            }
        }
        let values = convert(&frame)?;
        let (left, top) = (at as u32 % columns * tile_width, at as u32 / columns * tile_height);
        let width = tile_width.min(item.width - left) as usize * channels;
        let lines = out.chunks_exact_mut(stride).skip(top as usize);
        for (line, source) in lines.zip(values.chunks_exact(tile_width as usize * channels)) {
            line[left as usize * channels..][..width].copy_from_slice(&source[..width]);
        }
    }
    Ok(out)
}

/// Decodes one image of AV1.
fn av1(data: &[u8], item: &Item<'_>) -> Result<Frame, Error> {
    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    // Of a layered image only the highest layer.
    settings.set_all_layers(false);
    let pixels = u64::from(item.width) * u64::from(item.height);
    settings.set_frame_size_limit(u32::try_from(pixels).unwrap_or(u32::MAX));
    let mut decoder = Decoder::with_settings(&settings).map_err(malformed)?;
    if data.is_empty() {
        return Err(malformed("an item without data"));
    }
    let mut sent = decoder.send_data(data.to_vec(), None, None, None);
    loop {
        match (decoder.get_picture(), sent) {
            (Ok(frame), _) => return Ok(frame),
            (Err(error), Ok(())) if error.is_again() => return Err(malformed("no image in the AV1 data")),
            (Err(error), Err(again)) if error.is_again() && again.is_again() => sent = decoder.send_pending_data(),
            (Err(error), Err(other)) if error.is_again() => return Err(malformed(other)),
            (Err(error), _) => return Err(malformed(error)),
        }
    }
}

fn pixels<T: Sample>(frame: &Frame, matrix: Matrix, range: Range) -> Vec<T> {
    let planes = [PlanarImageComponent::Y, PlanarImageComponent::U, PlanarImageComponent::V];
    if frame.pixel_layout() == PixelLayout::I400 {
        let data = frame.plane(planes[0]);
        return yuv::grey(plane(frame, planes[0], &data), range);
    }
    let data = planes.map(|component| frame.plane(component));
    let [y, u, v] = [0, 1, 2].map(|at| plane(frame, planes[at], &data[at]));
    yuv::rgb([y, u, v], matrix, range)
}

fn plane<'a>(frame: &Frame, component: PlanarImageComponent, bytes: &'a [u8]) -> Plane<'a> {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let luma = component == PlanarImageComponent::Y;
    let (half_width, half_height) = match frame.pixel_layout() {
        PixelLayout::I420 => (true, true),
        PixelLayout::I422 => (true, false),
        PixelLayout::I444 | PixelLayout::I400 => (false, false),
    };
    let size = |full: usize, half: bool| if half && !luma { full.div_ceil(2) } else { full };
    Plane {
        bytes,
        stride: frame.stride(component) as usize,
        width: size(width, half_width),
        height: size(height, half_height),
        wide: frame.bit_depth() > 8,
    }
}

fn depth(frame: &Frame) -> Result<u32, Error> {
    frame.bits_per_component().map(|bits| bits.0 as u32).ok_or_else(|| malformed("unknown bit depth"))
}
