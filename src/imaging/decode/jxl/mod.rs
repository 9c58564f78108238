//! JPEG XL, bare or in its container, by the decoder of Chrome and Firefox.
//!
//! Invariant: the parent reads the first bits only; what is compressed is unfolded in the decoder's own process. Animations
//! show their first frame; a file that ends before that frame does is refused.

mod header;

use jxl::api::{
    AlphaMode, Endianness, Event, ExtraChannel, JxlBasicInfo, JxlBitDepth, JxlColorEncoding, JxlColorProfile,
    JxlColorType, JxlDataFormat, JxlDecoder, JxlDecoderOptions, JxlOutputBuffer, JxlPixelFormat, JxlPrimaries,
    JxlTransferFunction, JxlWhitePoint, ProfileLevel,
};

use self::header::ImageHeader;
use super::colour::{Channels, Raw, Samples, Space};
use super::header::Header;
use crate::format::{ImageFormat, JXL_CONTAINER};
use crate::imaging::Error;

/// The codestream's beginning may be in several boxes; its header is far shorter than this.
const HEADER_BYTES: usize = 16_384;
/// Channels beside colour: more are no image for a page.
const MAX_EXTRA_CHANNELS: u32 = 16;

fn malformed(detail: impl ToString) -> Error {
    Error::Malformed { format: ImageFormat::Jxl, detail: detail.to_string() }
}

fn unsupported(detail: impl ToString) -> Error {
    Error::Unsupported { format: ImageFormat::Jxl, detail: detail.to_string() }
}

/// What the first bits say.
pub(crate) fn header(bytes: &[u8]) -> Result<Header, Error> {
    let image = image_header(bytes)?;
    let (width, height) = upright(&image);
    Ok(Header { working: working(&image), ..Header::still(width, height, image.alpha) })
}

fn image_header(bytes: &[u8]) -> Result<ImageHeader, Error> {
    let start = beginning(bytes)?;
    let image = header::read(&start).ok_or_else(|| malformed("no whole header"))?;
    if image.extra_channels > MAX_EXTRA_CHANNELS {
        return Err(unsupported(format!("{} extra channels", image.extra_channels)));
    }
    Ok(image)
}

/// The decoder turns the image itself.
fn upright(image: &ImageHeader) -> (u32, u32) {
    if image.orientation > 4 { (image.height, image.width) } else { (image.width, image.height) }
}

/// Bytes a pixel at the peak, as measured: in the decoder's process its channels at 16 bits, what it hands over (twice where
/// that is words), and the frames that later ones of an animation refer to; and here what comes over.
fn working(image: &ImageHeader) -> u32 {
    let channels = 3 + image.extra_channels;
    let wide = image.bits > 8 || image.float;
    let handed = channels * if wide { 4 } else { 1 };
    let kept = if image.animated { 5 * channels } else { 0 };
    2 * channels + handed + kept + channels * if wide { 2 } else { 1 }
}

/// The first bytes of the codestream, out of the boxes of a container (ISO/IEC 18181-2).
fn beginning(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let Some(mut rest) = bytes.strip_prefix(&JXL_CONTAINER) else {
        return Ok(bytes[..bytes.len().min(HEADER_BYTES)].to_vec());
    };
    let mut start = Vec::new();
    while start.len() < HEADER_BYTES
        && let Some((head, after)) = rest.split_first_chunk::<8>()
    {
        let [a, b, c, d, kind @ ..] = *head;
        let (length, content) = match u32::from_be_bytes([a, b, c, d]) {
            // To the end of the file, or with a length of 64 bits.
            0 => (after.len(), after),
            1 => {
                let (long, after) = after.split_first_chunk::<8>().ok_or_else(|| malformed("a box without length"))?;
                let length = u64::from_be_bytes(*long).checked_sub(16).ok_or_else(|| malformed("a box too short"))?;
                (usize::try_from(length).map_err(malformed)?, after)
            }
            length => (length.checked_sub(8).ok_or_else(|| malformed("a box too short"))? as usize, after),
        };
        let body = &content[..length.min(content.len())];
        let part = match &kind {
            b"jxlc" => body,
            b"jxlp" => body.get(4..).unwrap_or_default(),
            _ => &[],
        };
        start.extend_from_slice(&part[..part.len().min(HEADER_BYTES)]);
        if &kind == b"jxlc" {
            break;
        }
        rest = content.get(length..).unwrap_or_default();
    }
    if start.is_empty() { Err(malformed("a container without codestream")) } else { Ok(start) }
}

