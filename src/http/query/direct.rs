//! The parameters of `/image` and `/placeholder`: each named once, each from its list or its closed set.
//!
//! A parameter is a constant with its names and its codes; the parser collects the texts in one pass over the query and
//! then reads them, so that the first mistake in the query string is the one reported.

use std::time::SystemTime;

use super::signature::{self, Passed};
use super::{Invalid, MAX_EDGE, Pairs, Signing, Sizes, digits, is_ignored};
use crate::format::{ImageFormat, Negotiated};
use crate::variant::{Fit, FormatWish, Quality, Rgb, Wish};

/// What a request to `/image` asks for.
#[derive(Debug, PartialEq)]
pub(in crate::http) struct Asked<'q> {
    /// The source, not yet judged.
    pub(in crate::http) url: &'q str,
    pub(in crate::http) wish: Wish,
    /// How long the request may be answered.
    pub(in crate::http) passed: Passed,
}

struct Parameter {
    /// What it may be called; the first is what messages call it.
    names: &'static [&'static str],
    repeated: &'static str,
    invalid: &'static str,
    not_allowed: &'static str,
}

macro_rules! parameters {
    ($($constant:ident = $code:literal, $names:expr;)+) => {$(
        const $constant: Parameter = Parameter {
            names: &$names,
            repeated: concat!($code, "_repeated"),
            invalid: concat!($code, "_invalid"),
            not_allowed: concat!($code, "_not_allowed"),
        };
    )+};
}

parameters! {
    URL = "url", ["url"];
    WIDTH = "width", ["w", "width"];
    HEIGHT = "height", ["h", "height"];
    FORMAT = "format", ["f", "format"];
    QUALITY = "quality", ["q", "quality"];
    FIT = "fit", ["fit"];
    DPR = "dpr", ["dpr"];
    BACKGROUND = "background", ["bg"];
    SIGNATURE = "signature", ["s"];
    EXPIRY = "expiry", ["e"];
    KEY_NAME = "kid", ["kid"];
    PLACEHOLDER_FORMAT = "format", ["format"];
}

impl Parameter {
    fn invalid(&self, text: &str, expected: &str) -> Invalid {
        let name = self.names[0];
        Invalid::new(self.invalid, format!("{name}={:?} is not valid; {name} must be {expected}", excerpt(text)))
    }

    fn not_allowed(&self, what: &str, mut allowed: Vec<u32>) -> Invalid {
        allowed.sort_unstable();
        allowed.dedup();
        let allowed: Vec<_> = allowed.iter().map(u32::to_string).collect();
        let detail = format!("{} of {what} is not allowed; allowed are {}", self.names[0], allowed.join(", "));
        Invalid::new(self.not_allowed, detail)
    }
}

/// The start of a client's text, short enough to be sent back.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The text of each parameter of `known`, at most one each, whatever name it goes by.
fn collect<'p, const N: usize>(pairs: &'p Pairs<'_>, known: [&Parameter; N]) -> Result<[Option<&'p str>; N], Invalid> {
    let mut texts = [None; N];
    for (name, value) in pairs.iter() {
        match known.iter().position(|parameter| parameter.names.contains(&name)) {
            Some(at) if texts[at].is_some() => {
                let detail = format!("{} may be given once", known[at].names.join(" or "));
                return Err(Invalid::new(known[at].repeated, detail));
            }
            Some(at) => texts[at] = Some(value),
            None if is_ignored(name) => {}
            None => {
                let names: Vec<_> = known.iter().map(|parameter| parameter.names[0]).collect();
                let detail = format!("{:?} is no parameter; there are {}", excerpt(name), names.join(", "));
                return Err(Invalid::new("unknown_parameter", detail));
            }
        }
    }
    Ok(texts)
}

fn required(url: Option<&str>) -> Result<&str, Invalid> {
    url.filter(|url| !url.is_empty()).ok_or_else(|| Invalid::new("url_missing", "url is required"))
}

