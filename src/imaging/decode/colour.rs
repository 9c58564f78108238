//! Colour: whatever a decoder delivers becomes 8-bit sRGB here, and nowhere else.
//!
//! Invariant: **colours are converted at the depth they were decoded at** and reduced to 8 bits last, by rounding. A profile
//! that cannot be used is ignored (browsers do the same), and a profile that *is* sRGB costs one test, not a conversion.

mod engine;

use moxcms::{
    Chromaticity, CicpColorPrimaries, CicpProfile, ColorPrimaries, ColorProfile, DataColorSpace, Layout,
    MatrixCoefficients, ToneReprCurve, TransferCharacteristics, TransformOptions, XyY,
};

use self::engine::{is_identity, run};
use super::Picture;
use super::hdr::{self, Transfer};

/// Samples as decoded, interleaved.
#[derive(Clone, Debug)]
pub(crate) enum Samples {
    /// 0 to 255.
    Eight(Vec<u8>),
    /// 0 to 65535.
    Sixteen(Vec<u16>),
}

/// What the samples of one pixel are. Alpha is straight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channels {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
    /// Ink coverage: 0 is paper.
    Cmyk,
}

impl Channels {
    pub(crate) const fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }
}

/// What the samples mean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Space {
    /// sRGB, also for everything that says nothing.
    Srgb,
    /// An ICC profile.
    Icc(Vec<u8>),
    /// Code points of ITU-T H.273: primaries and transfer characteristics.
    Cicp { primaries: u8, transfer: u8 },
    /// A power law (decoding exponent), with white, red, green, blue chromaticities when they are known.
    Power { exponent: f32, chromaticities: Option<[(f32, f32); 4]> },
}

/// A decoded image before colour conversion.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: Channels,
    pub(crate) samples: Samples,
    pub(crate) space: Space,
}

impl Raw {
    /// Converts to 8-bit sRGB.
    pub(crate) fn into_picture(self) -> Picture {
        let Self { width, height, channels, samples, space } = self;
        let (samples, channels) = match convert(samples, channels, &space) {
            Ok(converted) => converted,
            Err(samples) => plain(samples, channels),
        };
        let bytes = match samples {
            Samples::Eight(bytes) => bytes,
            Samples::Sixteen(words) => words.into_iter().map(to_eight).collect(),
        };
        let (pixels, alpha) = match channels {
            Channels::Rgb => (bytes, false),
            Channels::Rgba => (bytes, true),
            Channels::Grey => (bytes.iter().flat_map(|v| [*v; 3]).collect(), false),
            Channels::GreyAlpha => (bytes.chunks_exact(2).flat_map(|p| [p[0], p[0], p[0], p[1]]).collect(), true),
            // `plain` and `convert` leave no ink.
            Channels::Cmyk => (Vec::new(), false),
        };
        Picture { width, height, alpha, pixels }.without_opaque_alpha()
    }
}

/// 16 bits to 8, rounded to nearest: 65535 / 255 is 257.
fn to_eight(value: u16) -> u8 {
    ((u32::from(value) + 128) / 257) as u8
}

/// The conversion that needs no profile: everything is sRGB already, save ink.
fn plain(samples: Samples, channels: Channels) -> (Samples, Channels) {
    if channels != Channels::Cmyk {
        return (samples, channels);
    }
    let mut bytes: Vec<u8> = match samples {
        Samples::Eight(bytes) => bytes,
        Samples::Sixteen(words) => words.into_iter().map(to_eight).collect(),
    };
    // Without a profile: light that passes each ink and then black, as every viewer without colour management does.
    let pass = |ink: u8, black: u8| ((u32::from(255 - ink) * u32::from(255 - black) + 127) / 255) as u8;
    let pixels = bytes.len() / 4;
    for at in 0..pixels {
        let [c, m, y, k] = [0, 1, 2, 3].map(|of| bytes[at * 4 + of]);
        bytes[at * 3..at * 3 + 3].copy_from_slice(&[pass(c, k), pass(m, k), pass(y, k)]);
    }
    bytes.truncate(pixels * 3);
    bytes.shrink_to_fit();
    (Samples::Eight(bytes), Channels::Rgb)
}