/// Decodes the first frame that is shown.
pub(crate) fn decode(bytes: &[u8]) -> Result<Raw, Error> {
    let image = image_header(bytes)?;
    let samples = u64::from(image.width.max(16)) * u64::from(image.height) * u64::from(3 + image.extra_channels);
    let mut options = JxlDecoderOptions::default();
    options.sample_limit = Some(usize::try_from(samples).map_err(malformed)?.saturating_add(1));
    options.alpha_mode = AlphaMode::Unpremultiplied;
    options.max_profile_level = ProfileLevel::Main10;
    let mut decoder = JxlDecoder::new(options);
    let mut input = bytes;
    until(&mut decoder, &mut input, None, |event| event == Event::BasicInfo)?;

    let (info, profile) = match (decoder.basic_info(), decoder.embedded_color_profile()) {
        (Some(info), Some(profile)) => (info.clone(), profile.clone()),
        _ => return Err(malformed("no description")),
    };
    let wide = is_wide(&info, &profile);
    let (colour, channels) = layout(&info, &profile, image.xyb)?;
    let data = if wide {
        JxlDataFormat::U16 { endianness: Endianness::native(), bit_depth: 16 }
    } else {
        JxlDataFormat::U8 { bit_depth: 8 }
    };
    let format = JxlPixelFormat {
        color_type: colour,
        color_data_format: Some(data),
        extra_channel_format: vec![None; info.extra_channels.len()],
    };
    decoder.set_pixel_format(format).map_err(malformed)?;
    let profile = decoder.output_color_profile().cloned().unwrap_or(profile);

    let (width, height) = info.size;
    let row = width * channels.count() * if wide { 2 } else { 1 };
    // Words have to lie where words may.
    let mut buffer = vec![0; row * height + usize::from(wide)];
    let start = if wide { buffer.as_ptr().align_offset(2) } else { 0 };
    let pixels = buffer.get_mut(start..start + row * height).ok_or_else(|| malformed("no room for its rows"))?;
    if pixels.is_empty() {
        return Err(malformed("an empty image"));
    }
    let mut buffers = [JxlOutputBuffer::new(pixels, height, row)];
    until(&mut decoder, &mut input, Some(&mut buffers), |event| matches!(event, Event::FrameComplete { .. }))?;
    drop(decoder);

    let mut samples = if wide {
        let words = buffer[start..start + row * height].chunks_exact(2);
        Samples::Sixteen(words.map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect())
    } else {
        Samples::Eight(buffer)
    };
    if channels == Channels::Cmyk {
        invert(&mut samples);
    }
    let size = |edge: usize| u32::try_from(edge).map_err(malformed);
    Ok(Raw { width: size(width)?, height: size(height)?, channels, samples, space: space(&profile) })
}

