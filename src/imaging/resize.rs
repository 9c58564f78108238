//! Scaling, cropping, padding and flattening: the one place where an image changes its size.
//!
//! Invariant: **pixels are averaged as light, not as code values**, alpha premultiplied, with Lanczos3; an image that
//! keeps its size keeps its bytes. Flattening is the exception: it is done on sRGB values, because that is how CSS
//! composites, and the result should look as the transparent image does over the same background in a page.

/// Compiles a loop over samples for several processors; which one runs is chosen when the program does. AVX-512 only
/// where VBMI2 tells of a processor that keeps its clock with it.
macro_rules! for_processors {
    ($(#[$meta:meta])* fn $($rest:tt)*) => {
        $(#[$meta])*
        #[multiversion::multiversion(targets(
            "x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx512vbmi2+avx2+fma",
            "x86_64+avx2+fma",
        ))]
        fn $($rest)*
    };
}

mod convolve;
mod light;
mod taps;

use std::borrow::Cow;

use self::convolve::convolve;
pub(super) use self::convolve::working_bytes;
use super::{Error, Picture};
use crate::variant::{Geometry, Rgb};

/// A part of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

/// Brings `picture` to exactly `geometry.size()`.
///
/// `background` flattens alpha and pads [`Geometry::Contain`]; the result then has no alpha. Without it padding is
/// transparent. Working memory beside input and output: [`working_bytes`].
///
/// # Errors
/// [`Error::Encode`] when a size is 0 or the samples do not match the size.
pub(crate) fn apply(picture: Picture, geometry: &Geometry, background: Option<Rgb>) -> Result<Picture, Error> {
    framed(Cow::Owned(picture), geometry, background).map(Cow::into_owned)
}

/// The same of an image that others use too: what is not changed is not copied.
///
/// # Errors
/// As [`apply`].
pub(crate) fn apply_to<'a>(
    picture: &'a Picture,
    geometry: &Geometry,
    background: Option<Rgb>,
) -> Result<Cow<'a, Picture>, Error> {
    framed(Cow::Borrowed(picture), geometry, background)
}

fn framed<'a>(
    picture: Cow<'a, Picture>,
    geometry: &Geometry,
    background: Option<Rgb>,
) -> Result<Cow<'a, Picture>, Error> {
    let (width, height) = geometry.size();
    let whole = Area { left: 0, top: 0, width: picture.width, height: picture.height };
    let expected = picture.width as usize * picture.height as usize * picture.channels();
    if whole.width == 0 || whole.height == 0 || width == 0 || height == 0 || picture.pixels.len() != expected {
        return Err(Error::Encode("an image of inconsistent size cannot be scaled".to_owned()));
    }
    let flat = |picture: Cow<'a, Picture>| match background {
        Some(colour) if picture.alpha => Cow::Owned(flatten(picture.into_owned(), colour)),
        _ => picture,
    };
    match geometry {
        Geometry::Scale { .. } => Ok(flat(scale(picture, whole, (width, height)))),
        Geometry::Cover { .. } => {
            let area = centred(whole, (width, height));
            Ok(flat(scale(picture, area, (width, height))))
        }
        Geometry::Contain { .. } => {
            let inner = inside((whole.width, whole.height), (width, height));
            let scaled = flat(scale(picture, whole, inner));
            if (scaled.width, scaled.height) == (width, height) {
                return Ok(scaled);
            }
            Ok(Cow::Owned(pad(&scaled, (width, height), background)))
        }
    }
}

/// The largest centred area of `whole` with the aspect of `size`.
fn centred(whole: Area, size: (u32, u32)) -> Area {
    let (w, h) = (u64::from(whole.width), u64::from(whole.height));
    let (tw, th) = (u64::from(size.0), u64::from(size.1));
    let (width, height) = if w * th > h * tw {
        (((h * tw + th / 2) / th).clamp(1, w), h)
    } else {
        (w, ((w * th + tw / 2) / tw).clamp(1, h))
    };
    let (width, height) = (width as u32, height as u32);
    Area { left: (whole.width - width) / 2, top: (whole.height - height) / 2, width, height }
}

