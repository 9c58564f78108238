//! TIFF, by the tiff crate: the first page, whatever its samples are, as sharp shows it.
//!
//! The crate undoes compression, prediction and tiling; what samples mean (palettes, ink, extra samples, bits below a
//! byte) is judged here. Invariant: what a page is, is decided from its tags alone, once, in [`Page::read`], so that
//! [`header`] and [`decode`] agree.

mod chunks;
mod colours;
mod fax;
mod patch;

use std::borrow::Cow;
use std::io::Cursor;

use image::metadata::Orientation;
use tiff::decoder::{Decoder, DecodingResult, Limits as Allowed};
use tiff::tags::Tag;
use tiff::{TiffError, TiffUnsupportedError};

use super::colour::{Raw, Samples, Space};
use super::header::{Header, within};
use crate::format::ImageFormat;
use crate::imaging::{Error, Limits};
use colours::Meaning;

/// Values of the tag Compression.
const UNCOMPRESSED: u16 = 1;
const GROUP_3: u16 = 3;
const JPEG: u16 = 7;
/// Values of the tag PhotometricInterpretation that other samples are read as.
const BLACK_IS_ZERO: u32 = 1;
const RGB: u32 = 2;

fn malformed(detail: impl Into<String>) -> Error {
    Error::Malformed { format: ImageFormat::Tiff, detail: detail.into() }
}

fn unsupported(detail: impl Into<String>) -> Error {
    Error::Unsupported { format: ImageFormat::Tiff, detail: detail.into() }
}

fn refused(error: TiffError) -> Error {
    match error {
        TiffError::UnsupportedError(TiffUnsupportedError::UnknownInterpretation) => {
            malformed("no known photometric interpretation")
        }
        TiffError::UnsupportedError(error) => unsupported(error.to_string()),
        other => malformed(other.to_string()),
    }
}

type Reader<'a> = Decoder<Cursor<&'a [u8]>>;

fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Reader<'a>, Error> {
    let mut allowed = Allowed::default();
    let most = usize::try_from(limits.max_pixels.saturating_mul(32)).unwrap_or(usize::MAX);
    allowed.decoding_buffer_size = most;
    allowed.intermediate_buffer_size = most;
    allowed.ifd_value_size = limits.max_metadata_bytes.max(1 << 20);
    Ok(Decoder::new(Cursor::new(bytes)).map_err(refused)?.with_limits(allowed))
}

/// What an extra sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alpha {
    None,
    Straight,
    /// Multiplied into the colours, as TIFF 6 calls associated.
    Associated,
}

/// What the tags of the first page say.
struct Page {
    width: u32,
    height: u32,
    /// Bits of a sample.
    bits: u16,
    /// Samples of a pixel.
    samples: u16,
    meaning: Meaning,
    alpha: Alpha,
    orientation: Orientation,
    compression: u16,
    /// Samples are floating-point numbers.
    float: bool,
    /// Bits of each byte are stored from the lowest on.
    mirrored: bool,
    /// Each sample has planes of its own.
    planar: bool,
    /// Its extra sample is called unspecified, and is alpha all the same.
    unspecified: bool,
    /// Pixels across and down that share one chroma sample, where they are stored so.
    shared: Option<(u32, u32)>,
    profile: Option<Vec<u8>>,
    /// Strips or tiles are of so many pixels.
    chunk: u64,
}