/// Lets the decoder read on until it tells of what is waited for.
fn until(
    decoder: &mut JxlDecoder,
    input: &mut &[u8],
    mut buffers: Option<&mut [JxlOutputBuffer<'_>]>,
    wanted: impl Fn(Event) -> bool,
) -> Result<(), Error> {
    loop {
        match decoder.process(input, buffers.as_deref_mut(), None) {
            Ok(event) if wanted(event) => return Ok(()),
            Ok(Event::NeedMoreInput { .. }) => return Err(malformed("the file ends before its image does")),
            Ok(Event::Complete) => return Err(malformed("no image")),
            Ok(_) => {}
            Err(error) => return Err(malformed(error)),
        }
    }
}

/// Whether 8 bits would lose something that shows: high dynamic range is mapped at 16.
fn is_wide(info: &JxlBasicInfo, profile: &JxlColorProfile) -> bool {
    let deep = match info.bit_depth {
        JxlBitDepth::Int { bits_per_sample } => bits_per_sample > 8,
        JxlBitDepth::Float { .. } => true,
    };
    let dynamic = matches!(profile.transfer_function(), Some(JxlTransferFunction::PQ | JxlTransferFunction::HLG));
    deep || dynamic
}

fn layout(info: &JxlBasicInfo, profile: &JxlColorProfile, xyb: bool) -> Result<(JxlColorType, Channels), Error> {
    let has = |kind: ExtraChannel| info.extra_channels.iter().any(|channel| channel.ec_type == kind);
    let alpha = has(ExtraChannel::Alpha);
    if profile.is_cmyk() && !xyb {
        return match (has(ExtraChannel::Black), alpha) {
            (true, false) => Ok((JxlColorType::Cmyk, Channels::Cmyk)),
            (true, true) => Err(unsupported("ink with alpha")),
            (false, _) => Err(malformed("ink without black")),
        };
    }
    Ok(match (profile.channels(), alpha) {
        (1, false) => (JxlColorType::Grayscale, Channels::Grey),
        (1, true) => (JxlColorType::GrayscaleAlpha, Channels::GreyAlpha),
        (_, false) => (JxlColorType::Rgb, Channels::Rgb),
        (_, true) => (JxlColorType::Rgba, Channels::Rgba),
    })
}

/// JPEG XL counts the light that ink leaves; coverage is what is wanted.
fn invert(samples: &mut Samples) {
    match samples {
        Samples::Eight(values) => values.iter_mut().for_each(|value| *value = 255 - *value),
        Samples::Sixteen(values) => values.iter_mut().for_each(|value| *value = 65_535 - *value),
    }
}

/// Code points where there are some that say the same, else the profile that the decoder makes of its description.
fn space(profile: &JxlColorProfile) -> Space {
    let encoding = match profile {
        JxlColorProfile::Icc(bytes) => return Space::Icc(bytes.clone()),
        JxlColorProfile::Simple(encoding) => encoding,
    };
    let (white, primaries, transfer) = match encoding {
        JxlColorEncoding::RgbColorSpace { white_point, primaries, transfer_function, .. } => {
            let primaries = match primaries {
                JxlPrimaries::SRGB => Some(1),
                JxlPrimaries::BT2100 => Some(9),
                JxlPrimaries::P3 => Some(12),
                JxlPrimaries::Chromaticities { .. } => None,
            };
            (white_point, primaries, transfer_function)
        }
        JxlColorEncoding::GrayscaleColorSpace { white_point, transfer_function, .. } => {
            (white_point, Some(1), transfer_function)
        }
        JxlColorEncoding::XYB { .. } => return Space::Srgb,
    };
    let code = match transfer {
        JxlTransferFunction::SRGB => Some(13),
        JxlTransferFunction::Linear => Some(8),
        JxlTransferFunction::PQ => Some(16),
        JxlTransferFunction::HLG => Some(18),
        JxlTransferFunction::BT709 | JxlTransferFunction::DCI | JxlTransferFunction::Gamma(_) => None,
    };
    // High dynamic range is mapped by its curve, whatever its primaries.
    let dynamic = matches!(code, Some(16 | 18));
    match (primaries, code) {
        (primaries, Some(transfer)) if dynamic => Space::Cicp { primaries: primaries.unwrap_or(1), transfer },
        (Some(primaries), Some(transfer)) if *white == JxlWhitePoint::D65 => Space::Cicp { primaries, transfer },
        _ => profile.try_as_icc().map_or(Space::Srgb, |icc| Space::Icc(icc.into_owned())),
    }
}