/// `size` scaled down, never up, to lie inside `bounds`.
fn inside(size: (u32, u32), bounds: (u32, u32)) -> (u32, u32) {
    if size.0 <= bounds.0 && size.1 <= bounds.1 {
        return size;
    }
    let (w, h) = (u64::from(size.0), u64::from(size.1));
    let (bw, bh) = (u64::from(bounds.0), u64::from(bounds.1));
    if bw * h <= bh * w {
        (bounds.0, ((h * bw + w / 2) / w).clamp(1, bh) as u32)
    } else {
        (((w * bh + h / 2) / h).clamp(1, bw) as u32, bounds.1)
    }
}

/// `area` of `picture`, scaled to `size`.
fn scale(picture: Cow<'_, Picture>, area: Area, size: (u32, u32)) -> Cow<'_, Picture> {
    match (area.width, area.height) {
        whole if whole == size && whole == (picture.width, picture.height) => picture,
        part if part == size => Cow::Owned(crop(picture.into_owned(), area)),
        _ => Cow::Owned(scaled(&picture, area, size, usize::MAX)),
    }
}

fn scaled(picture: &Picture, area: Area, size: (u32, u32), box_rows: usize) -> Picture {
    let pixels = if picture.alpha {
        convolve::<4>(picture, area, size, box_rows)
    } else {
        convolve::<3>(picture, area, size, box_rows)
    };
    Picture { width: size.0, height: size.1, alpha: picture.alpha, pixels }.without_opaque_alpha()
}

/// The whole of `picture`, alpha kept straight, its longest side at most `longest`; never enlarged. Of a large one only
/// some rows are read: each pixel is still the mean of a thousand.
pub(super) fn thumbnail(picture: &Picture, longest: u32) -> Picture {
    const ROWS_OF_A_BOX: usize = 4;
    let size = inside((picture.width, picture.height), (longest, longest));
    if size == (picture.width, picture.height) {
        return picture.clone();
    }
    let whole = Area { left: 0, top: 0, width: picture.width, height: picture.height };
    scaled(picture, whole, size, ROWS_OF_A_BOX)
}

/// `area` of `picture` as it is.
fn crop(mut picture: Picture, area: Area) -> Picture {
    let channels = picture.channels();
    let (from, to) = (picture.width as usize * channels, area.width as usize * channels);
    for row in 0..area.height as usize {
        let start = (area.top as usize + row) * from + area.left as usize * channels;
        picture.pixels.copy_within(start..start + to, row * to);
    }
    picture.pixels.truncate(area.height as usize * to);
    picture.pixels.shrink_to_fit();
    (picture.width, picture.height) = (area.width, area.height);
    picture.without_opaque_alpha()
}

/// Composites over `background`, on sRGB values as CSS does.
pub(crate) fn flatten(mut picture: Picture, background: Rgb) -> Picture {
    if !picture.alpha {
        return picture;
    }
    let count = picture.pixels.len() / 4;
    for at in 0..count {
        let alpha = u32::from(picture.pixels[at * 4 + 3]);
        for channel in 0..3 {
            let over = u32::from(picture.pixels[at * 4 + channel]);
            let mixed = over * alpha + u32::from(background.0[channel]) * (255 - alpha);
            picture.pixels[at * 3 + channel] = ((mixed + 127) / 255) as u8;
        }
    }
    picture.pixels.truncate(count * 3);
    picture.alpha = false;
    picture
}

/// Centres `picture` on a canvas of `size`: of `background`, or transparent.
fn pad(picture: &Picture, size: (u32, u32), background: Option<Rgb>) -> Picture {
    let alpha = background.is_none();
    let channels = if alpha { 4 } else { 3 };
    let empty: &[u8] = match &background {
        Some(Rgb(rgb)) => rgb,
        None => &[0; 4],
    };
    let mut pixels = empty.repeat(size.0 as usize * size.1 as usize);
    let (left, top) = ((size.0 - picture.width) as usize / 2, (size.1 - picture.height) as usize / 2);
    let source_row = picture.width as usize * picture.channels();
    for (row, source) in picture.pixels.chunks_exact(source_row).enumerate() {
        let start = ((top + row) * size.0 as usize + left) * channels;
        let target = &mut pixels[start..start + picture.width as usize * channels];
        if picture.channels() == channels {
            target.copy_from_slice(source);
        } else {
            // Only opaque into transparent: with a background the image was flattened before.
            for (to, from) in target.chunks_exact_mut(4).zip(source.chunks_exact(3)) {
                to[..3].copy_from_slice(from);
                to[3] = 255;
            }
        }
    }
    Picture { width: size.0, height: size.1, alpha, pixels }
}

#[cfg(test)]
mod tests;
