//! Scaling, cropping, padding and flattening: the one place where a picture changes its size.
//!
//! The law: **pixels are averaged as light, not as code values**, alpha premultiplied, with Lanczos3; a picture that
//! keeps its size keeps its bytes. Flattening is the exception: it is done on sRGB values, because that is how CSS
//! composites, and the result should look as the transparent picture does over the same background in a page.

mod linear;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U16x3, U16x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use self::linear::{BoxReducer, Linear};
use super::{Error, Picture};
use crate::variant::{Geometry, Rgb};

/// What is left of the scale factor after the cheap box pass: at three samples a pixel and more, Lanczos over boxes is
/// not told from Lanczos over pixels.
const KEPT_SCALE: u32 = 3;

/// Source rows are made linear and narrowed in bands of about this many bytes, so that they stay in the cache and the
/// linear copy of a large picture never exists as a whole.
const BAND_BYTES: usize = 2 << 20;

/// A part of a picture, in pixels.
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
/// transparent. Working memory beside input and output: 6 bytes (8 with alpha) for each pixel of a picture as wide as
/// the output and as high as the source (or its boxes, for large reductions).
///
/// # Errors
/// [`Error::Encode`] when a size is 0 or the samples do not match the size.
pub(crate) fn apply(picture: Picture, geometry: &Geometry, background: Option<Rgb>) -> Result<Picture, Error> {
    let (width, height) = geometry.size();
    let whole = Area { left: 0, top: 0, width: picture.width, height: picture.height };
    let expected = picture.width as usize * picture.height as usize * picture.channels();
    if whole.width == 0 || whole.height == 0 || width == 0 || height == 0 || picture.pixels.len() != expected {
        return Err(Error::Encode("a picture of inconsistent size cannot be scaled".to_owned()));
    }
    let flat = |picture: Picture| match background {
        Some(colour) => flatten(picture, colour),
        None => picture,
    };
    match geometry {
        Geometry::Scale { .. } => Ok(flat(scale(picture, whole, (width, height))?)),
        Geometry::Cover { .. } => {
            let area = centred(whole, (width, height));
            Ok(flat(scale(picture, area, (width, height))?))
        }
        Geometry::Contain { .. } => {
            let inner = inside((whole.width, whole.height), (width, height));
            let scaled = flat(scale(picture, whole, inner)?);
            Ok(pad(scaled, (width, height), background))
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
fn scale(picture: Picture, area: Area, size: (u32, u32)) -> Result<Picture, Error> {
    if (area.width, area.height) == size {
        return Ok(crop(picture, area));
    }
    scaled(&picture, area, size)
}

fn scaled(picture: &Picture, area: Area, size: (u32, u32)) -> Result<Picture, Error> {
    let pixels =
        if picture.alpha { convolve::<U16x4>(picture, area, size)? } else { convolve::<U16x3>(picture, area, size)? };
    let scaled = Picture { width: size.0, height: size.1, alpha: picture.alpha, pixels };
    Ok(scaled.without_opaque_alpha())
}

/// The whole of `picture`, alpha kept straight, its longest side at most `longest`; never enlarged.
pub(super) fn thumbnail(picture: &Picture, longest: u32) -> Result<Picture, Error> {
    let size = inside((picture.width, picture.height), (longest, longest));
    if size == (picture.width, picture.height) {
        return Ok(picture.clone());
    }
    let whole = Area { left: 0, top: 0, width: picture.width, height: picture.height };
    scaled(picture, whole, size)
}

/// `area` of `picture` as it is.
fn crop(mut picture: Picture, area: Area) -> Picture {
    if (area.width, area.height) == (picture.width, picture.height) {
        return picture;
    }
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

/// Two passes of Lanczos3 in linear light: across, band by band, then down.
fn convolve<P: Linear + PixelTrait>(picture: &Picture, area: Area, size: (u32, u32)) -> Result<Vec<u8>, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Encode(format!("scaling: {error}"));
    let factors = ((area.width / size.0 / KEPT_SCALE).max(1), (area.height / size.1 / KEPT_SCALE).max(1));
    let reducer = BoxReducer::new(picture, (area.left, area.top), (area.width, area.height), factors);
    let (wide, high) = reducer.size();
    // The last box of a row or column may hold fewer pixels: content ends at a fraction of it.
    let content = (f64::from(area.width) / f64::from(factors.0), f64::from(area.height) / f64::from(factors.1));
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3)).use_alpha(false);
    let mut resizer = Resizer::new();

    let band_rows = (BAND_BYTES / (wide as usize * size_of::<P>())).clamp(16, high.max(16) as usize);
    let mut band = vec![P::default(); wide as usize * band_rows.min(high as usize)];
    let mut narrow = vec![P::default(); size.0 as usize * high as usize];
    for (index, target) in narrow.chunks_mut(size.0 as usize * band_rows).enumerate() {
        let rows = target.len() / size.0 as usize;
        let band = &mut band[..wide as usize * rows];
        reducer.fill((index * band_rows) as u32, band);
        let source = TypedImageRef::new(wide, rows as u32, band).map_err(|error| failed(&error))?;
        let mut target = TypedImage::from_pixels_slice(size.0, rows as u32, target).map_err(|error| failed(&error))?;
        let across = options.crop(0.0, 0.0, content.0, rows as f64);
        resizer.resize_typed(&source, &mut target, &across).map_err(|error| failed(&error))?;
    }
    drop(band);

    let source = TypedImageRef::new(size.0, high, &narrow).map_err(|error| failed(&error))?;
    let mut target = TypedImage::<P>::new(size.0, size.1);
    let down = options.crop(0.0, 0.0, f64::from(size.0), content.1);
    resizer.resize_typed(&source, &mut target, &down).map_err(|error| failed(&error))?;
    Ok(linear::to_srgb(target.pixels()))
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
fn pad(picture: Picture, size: (u32, u32), background: Option<Rgb>) -> Picture {
    if (picture.width, picture.height) == size {
        return picture;
    }
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
            // Only opaque into transparent: with a background the picture was flattened before.
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