/// Converts to sRGB; gives the samples back when there is nothing to convert or no way to.
fn convert(samples: Samples, channels: Channels, space: &Space) -> Result<(Samples, Channels), Samples> {
    if let Space::Cicp { primaries, transfer } = space
        && let Some(transfer) = Transfer::of(*transfer)
    {
        return hdr::to_srgb(&samples, channels, *primaries, transfer).ok_or(samples);
    }
    let Some(profile) = profile_of(space, channels) else { return Err(samples) };
    // Grey samples under an RGB description are three equal channels; RGB samples under a grey one mean nothing.
    match (profile.color_space, channels) {
        (DataColorSpace::Gray, Channels::Grey | Channels::GreyAlpha)
        | (DataColorSpace::Rgb, Channels::Rgb | Channels::Rgba)
        | (DataColorSpace::Cmyk, Channels::Cmyk) => apply(samples, channels, &profile),
        (DataColorSpace::Rgb, Channels::Grey | Channels::GreyAlpha) => {
            let (wide, channels) = widen(&samples, channels);
            apply(wide, channels, &profile).map_err(|_| samples)
        }
        (found, _) => {
            tracing::debug!(?found, ?channels, "colour profile does not fit the samples; ignored");
            Err(samples)
        }
    }
}

fn profile_of(space: &Space, channels: Channels) -> Option<ColorProfile> {
    match space {
        Space::Srgb => None,
        Space::Icc(bytes) => match ColorProfile::new_from_slice(bytes) {
            Ok(profile) => Some(profile),
            Err(error) => {
                tracing::debug!(%error, "unreadable colour profile; ignored");
                None
            }
        },
        Space::Cicp { primaries, transfer } => {
            // The camera curves of BT.709, 601 and 2020 are shown by the display's own curve, which for us is sRGB's:
            // what every viewer of such stills does.
            let transfer = match transfer {
                1 | 2 | 6 | 14 | 15 => 13,
                other => *other,
            };
            if matches!(primaries, 1 | 2) && transfer == 13 {
                return None;
            }
            Some(ColorProfile::new_from_cicp(CicpProfile {
                color_primaries: CicpColorPrimaries::try_from(if *primaries == 2 { 1 } else { *primaries }).ok()?,
                transfer_characteristics: TransferCharacteristics::try_from(transfer).ok()?,
                matrix_coefficients: MatrixCoefficients::Identity,
                full_range: true,
            }))
        }
        Space::Power { exponent, chromaticities } => {
            let curve = ToneReprCurve::Parametric(vec![*exponent]);
            if matches!(channels, Channels::Grey | Channels::GreyAlpha) {
                return Some(ColorProfile::new_gray_with_gamma(*exponent));
            }
            let mut profile = ColorProfile::new_srgb();
            profile.cicp = None;
            profile.red_trc = Some(curve.clone());
            profile.green_trc = Some(curve.clone());
            profile.blue_trc = Some(curve);
            if let Some([white, red, green, blue]) = chromaticities {
                let at = |(x, y): &(f32, f32)| Chromaticity { x: *x, y: *y };
                let white = XyY { x: f64::from(white.0), y: f64::from(white.1), yb: 1.0 };
                profile
                    .update_rgb_colorimetry(white, ColorPrimaries { red: at(red), green: at(green), blue: at(blue) });
            }
            Some(profile)
        }
    }
}

fn widen(samples: &Samples, channels: Channels) -> (Samples, Channels) {
    fn spread<T: Copy>(values: &[T], alpha: bool) -> Vec<T> {
        if alpha {
            values.chunks_exact(2).flat_map(|p| [p[0], p[0], p[0], p[1]]).collect()
        } else {
            values.iter().flat_map(|v| [*v; 3]).collect()
        }
    }
    let alpha = channels == Channels::GreyAlpha;
    let samples = match samples {
        Samples::Eight(values) => Samples::Eight(spread(values, alpha)),
        Samples::Sixteen(values) => Samples::Sixteen(spread(values, alpha)),
    };
    (samples, if alpha { Channels::Rgba } else { Channels::Rgb })
}

