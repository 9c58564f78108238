//! The AV1 engine written in Rust: rav1e, driven by ravif, which also writes the boxes.
//!
//! Invariant: **one thread a job**; the pool decides how many jobs run. ravif offers 4:4:4 only.

use ravif::{Encoder, MatrixCoefficients, PixelRange};

use super::yuv::Yuv;
use super::{Error, Picture};

/// Ten is fastest and takes 15 to 29 % more bytes; eight costs more than twice sharp's time.
const SPEED: u8 = 10;

/// Encodes `picture` at ravif's own quality, 1 worst to 100 best.
pub(super) fn encode(picture: &Picture, quality: f32) -> Result<Vec<u8>, Error> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let Yuv { y, u, v, .. } = Yuv::of(picture, false);
    let planes = y.into_iter().zip(u).zip(v).map(|((y, u), v)| [y, u, v]);
    let alpha = picture.alpha.then(|| picture.pixels.chunks_exact(4).map(|pixel| pixel[3]));
    Encoder::new()
        .with_quality(quality)
        .with_alpha_quality((quality + 100.0) / 2.0)
        .with_speed(SPEED)
        .with_num_threads(Some(1))
        .encode_raw_planes_8_bit(width, height, planes, alpha, PixelRange::Full, MatrixCoefficients::BT601)
        .map(|encoded| encoded.avif_file)
        .map_err(|error| Error::Encode(format!("rav1e: {error}")))
}