/// Reads the query of `/image`. `path` and `raw` are what a signature signs; `negotiated` is what `Accept` came to.
///
/// # Errors
/// The first mistake, with its code.
pub(in crate::http) fn direct<'p>(
    pairs: &'p Pairs<'_>,
    path: &str,
    raw: &str,
    sizes: &Sizes,
    negotiated: Negotiated,
    now: SystemTime,
) -> Result<Asked<'p>, Invalid> {
    let known = [&URL, &WIDTH, &HEIGHT, &FORMAT, &QUALITY, &FIT, &DPR, &BACKGROUND, &SIGNATURE, &EXPIRY, &KEY_NAME];
    let [url, width, height, format, quality, fit, dpr, background, signature, expiry, key] = collect(pairs, known)?;
    let url = required(url)?;
    let given = signature::Given { signature, expiry, key };
    let passed = signature::verify(path, raw, given, &sizes.signing, now)?;
    let signed = passed.signed;
    let dpr = dpr.map_or(Ok(100), density)?;
    let edge = |parameter: &Parameter, text: Option<&str>, heights: bool| {
        text.map(|text| {
            let asked = pixels(parameter, text, dpr)?;
            match (signed, heights) {
                (true, _) => hard_limit(parameter, asked),
                (false, false) => listed(parameter, asked, dpr, sizes.widths(), sizes.snap),
                (false, true) => listed(parameter, asked, dpr, sizes.all_heights(), sizes.snap),
            }
        })
        .transpose()
    };
    let fit = match fit {
        None => Fit::default(),
        Some(name) => Fit::from_name(name).ok_or_else(|| FIT.invalid(name, "inside, cover, contain or fill"))?,
    };
    // A crop has a list of its own, where there is one.
    let crops = sizes.crops.as_deref().filter(|_| !signed && fit != Fit::Inside);
    let (width, height) = match (width, height, crops) {
        (Some(width), Some(height), Some(crops)) => {
            let crop = (pixels(&WIDTH, width, dpr)?, pixels(&HEIGHT, height, dpr)?);
            listed_crop(crop, crops)?;
            (Some(crop.0), Some(crop.1))
        }
        _ => (edge(&WIDTH, width, false)?, edge(&HEIGHT, height, true)?),
    };
    let wish = Wish {
        width,
        height,
        cap: sizes.cap(),
        max_pixels: sizes.max_output_pixels,
        fit,
        quality: quality_of(quality, sizes, signed)?,
        format: match format {
            None | Some("auto") => FormatWish::Negotiated(negotiated),
            Some(name) => FormatWish::Exactly(
                ImageFormat::output_from_name(name)
                    .ok_or_else(|| FORMAT.invalid(name, "auto, avif, webp, jpeg or png"))?,
            ),
        },
        background: background.map(|text| colour(text, sizes, signed)).transpose()?,
    };
    Ok(Asked { url, wish, passed })
}

/// Reads the query of `/placeholder`: the source, the text of `format`, and how long it may be answered.
///
/// # Errors
/// The first mistake, with its code.
pub(in crate::http) fn placeholder<'p, T>(
    pairs: &'p Pairs<'_>,
    (path, raw): (&str, &str),
    (signing, now): (&Signing, SystemTime),
    format_named: impl FnOnce(&str) -> Option<T>,
) -> Result<(&'p str, Option<T>, Passed), Invalid> {
    let known = [&URL, &PLACEHOLDER_FORMAT, &SIGNATURE, &EXPIRY, &KEY_NAME];
    let [url, format, signature, expiry, key] = collect(pairs, known)?;
    let url = required(url)?;
    let passed = signature::verify(path, raw, signature::Given { signature, expiry, key }, signing, now)?;
    let expected = "json, blurhash, thumbhash, png, svg or css";
    let format =
        format.map(|name| format_named(name).ok_or_else(|| PLACEHOLDER_FORMAT.invalid(name, expected))).transpose()?;
    Ok((url, format, passed))
}

