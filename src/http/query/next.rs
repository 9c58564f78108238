//! The parameters of `/_next/image`, checked in Next.js's own order and refused with its own texts (nextjs-contract.md §1.2).
//!
//! Unknown parameters are ignored here, as Next.js does; everything else about the order is the contract: the URL is
//! judged by the policy before width and quality are looked at, and syntax comes before the lists.

use std::borrow::Cow;

use super::{Pairs, Sizes, digits};
use crate::format::Negotiated;
use crate::source::Refusal;
use crate::variant::{Fit, FormatWish, Quality, Wish};

/// An admitted source and what is wished of it.
#[derive(Debug, PartialEq)]
pub(in crate::http) struct NextAsked<S> {
    pub(in crate::http) source: S,
    pub(in crate::http) wish: Wish,
}

/// Why a request is refused with 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) enum Refused {
    /// Rows 1, 2 and 10 to 19 of the table: the body to send.
    Text(Cow<'static, str>),
    /// Rows 3 to 9: what the policy says of `url`, and its text.
    Url(Refusal, String),
}

const W_INTEGER: &str = r#""w" parameter (width) must be an integer greater than 0"#;
const Q_INTEGER: &str = r#""q" parameter (quality) must be an integer between 1 and 100"#;

/// A parameter as JavaScript sees it: absent, one text, or an array.
#[derive(Clone, Copy)]
enum Given<'p> {
    Nothing,
    Once(&'p str),
    Repeatedly,
}

impl<'p> Given<'p> {
    fn and(self, value: &'p str) -> Self {
        match self {
            Self::Nothing => Self::Once(value),
            _ => Self::Repeatedly,
        }
    }

    fn single(self, missing: &'static str, array: &'static str) -> Result<&'p str, Refused> {
        match self {
            Self::Nothing | Self::Once("") => Err(text(missing)),
            Self::Once(value) => Ok(value),
            Self::Repeatedly => Err(text(array)),
        }
    }
}

const fn text(text: &'static str) -> Refused {
    Refused::Text(Cow::Borrowed(text))
}

/// A whole number as JavaScript writes it.
fn javascript(number: f64) -> String {
    if number < 1e21 {
        number.to_string()
    } else if number.is_finite() {
        format!("{number:e}").replace('e', "e+")
    } else {
        "Infinity".to_owned()
    }
}

/// Reads the query and has the source admitted.
///
/// # Errors
/// The first row of the contract's table that applies.
pub(in crate::http) fn next<S>(
    pairs: &Pairs<'_>,
    sizes: &Sizes,
    negotiated: Negotiated,
    admit: impl FnOnce(&str) -> Result<S, Refusal>,
) -> Result<NextAsked<S>, Refused> {
    let (mut url, mut w, mut q) = (Given::Nothing, Given::Nothing, Given::Nothing);
    for (name, value) in pairs.iter() {
        match name {
            "url" => url = url.and(value),
            "w" => w = w.and(value),
            "q" => q = q.and(value),
            _ => {}
        }
    }
    let url = url.single(r#""url" parameter is required"#, r#""url" parameter cannot be an array"#)?;
    let source = admit(url).map_err(|refusal| Refused::Url(refusal, url.to_owned()))?;
    let w = w.single(r#""w" parameter (width) is required"#, r#""w" parameter (width) cannot be an array"#)?;
    // Any number of digits is a number to JavaScript, and is told as one.
    let asked_width = digits::<f64>(w).ok_or(text(W_INTEGER))?;
    let q = q.single(r#""q" parameter (quality) is required"#, r#""q" parameter (quality) cannot be an array"#)?;
    digits::<f64>(q).ok_or(text(Q_INTEGER))?;
    if asked_width == 0.0 {
        return Err(text(W_INTEGER));
    }
    let width = digits::<u32>(w).filter(|w| sizes.widths().any(|allowed| allowed == *w));
    let width = width.ok_or_else(|| {
        let shown = javascript(asked_width);
        Refused::Text(format!(r#""w" parameter (width) of {shown} is not allowed"#).into())
    })?;
    let quality = digits::<u8>(q).and_then(Quality::new).ok_or(text(Q_INTEGER))?;
    if !sizes.qualities.contains(&quality.get()) {
        let q = quality.get();
        return Err(Refused::Text(format!(r#""q" parameter (quality) of {q} is not allowed"#).into()));
    }
    let wish = Wish {
        width: Some(width),
        height: None,
        cap: sizes.cap(),
        max_pixels: sizes.max_output_pixels,
        fit: Fit::Inside,
        quality: Some(quality),
        format: FormatWish::Negotiated(negotiated),
        background: None,
    };
    Ok(NextAsked { source, wish })
}