impl Page {
    fn read(bytes: &[u8], limits: &Limits) -> Result<Self, Error> {
        let mut reader = open(bytes, limits)?;
        let (width, height) = reader.dimensions().map_err(refused)?;
        let mut number = |tag, otherwise| {
            let found = reader.find_tag_unsigned_vec::<u16>(tag).map_err(refused)?;
            Ok::<_, Error>(found.and_then(|values| values.first().copied()).unwrap_or(otherwise))
        };
        let (bits, samples) = (number(Tag::BitsPerSample, 1)?, number(Tag::SamplesPerPixel, 1)?);
        let (photometric, compression) = (number(Tag::PhotometricInterpretation, 1)?, number(Tag::Compression, 1)?);
        let float = number(Tag::SampleFormat, 1)? == 3;
        let orientation = u8::try_from(number(Tag::Orientation, 1)?).ok().and_then(Orientation::from_exif);
        let (mirrored, planar) = (number(Tag::FillOrder, 1)? == 2, number(Tag::PlanarConfiguration, 1)? == 2);
        if number(Tag::Unknown(332), 1)? != 1 && photometric == 5 {
            return Err(unsupported("inks other than cyan, magenta, yellow and black"));
        }
        let meaning = Meaning::of(photometric, bits, &mut reader)?;
        let extra = reader.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(refused)?.unwrap_or_default();
        let alpha = match extra.first() {
            Some(1) => Alpha::Associated,
            Some(2) => Alpha::Straight,
            // One sample more than colours need and not a word about it: alpha, as every reader takes it.
            Some(0) | None if samples == meaning.samples() + 1 && meaning != Meaning::Cmyk => Alpha::Straight,
            _ => Alpha::None,
        };
        let chroma = reader.find_tag_unsigned_vec::<u32>(Tag::ChromaSubsampling).map_err(refused)?;
        let shared = match (meaning, chroma.as_deref()) {
            (Meaning::YCbCr { .. }, _) if compression == JPEG => None,
            (Meaning::YCbCr { .. }, Some([1, 1])) => None,
            (Meaning::YCbCr { .. }, Some(&[across @ 1..=4, down @ 1..=4])) => Some((across, down)),
            (Meaning::YCbCr { .. }, _) => Some((2, 2)),
            _ => None,
        };
        if shared.is_some() && (planar || bits != 8 || reader.get_chunk_type() != tiff::decoder::ChunkType::Strip) {
            return Err(unsupported("shared chroma samples in planes, tiles or other than 8 bits"));
        }
        let profile = reader.get_tag_u8_vec(Tag::IccProfile).ok();
        if let Some(profile) = &profile {
            within("metadata bytes", profile.len() as u64, limits.max_metadata_bytes as u64)?;
        }
        let orientation = orientation.unwrap_or(Orientation::NoTransforms);
        let (across, down) = reader.chunk_dimensions();
        let chunk = u64::from(across) * u64::from(down);
        let page = Self {
            width,
            height,
            bits,
            samples,
            meaning,
            alpha,
            orientation,
            compression,
            float,
            planar,
            mirrored,
            unspecified: alpha == Alpha::Straight && extra.first() == Some(&0),
            shared,
            profile,
            chunk,
        };
        if samples < meaning.samples() {
            return Err(malformed("fewer samples than its colours need"));
        }
        let bilevel = bits == 1 && samples == 1 && matches!(meaning, Meaning::Grey { .. } | Meaning::Palette);
        if compression == GROUP_3 && !bilevel {
            return Err(unsupported("a facsimile of more than black and white"));
        }
        Ok(page)
    }

    /// Whether what is read has transparency: ink is shown without it.
    fn has_alpha(&self) -> bool {
        self.alpha != Alpha::None && self.meaning != Meaning::Cmyk
    }

    /// Bytes a pixel at the peak: samples as stored, as words or bytes, woven from planes, and as colours.
    fn working(&self) -> u32 {
        let samples = u32::from(self.samples);
        let stored = (u32::from(self.bits) * samples).div_ceil(8).max(1);
        let sample = if self.bits > 8 { 2 } else { 1 };
        let read = samples * sample;
        // JPEG has each strip or tile as a frame of its own, with its coefficients where it is progressive.
        let all = u64::from(self.width) * u64::from(self.height);
        let frame = u64::from(3 * stored) * self.chunk.min(all) / all.max(1);
        let frame = if self.compression == JPEG { u32::try_from(frame).unwrap_or(u32::MAX) + 1 } else { 0 };
        let unpacked = if self.bits < 8 || self.bits > 16 { stored + read } else { stored };
        let woven = if self.planar { 2 * read } else { 0 };
        let channels = if self.has_alpha() { 4 } else { 3 };
        let plain = matches!(self.meaning, Meaning::Rgb | Meaning::Cmyk | Meaning::Grey { .. });
        let picked = match self.meaning {
            // Of 16 bits.
            Meaning::Palette | Meaning::Lab { .. } => read + 2 * channels,
            Meaning::YCbCr { .. } => read + 2 * channels,
            _ if self.alpha == Alpha::None && self.samples != self.meaning.samples() => 2 * read,
            _ => read,
        };
        let grey = self.meaning.samples() == 1 && plain;
        let shown = match (grey, sample) {
            (true, _) => channels + channels - 2,
            (false, 2) => 2 * read.max(2 * channels),
            (false, _) => channels,
        };
        [stored + frame, unpacked, woven, picked, shown].into_iter().max().unwrap_or(stored)
    }

    /// Whether the crate is given a file that says otherwise what it holds.
    fn is_described_anew(&self) -> bool {
        let as_other = matches!(self.meaning, Meaning::Grey { .. } | Meaning::Palette | Meaning::Lab { .. });
        as_other || self.shared.is_some() || self.mirrored && self.compression != JPEG || self.unspecified
    }

