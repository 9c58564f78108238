//! AVIF: pixels to YUV, an AV1 encoder of choice, and the HEIF boxes around what it makes.
//!
//! The law: **one still picture, 8 bits, full range, CICP 1/13/6** (BT.709 primaries, sRGB curve, BT.601 matrix): what
//! every decoder assumes when it ignores the labels. Photographs are 4:2:0, graphics 4:4:4; alpha is a second,
//! monochrome picture.

mod aom;
mod rav1e;
mod yuv;

use avif_serialize::Aviffy;

use self::yuv::Yuv;
use super::{Error, Picture, graphic, quality};
use crate::variant::{Effort, Quality};

/// Which AV1 encoder writes AVIF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AvifEngine {
    /// The one that measures best: libaom.
    #[default]
    Auto,
    /// libaom, C: several times faster at equal bytes and score.
    Libaom,
    /// rav1e through ravif, Rust all the way; always 4:4:4.
    Rav1e,
}

/// Encodes `picture`, whose size was checked.
pub(super) fn encode(
    picture: &Picture,
    quality: Quality,
    engine: AvifEngine,
    effort: Effort,
) -> Result<Vec<u8>, Error> {
    match engine {
        AvifEngine::Auto | AvifEngine::Libaom => {
            let graphic = graphic::is_graphic(picture);
            aom_still(picture, graphic, quality::aom_cq_level(quality, effort, graphic), effort)
        }
        AvifEngine::Rav1e => rav1e::encode(picture, quality::rav1e_quality(quality)),
    }
}

/// Encodes with libaom at a native `cq-level`, 1 best to 63 worst.
pub(crate) fn encode_aom(picture: &Picture, cq_level: u8, effort: Effort) -> Result<Vec<u8>, Error> {
    aom_still(picture, graphic::is_graphic(picture), cq_level, effort)
}

fn aom_still(picture: &Picture, graphic: bool, cq_level: u8, effort: Effort) -> Result<Vec<u8>, Error> {
    let subsampled = !graphic;
    let speed = aom::Speed::of(effort, graphic);
    let (width, height) = (picture.width, picture.height);
    let colour = aom::encode(&Yuv::of(picture, subsampled), cq_level, speed)?;
    // Half the level: an error of the mask shows as a halo along every edge, and masks are cheap.
    let alpha = picture.alpha.then(|| aom::encode(&Yuv::mask(picture), cq_level / 2 + 1, speed)).transpose()?;
    let mut file = Vec::with_capacity(colour.len() + alpha.as_ref().map_or(0, Vec::len) + 512);
    Aviffy::new()
        .set_seq_profile(u8::from(!subsampled))
        .set_chroma_subsampling((subsampled, subsampled))
        .write(&mut file, &colour, alpha.as_deref(), width, height, 8)
        .map_err(|error| Error::Encode(format!("avif: {error}")))?;
    Ok(file)
}

/// Encodes with rav1e at ravif's own quality, 1 worst to 100 best.
pub(crate) fn encode_rav1e(picture: &Picture, quality: f32) -> Result<Vec<u8>, Error> {
    rav1e::encode(picture, quality)
}