fn apply(samples: Samples, channels: Channels, profile: &ColorProfile) -> Result<(Samples, Channels), Samples> {
    let (from, to, out) = match channels {
        Channels::Grey => (Layout::Gray, Layout::Rgb, Channels::Rgb),
        Channels::GreyAlpha => (Layout::GrayAlpha, Layout::Rgba, Channels::Rgba),
        Channels::Rgb => (Layout::Rgb, Layout::Rgb, Channels::Rgb),
        Channels::Rgba => (Layout::Rgba, Layout::Rgba, Channels::Rgba),
        Channels::Cmyk => (Layout::Rgba, Layout::Rgb, Channels::Rgb),
    };
    let srgb = ColorProfile::new_srgb();
    let options = TransformOptions { rendering_intent: profile.rendering_intent, ..TransformOptions::default() };
    let ink = channels == Channels::Cmyk;
    let Ok(eight) = profile.create_transform_8bit(from, &srgb, to, options) else { return Err(samples) };
    if !ink && is_identity(eight.as_ref(), channels, out) {
        return Err(samples);
    }
    match samples {
        Samples::Eight(values) => {
            let mut colours = run(eight.as_ref(), values, channels, out).map_err(Samples::Eight)?;
            if ink && let Ok(black) = run(eight.as_ref(), vec![u8::MAX; 4], channels, out) {
                deepen(&mut colours, black.iter().map(|value| f32::from(*value) / 255.0), 255.0);
            }
            Ok((Samples::Eight(colours), out))
        }
        Samples::Sixteen(values) => {
            let Ok(sixteen) = profile.create_transform_16bit(from, &srgb, to, options) else {
                return Err(Samples::Sixteen(values));
            };
            let mut colours = run(sixteen.as_ref(), values, channels, out).map_err(Samples::Sixteen)?;
            if ink && let Ok(black) = run(sixteen.as_ref(), vec![u16::MAX; 4], channels, out) {
                deepen(&mut colours, black.iter().map(|value| f32::from(*value) / 65_535.0), 65_535.0);
            }
            Ok((Samples::Sixteen(colours), out))
        }
    }
}

/// Black point compensation (ICC white paper 40): the darkest that ink can be becomes black, white stays, and what lies
/// between is moved in proportion, in linear light. The engine has none. `black` is what all inks together become, of
/// which the light counts and not the tint. `top` is the largest sample.
fn deepen<T: Copy + Into<f32> + Deepened>(values: &mut [T], black: impl Iterator<Item = f32>, top: f32) {
    let light = |code: f32| if code <= 0.040_45 { code / 12.92 } else { ((code + 0.055) / 1.055).powf(2.4) };
    let code = |light: f32| if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
    let darkest: f32 = black.zip([0.2126, 0.7152, 0.0722]).map(|(value, share)| share * light(value)).sum();
    // No ink is lighter than this; a profile that says so is not of ink.
    if !(0.0..0.2).contains(&darkest) {
        return;
    }
    let moved: Vec<T> = (0..=top as u32)
        .map(|value| {
            let whole = (light(value as f32 / top) - darkest) / (1.0 - darkest);
            T::of_code(code(whole.max(0.0)) * top + 0.5)
        })
        .collect();
    values.iter_mut().for_each(|value| *value = moved[(*value).into() as usize]);
}

/// A sample that a code value can be stored in.
trait Deepened {
    fn of_code(code: f32) -> Self;
}

impl Deepened for u8 {
    fn of_code(code: f32) -> Self {
        code as Self
    }
}

impl Deepened for u16 {
    fn of_code(code: f32) -> Self {
        code as Self
    }
}

#[cfg(test)]
mod tests;