    /// The file as the crate can read it: what it does not know is described to it as plain samples.
    fn described<'a>(&self, bytes: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>, Error> {
        let photometric = match self.meaning {
            Meaning::Grey { .. } | Meaning::Palette => Some(BLACK_IS_ZERO),
            Meaning::Lab { .. } => Some(RGB),
            Meaning::YCbCr { .. } if self.shared.is_some() => Some(BLACK_IS_ZERO),
            _ => None,
        };
        // Group 3 is not read by the crate, and JPEG has an order of bits of its own.
        let mirrored = self.mirrored && self.compression != JPEG;
        if photometric.is_none() && !mirrored && !self.unspecified {
            return Ok(Cow::Borrowed(bytes));
        }
        let mut file = bytes.to_vec();
        if self.unspecified {
            // 2 is straight alpha: unspecified samples are left out by the crate.
            patch::set_short(&mut file, Tag::ExtraSamples.to_u16(), 2).ok_or_else(|| malformed("no extra samples"))?;
        }
        let mut set = |tag: Tag, value| {
            patch::set(&mut file, tag.to_u16(), value).ok_or_else(|| malformed(format!("no tag {tag:?}")))
        };
        if let Some(value) = photometric {
            set(Tag::PhotometricInterpretation, value)?;
        }
        if let Some((across, down)) = self.shared {
            // Units of luma samples and their two chroma samples, in rows of units.
            set(Tag::ImageWidth, self.width.div_ceil(across) * (across * down + 2))?;
            set(Tag::ImageLength, self.height.div_ceil(down))?;
            set(Tag::SamplesPerPixel, 1)?;
            set(Tag::BitsPerSample, 8)?;
            let mut reader = open(bytes, limits)?;
            if let Some(rows) = reader.find_tag_unsigned::<u32>(Tag::RowsPerStrip).map_err(refused)? {
                set(Tag::RowsPerStrip, rows.min(self.height).div_ceil(down))?;
            }
        }
        if mirrored {
            let mut reader = open(bytes, limits)?;
            patch::mirror(&mut file, &patch::chunks(&mut reader)?);
        }
        Ok(Cow::Owned(file))
    }
}

/// What the header says.
pub(crate) fn header(bytes: &[u8], limits: &Limits) -> Result<Header, Error> {
    let page = Page::read(bytes, limits)?;
    let still = Header::still(page.width, page.height, page.has_alpha());
    let copies = u8::from(page.is_described_anew());
    Ok(Header { orientation: page.orientation, working: page.working(), copies, ..still })
}

/// Decodes the first page.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raw, Error> {
    let page = Page::read(bytes, limits)?;
    let file = page.described(bytes, limits)?;
    let samples = if page.compression == GROUP_3 {
        Samples::Eight(fax::read(&file, &page, limits)?)
    } else {
        stored(&file, &page, limits)?
    };
    let (channels, samples) = colours::of(samples, &page, bytes, limits)?;
    let space = match (page.profile, page.meaning) {
        // Lab is converted already.
        (_, Meaning::Lab { .. }) => Space::Srgb,
        (Some(profile), _) => Space::Icc(profile),
        // Colours in floating point are linear light where nothing else is said: what sharp takes them for.
        (None, Meaning::Rgb) if page.float => Space::Power { exponent: 1.0, chromaticities: None },
        (None, _) => Space::Srgb,
    };
    Ok(Raw { width: page.width, height: page.height, channels, samples, space })
}

/// All samples of all pixels, pixel by pixel, at 8 or 16 bits; fewer bits are one a byte, as they are.
fn stored(file: &[u8], page: &Page, limits: &Limits) -> Result<Samples, Error> {
    let mut reader = open(file, limits)?;
    chunks::judge(file, page, &mut reader)?;
    let mut result = DecodingResult::U8(Vec::new());
    let layout = reader.read_image_to_buffer(&mut result).map_err(refused)?;
    if result.as_buffer(0).as_bytes().len() < layout.complete_len {
        return Err(malformed("planes too large for memory"));
    }
    let unit = |value: f64| (value.clamp(0.0, 1.0) * 65_535.0 + 0.5) as u16;
    let samples = match result {
        DecodingResult::U8(values) if page.bits < 8 => {
            // Rows of planes have one sample a pixel.
            let across = if layout.planes > 1 { 1 } else { usize::from(page.samples) };
            Samples::Eight(colours::unpacked(&values, page.width as usize * across, usize::from(page.bits)))
        }
        DecodingResult::U8(values) => Samples::Eight(values),
        DecodingResult::U16(values) => Samples::Sixteen(values),
        DecodingResult::U32(values) => Samples::Sixteen(values.iter().map(|v| (v >> 16) as u16).collect()),
        DecodingResult::U64(values) => Samples::Sixteen(values.iter().map(|v| (v >> 48) as u16).collect()),
        DecodingResult::F16(values) => Samples::Sixteen(values.iter().map(|v| unit(v.to_f64())).collect()),
        DecodingResult::F32(values) => Samples::Sixteen(values.iter().map(|v| unit(f64::from(*v))).collect()),
        DecodingResult::F64(values) => Samples::Sixteen(values.iter().map(|v| unit(*v)).collect()),
        _ => return Err(unsupported("signed samples")),
    };
    Ok(if layout.planes > 1 { colours::interleaved(samples, layout.planes) } else { samples })
}

#[cfg(test)]
mod tests;
