//! What TIFF samples mean: grey, colours, ink, palettes, luma and chroma, Lab; and what extra samples make of them.
//!
//! Invariant: samples leave as [`Channels`] of 8 or 16 bits in straight alpha.

use tiff::tags::Tag;

use super::{Alpha, Page, Reader, malformed, open, refused, unsupported};
use crate::imaging::decode::colour::{Channels, Samples};
use crate::imaging::{Error, Limits};

/// What the samples of a pixel are (PhotometricInterpretation, TIFF 6).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meaning {
    Grey {
        white_is_zero: bool,
    },
    Rgb,
    Palette,
    Cmyk,
    /// With the share of red, green and blue in luma.
    YCbCr {
        shares: [f32; 3],
    },
    /// CIE L*a*b* under D50; chroma with an offset (ICC) or signed.
    Lab {
        offset: bool,
    },
}

impl Meaning {
    pub(super) fn of(photometric: u16, bits: u16, reader: &mut Reader<'_>) -> Result<Self, Error> {
        let meaning = match photometric {
            0 | 1 => Self::Grey { white_is_zero: photometric == 0 },
            2 => Self::Rgb,
            3 => Self::Palette,
            5 => Self::Cmyk,
            6 => {
                let told = reader.get_tag_f32_vec(Tag::Unknown(529)).ok();
                let told = told.and_then(|told| <[f32; 3]>::try_from(told).ok());
                // Green's share divides.
                Self::YCbCr { shares: told.filter(|told| told[1] > 0.01).unwrap_or([0.299, 0.587, 0.114]) }
            }
            8 | 9 => Self::Lab { offset: photometric == 9 },
            other => return Err(unsupported(format!("photometric interpretation {other}"))),
        };
        let known = match meaning {
            Self::Grey { .. } => matches!(bits, 1 | 2 | 4 | 8 | 16 | 32 | 64),
            Self::Palette => matches!(bits, 1 | 2 | 4 | 8 | 16),
            Self::Rgb => matches!(bits, 1 | 2 | 4 | 8 | 16 | 32 | 64),
            Self::Cmyk | Self::Lab { .. } => matches!(bits, 8 | 16),
            Self::YCbCr { .. } => bits == 8,
        };
        if known { Ok(meaning) } else { Err(unsupported(format!("{meaning:?} of {bits} bits"))) }
    }

    /// Samples that colours need, extra ones aside.
    pub(super) fn samples(self) -> u16 {
        match self {
            Self::Grey { .. } | Self::Palette => 1,
            Self::Rgb | Self::YCbCr { .. } | Self::Lab { .. } => 3,
            Self::Cmyk => 4,
        }
    }
}

/// One sample a byte, from rows that begin on whole bytes.
pub(super) fn unpacked(packed: &[u8], across: usize, bits: usize) -> Vec<u8> {
    let mask = ((1u16 << bits) - 1) as u8;
    let row = |row: &[u8]| -> Vec<u8> {
        (0..across).map(|at| row[at * bits / 8] >> (8 - bits - at * bits % 8) & mask).collect()
    };
    packed.chunks_exact((across * bits).div_ceil(8)).flat_map(row).collect()
}

/// Planes one after the other, pixel by pixel.
pub(super) fn interleaved(samples: Samples, planes: usize) -> Samples {
    fn woven<T: Copy>(values: &[T], planes: usize) -> Vec<T> {
        let plane = values.len() / planes;
        (0..plane).flat_map(|at| (0..planes).map(move |of| values[of * plane + at])).collect()
    }
    match samples {
        Samples::Eight(values) => Samples::Eight(woven(&values, planes)),
        Samples::Sixteen(values) => Samples::Sixteen(woven(&values, planes)),
    }
}