/// A density of 1 to 4 with at most two decimals, in hundredths.
fn density(text: &str) -> Result<u32, Invalid> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "00"));
    let hundredths = match fraction.len() {
        1 => digits::<u32>(fraction).map(|tenths| tenths * 10),
        2 => digits::<u32>(fraction),
        _ => None,
    };
    let whole = digits::<u32>(whole).filter(|whole| *whole <= 4);
    let dpr = whole.zip(hundredths).map(|(whole, hundredths)| whole * 100 + hundredths);
    dpr.filter(|dpr| (100..=400).contains(dpr))
        .ok_or_else(|| DPR.invalid(text, "a number from 1 to 4 with at most two decimals"))
}

/// A number of pixels times the density, rounded to nearest.
fn pixels(parameter: &Parameter, text: &str, dpr: u32) -> Result<u32, Invalid> {
    let asked = digits::<u32>(text).filter(|n| *n > 0);
    let asked = asked.ok_or_else(|| parameter.invalid(text, "an integer greater than 0"))?;
    let scaled = (u64::from(asked) * u64::from(dpr) + 50) / 100;
    Ok(u32::try_from(scaled).unwrap_or(u32::MAX))
}

fn hard_limit(parameter: &Parameter, asked: u32) -> Result<u32, Invalid> {
    if asked <= MAX_EDGE {
        return Ok(asked);
    }
    let detail = format!("{} of {asked} is not allowed; even signed, at most {MAX_EDGE} is", parameter.names[0]);
    Err(Invalid::new(parameter.not_allowed, detail))
}

/// `asked` if it is in the list; with `snap` the next larger entry, or the largest.
fn listed(
    parameter: &Parameter,
    asked: u32,
    dpr: u32,
    list: impl Iterator<Item = u32> + Clone,
    snap: bool,
) -> Result<u32, Invalid> {
    if list.clone().any(|allowed| allowed == asked) {
        return Ok(asked);
    }
    let next = || list.clone().filter(|allowed| *allowed > asked).min().or_else(|| list.clone().max());
    if let Some(next) = next().filter(|_| snap) {
        return Ok(next);
    }
    let what = if dpr == 100 { asked.to_string() } else { format!("{asked} (times dpr)") };
    Err(parameter.not_allowed(&what, list.collect()))
}

fn listed_crop(crop: (u32, u32), crops: &[(u32, u32)]) -> Result<(), Invalid> {
    if crops.contains(&crop) {
        return Ok(());
    }
    let shown = |(width, height): &(u32, u32)| format!("{width}x{height}");
    let allowed: Vec<String> = crops.iter().map(shown).collect();
    let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
    let detail = format!("fit to {} is not allowed (images.crops); allowed are: {allowed}", shown(&crop));
    Err(Invalid::new("crop_not_allowed", detail))
}

fn colour(text: &str, sizes: &Sizes, signed: bool) -> Result<Rgb, Invalid> {
    let colour = Rgb::from_hex(text);
    let colour = colour.ok_or_else(|| BACKGROUND.invalid(text, "six hexadecimal digits, rrggbb"))?;
    if signed || sizes.backgrounds.contains(&colour) {
        return Ok(colour);
    }
    let allowed: Vec<String> = sizes.backgrounds.iter().map(Rgb::to_hex).collect();
    let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
    let detail = format!("bg of {text} is not allowed (images.backgrounds); allowed are: {allowed}");
    Err(Invalid::new(BACKGROUND.not_allowed, detail))
}

/// None leaves it to what is learned of the source.
fn quality_of(text: Option<&str>, sizes: &Sizes, signed: bool) -> Result<Option<Quality>, Invalid> {
    let text = match text {
        None => return Ok(Some(sizes.default_quality())),
        Some("auto") => return Ok(None),
        Some(text) => text,
    };
    let quality = digits(text).and_then(Quality::new);
    let quality = quality.ok_or_else(|| QUALITY.invalid(text, "auto or an integer from 1 to 100"))?;
    if signed || sizes.qualities.contains(&quality.get()) {
        return Ok(Some(quality));
    }
    let allowed = sizes.qualities.iter().copied().map(u32::from).collect();
    Err(QUALITY.not_allowed(&quality.get().to_string(), allowed))
}
