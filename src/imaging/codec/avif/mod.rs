//! AVIF: pixels to YUV, an AV1 encoder of choice, and the HEIF boxes around what it makes.
//!
//! Invariant: **one still image, full range, CICP 1/13/6** (BT.709 primaries, sRGB curve, BT.601 matrix): what every
//! decoder assumes when it ignores the labels. Photographs are 4:2:0 of 10 bits, which take 3 to 7 % fewer bytes at the same
//! score than 8 for half as much time again; graphics 4:4:4 of 8; alpha is a second, monochrome image of the same depth.

mod aom;
mod detail;
mod rav1e;
mod yuv;

use avif_serialize::Aviffy;

use self::aom::Setting;
use self::detail::Detail;
use self::yuv::{Sample, Yuv};
use super::{Error, Kind, Picture, quality};
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

/// Whether a photograph of so many pixels is encoded by a longer search than most, for whoever waits.
pub(crate) fn is_thorough(pixels: u64, quality: Quality) -> bool {
    let setting = |kind, coarse| Setting::of(Effort::Fast, kind, coarse);
    setting(Kind::of_pixels(pixels), quality::is_coarse(quality)) != setting(Kind::Medium, false)
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
            let coarse = quality::is_coarse(quality);
            let look = Look::of(picture, effort, coarse);
            look.encode(picture, quality::aom_level(quality, effort, look.kind), Setting::of(effort, look.kind, coarse))
        }
        AvifEngine::Rav1e => rav1e::encode(picture, quality::rav1e_quality(quality, Kind::of(picture))),
    }
}

/// Encodes with libaom at the dense setting, `steps` levels coarser than the quality's.
pub(crate) fn encode_coarser(picture: &Picture, quality: Quality, steps: u8) -> Result<Vec<u8>, Error> {
    let coarse = quality::is_coarse(quality);
    let look = Look::of(picture, Effort::Dense, coarse);
    let level = quality::aom_level(quality, Effort::Dense, look.kind) + f32::from(steps);
    look.encode(picture, level, Setting::of(Effort::Dense, look.kind, coarse))
}

/// Encodes with libaom at a level of the scale, 1 best to 63 worst, at the setting for coarse qualities or fine ones.
pub(crate) fn encode_aom(
    picture: &Picture,
    kind: Kind,
    level: u8,
    effort: Effort,
    coarse: bool,
) -> Result<Vec<u8>, Error> {
    let look = Look { kind, detail: detail::of(picture) };
    look.encode(picture, f32::from(level), Setting::of(effort, kind, coarse))
}

/// What libaom is told by.
struct Look {
    kind: Kind,
    detail: Detail,
}

impl Look {
    fn of(picture: &Picture, effort: Effort, coarse: bool) -> Self {
        let detail = detail::of(picture);
        let kind = match Kind::of(picture) {
            Kind::Medium if effort == Effort::Fast && !coarse && detail.is_dense() => Kind::Small,
            kind => kind,
        };
        Self { kind, detail }
    }

    /// `level` is that of the scale, for the detail that is typical of the kind.
    fn encode(&self, picture: &Picture, level: f32, setting: Setting) -> Result<Vec<u8>, Error> {
        let graphic = self.kind == Kind::Graphic;
        let shift = if graphic { 0.0 } else { setting.shift(self.detail, self.kind) };
        // Never 0, which would be lossless coding at several times the bytes.
        let cq_level = (level + shift).round().clamp(1.0, 63.0) as u8;
        if graphic {
            planes::<u8>(picture, false, cq_level, setting)
        } else {
            planes::<u16>(picture, true, cq_level, setting)
        }
    }
}

fn planes<S: Sample>(picture: &Picture, subsampled: bool, cq_level: u8, setting: Setting) -> Result<Vec<u8>, Error> {
    let (width, height) = (picture.width, picture.height);
    let colour = aom::encode(&Yuv::<S>::of(picture, subsampled), cq_level, setting)?;
    // Half the level: an error of the mask shows as a halo along every edge, and masks are cheap.
    let mask = || aom::encode(&Yuv::<S>::mask(picture), cq_level / 2 + 1, setting);
    let alpha = picture.alpha.then(mask).transpose()?;
    let mut file = Vec::with_capacity(colour.len() + alpha.as_ref().map_or(0, Vec::len) + 512);
    Aviffy::new()
        .set_seq_profile(u8::from(!subsampled))
        .set_chroma_subsampling((subsampled, subsampled))
        .write(&mut file, &colour, alpha.as_deref(), width, height, S::BITS)
        .map_err(|error| Error::Encode(format!("avif: {error}")))?;
    Ok(file)
}

/// Encodes with rav1e at ravif's own quality, 1 worst to 100 best.
pub(crate) fn encode_rav1e(picture: &Picture, quality: f32) -> Result<Vec<u8>, Error> {
    rav1e::encode(picture, quality)
}

#[cfg(test)]
mod tests {
    use super::super::super::{calibration, resize};
    use super::*;
    use crate::variant::Geometry;

    /// What a camera sees far out of focus: no grain, all gradients, few colours in a block.
    fn smooth() -> Picture {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/images/cat.webp");
        let sharp = calibration::scale(&calibration::decode(&std::fs::read(path).unwrap()).unwrap(), 6).unwrap();
        let geometry = Geometry::Scale { width: 384, height: 256 };
        resize::apply_to(&sharp, &geometry, None).unwrap().into_owned()
    }

    #[test]
    fn a_photograph_without_grain_is_not_coded_by_palettes() {
        let picture = smooth();
        assert_eq!(Kind::of(&picture), Kind::Small);
        let bytes = |kind| {
            let level = quality::aom_level(Quality::DEFAULT, Effort::Fast, kind);
            let look = Look { kind, detail: detail::of(&picture) };
            look.encode(&picture, level, Setting::of(Effort::Fast, kind, false)).unwrap().len()
        };
        let (small, medium) = (bytes(Kind::Small), bytes(Kind::Medium));
        // Palettes would make it three times as large.
        assert!(small * 2 <= medium * 3, "{small} {medium}");
    }
}