/// Colours of the stored samples.
pub(super) fn of(samples: Samples, page: &Page, bytes: &[u8], limits: &Limits) -> Result<(Channels, Samples), Error> {
    let pixels = page.width as usize * page.height as usize;
    let count = |length: usize| match length / pixels.max(1) {
        0 => Err(malformed("fewer samples than pixels")),
        count => Ok(count),
    };
    if let (Some(shared), Samples::Eight(units)) = (page.shared, &samples) {
        let needed = page.width.div_ceil(shared.0) * page.height.div_ceil(shared.1) * (shared.0 * shared.1 + 2);
        if units.len() < needed as usize {
            return Err(malformed("rows are missing"));
        }
        let spread = spread(units, page, shared);
        return Ok((Channels::Rgb, Samples::Eight(rgb_of(&spread, 3, page.meaning))));
    }
    match (page.meaning, samples) {
        (Meaning::Palette, samples) => {
            let map = open(bytes, limits)?.get_tag_u16_vec(Tag::ColorMap).map_err(refused)?;
            palette(&samples, &map, count(length(&samples))?)
        }
        (Meaning::Lab { offset }, samples) => lab(&samples, offset, count(length(&samples))?),
        (meaning @ Meaning::YCbCr { .. }, Samples::Eight(values)) => {
            let count = count(values.len())?;
            if count < 3 {
                return Err(malformed("fewer samples than its colours need"));
            }
            Ok((Channels::Rgb, Samples::Eight(rgb_of(&values, count, meaning))))
        }
        (_, Samples::Eight(values)) => {
            let count = count(values.len())?;
            let values = if page.bits < 8 { scaled(values, page.bits) } else { values };
            let (channels, values) = picked(values, count, page, u8::MAX)?;
            Ok((channels, Samples::Eight(values)))
        }
        (_, Samples::Sixteen(values)) => {
            let count = count(values.len())?;
            let (channels, values) = picked(values, count, page, u16::MAX)?;
            Ok((channels, Samples::Sixteen(values)))
        }
    }
}

fn length(samples: &Samples) -> usize {
    match samples {
        Samples::Eight(values) => values.len(),
        Samples::Sixteen(values) => values.len(),
    }
}

/// Values of fewer bits as values of 8.
fn scaled(values: Vec<u8>, bits: u16) -> Vec<u8> {
    let top = (1u16 << bits) - 1;
    values.into_iter().map(|value| (u16::from(value) * 255 / top) as u8).collect()
}

/// The samples that make colours and alpha, out of `count` a pixel.
fn picked<T: Copy + Into<u64> + TryFrom<u64>>(
    values: Vec<T>,
    count: usize,
    page: &Page,
    top: T,
) -> Result<(Channels, Vec<T>), Error> {
    let colours = usize::from(page.meaning.samples());
    let alpha = page.has_alpha() && count > colours;
    let channels = match (page.meaning, alpha) {
        (Meaning::Grey { .. }, false) => Channels::Grey,
        (Meaning::Grey { .. }, true) => Channels::GreyAlpha,
        (Meaning::Cmyk, _) => Channels::Cmyk,
        (_, false) => Channels::Rgb,
        (_, true) => Channels::Rgba,
    };
    if count < colours {
        return Err(malformed("fewer samples than its colours need"));
    }
    let top: u64 = top.into();
    let narrow = |value: u64| T::try_from(value.min(top)).map_err(|_| malformed("a sample out of range"));
    let negative = page.meaning == Meaning::Grey { white_is_zero: true };
    let multiplied = alpha && page.alpha == Alpha::Associated;
    if !negative && !multiplied && count == channels.count() {
        return Ok((channels, values));
    }
    let mut kept = Vec::with_capacity(values.len() / count * channels.count());
    for pixel in values.chunks_exact(count) {
        let opacity = if alpha { pixel[colours].into() } else { top };
        for value in &pixel[..colours] {
            let value: u64 = (*value).into();
            let value = if negative { top - value } else { value };
            // What is multiplied in is divided out; where nothing shows there is no colour.
            kept.push(match page.alpha {
                Alpha::Associated if multiplied && opacity > 0 => narrow((value * top + opacity / 2) / opacity)?,
                _ => narrow(value)?,
            });
        }
        if alpha {
            kept.push(narrow(opacity)?);
        }
    }
    Ok((channels, kept))
}

/// Colours by the ColorMap: all reds, all greens, all blues, of 16 bits each.
fn palette(samples: &Samples, map: &[u16], count: usize) -> Result<(Channels, Samples), Error> {
    let colours = map.len() / 3;
    if colours == 0 {
        return Err(malformed("an empty palette"));
    }
    // Maps of old writers hold 8 bits.
    let shift = if map.iter().all(|value| *value < 256) { 0 } else { 8 };
    let colour = |index: usize| {
        let index = index.min(colours - 1);
        [map[index], map[index + colours], map[index + 2 * colours]].map(|value| (value >> shift) as u8)
    };
    let pixels = match samples {
        Samples::Eight(values) => values.chunks_exact(count).flat_map(|p| colour(usize::from(p[0]))).collect(),
        Samples::Sixteen(values) => values.chunks_exact(count).flat_map(|p| colour(usize::from(p[0]))).collect(),
    };
    Ok((Channels::Rgb, Samples::Eight(pixels)))
}

/// RGB of luma and chroma in the full range (JFIF, and TIFF 6 by default).
fn rgb_of(values: &[u8], count: usize, meaning: Meaning) -> Vec<u8> {
    let Meaning::YCbCr { shares: [red, green, blue] } = meaning else { return Vec::new() };
    let byte = |value: f32| (value + 0.5).clamp(0.0, 255.0) as u8;
    let pixel = |p: &[u8]| {
        let (y, cb, cr) = (f32::from(p[0]), f32::from(p[1]) - 128.0, f32::from(p[2]) - 128.0);
        let (r, b) = (y + (2.0 - 2.0 * red) * cr, y + (2.0 - 2.0 * blue) * cb);
        [byte(r), byte((y - red * r - blue * b) / green), byte(b)]
    };
    values.chunks_exact(count).flat_map(pixel).collect()
}

/// Luma and chroma of every pixel from units that share their chroma.
fn spread(units: &[u8], page: &Page, (across, down): (u32, u32)) -> Vec<u8> {
    let (across, down) = (across as usize, down as usize);
    let (width, height) = (page.width as usize, page.height as usize);
    let unit = across * down + 2;
    let row = width.div_ceil(across) * unit;
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let start = y / down * row + x / across * unit;
            let luma = start + y % down * across + x % across;
            pixels.extend([units[luma], units[start + unit - 2], units[start + unit - 1]]);
        }
    }
    pixels
}

/// sRGB of L*a*b* under D50, by way of XYZ (CIE 15) and the Bradford adaptation to D65.
fn lab(samples: &Samples, offset: bool, count: usize) -> Result<(Channels, Samples), Error> {
    if count < 3 {
        return Err(malformed("fewer samples than its colours need"));
    }
    let byte = |v: u8| if offset { f32::from(v) - 128.0 } else { f32::from(v.cast_signed()) };
    let word = |v: u16| if offset { f32::from(v) / 256.0 - 128.0 } else { f32::from(v.cast_signed()) / 256.0 };
    let pixels = match samples {
        Samples::Eight(values) => {
            let pixels = values.chunks_exact(count);
            pixels.flat_map(|p| srgb_of_lab([f32::from(p[0]) / 2.55, byte(p[1]), byte(p[2])])).collect()
        }
        Samples::Sixteen(values) => {
            let pixels = values.chunks_exact(count);
            pixels.flat_map(|p| srgb_of_lab([f32::from(p[0]) / 655.35, word(p[1]), word(p[2])])).collect()
        }
    };
    Ok((Channels::Rgb, Samples::Eight(pixels)))
}

fn srgb_of_lab([lightness, a, b]: [f32; 3]) -> [u8; 3] {
    let cube = |t: f32| if t > 6.0 / 29.0 { t * t * t } else { 108.0 / 841.0 * (t - 4.0 / 29.0) };
    let middle = (lightness + 16.0) / 116.0;
    let (x, y, z) = (0.964_22 * cube(middle + a / 500.0), cube(middle), 0.825_21 * cube(middle - b / 200.0));
    let byte = |linear: f32| {
        let linear = linear.clamp(0.0, 1.0);
        let coded = if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
        (coded * 255.0 + 0.5) as u8
    };
    [
        byte(3.133_856 * x - 1.616_867 * y - 0.490_615 * z),
        byte(-0.978_768 * x + 1.916_142 * y + 0.033_454 * z),
        byte(0.071_945 * x - 0.228_991 * y + 1.405_243 * z),
    ]
}
