//! What quality 1 to 100 means to each encoder: the one table, measured, and interpolation between its rows.
//!
//! The law: **the same number gives about the same SSIMULACRA2 in every lossy format**; libwebp's own scale is the
//! measure the others are fitted to. The anchors come from `cargo run --release --example calibrate -- anchors DIR`, which
//! prints this table for the photographs of a directory.

use super::avif::Kind;
use crate::variant::{Effort, Quality};

/// One measured row: the native settings that give the score libwebp (method 2) has at `quality`.
struct Anchor {
    quality: f32,
    /// libaom `cq-level`, 63 worst to 0 best, at the fast setting.
    aom: f32,
    /// The same for small photographs, of which the fast setting is another.
    aom_small: f32,
    /// The same at the dense setting, whatever the size.
    aom_dense: f32,
    /// The fast one and the dense one for graphics: at these libwebp scores on graphics as high as it does at `quality`.
    graphic: f32,
    graphic_dense: f32,
    /// ravif quality, 1 worst to 100 best.
    rav1e: f32,
    /// mozjpeg quality, 1 worst to 100 best.
    mozjpeg: f32,
    /// libwebp quality, 0 worst to 100 best, at the dense setting.
    webp_dense: f32,
}

const fn anchor(
    quality: f32,
    (aom, aom_small, aom_dense): (f32, f32, f32),
    (graphic, graphic_dense): (f32, f32),
    rav1e: f32,
    mozjpeg: f32,
    webp_dense: f32,
) -> Anchor {
    Anchor { quality, aom, aom_small, aom_dense, graphic, graphic_dense, rav1e, mozjpeg, webp_dense }
}

/// Measured over thirteen photographs, one of stars and one of a retina among them, at 640 and 1080 pixels wide (rav1e,
/// mozjpeg and dense libwebp: the means of two runs over eight); at 75 all score 67.9, libaom in 23 % fewer bytes than
/// libwebp, and in 37 % fewer at the dense setting. Small photographs: fourteen, at 192, 256 and 384 pixels; at 75 all
/// score 70.9, libaom in 16 % fewer bytes than libwebp, in 23 % fewer at the dense setting. The levels of graphics are
/// those at which both a logo with soft shadows and a screenshot score no lower than from libwebp. The last row is set by
/// hand: the best that is still lossy coding.
const ANCHORS: [Anchor; 11] = [
    anchor(1.0, (49.0, 49.0, 53.0), (50.0, 54.0), 14.0, 15.0, 5.0),
    anchor(10.0, (41.0, 42.0, 46.0), (43.0, 48.0), 26.0, 24.0, 13.0),
    anchor(25.0, (34.0, 37.0, 40.0), (40.0, 43.0), 40.0, 35.0, 29.0),
    anchor(50.0, (27.0, 31.0, 34.0), (30.0, 37.0), 57.0, 54.0, 55.0),
    anchor(60.0, (24.0, 29.0, 32.0), (28.0, 35.0), 63.0, 61.0, 65.0),
    anchor(70.0, (21.0, 27.0, 30.0), (25.0, 33.0), 68.0, 68.0, 73.0),
    anchor(75.0, (20.0, 26.0, 29.0), (24.0, 32.0), 71.0, 70.0, 75.0),
    anchor(80.0, (16.0, 23.0, 26.0), (20.0, 26.0), 78.0, 76.0, 80.0),
    anchor(85.0, (12.0, 18.0, 22.0), (16.0, 22.0), 82.0, 82.0, 85.0),
    anchor(90.0, (8.0, 13.0, 16.0), (13.0, 16.0), 87.0, 88.0, 89.0),
    anchor(100.0, (1.0, 1.0, 1.0), (1.0, 1.0), 98.0, 98.0, 100.0),
];

/// libaom's `cq-level` for a quality; never 0, which would be lossless coding at several times the bytes.
pub(crate) fn aom_cq_level(quality: Quality, effort: Effort, kind: Kind) -> u8 {
    let native = between(quality, |anchor| match (effort, kind) {
        (Effort::Fast, Kind::Photograph) => anchor.aom,
        (Effort::Fast, Kind::SmallPhotograph) => anchor.aom_small,
        (Effort::Dense, Kind::Photograph | Kind::SmallPhotograph) => anchor.aom_dense,
        (Effort::Fast, Kind::Graphic) => anchor.graphic,
        (Effort::Dense, Kind::Graphic) => anchor.graphic_dense,
    });
    native.round().clamp(1.0, 63.0) as u8
}

/// ravif's quality.
pub(crate) fn rav1e_quality(quality: Quality) -> f32 {
    between(quality, |anchor| anchor.rav1e).clamp(1.0, 100.0)
}

/// mozjpeg's quality, a whole number as libjpeg takes it.
pub(crate) fn mozjpeg_quality(quality: Quality) -> u8 {
    between(quality, |anchor| anchor.mozjpeg).round().clamp(1.0, 100.0) as u8
}

/// libwebp's quality: the scale itself at the fast setting.
pub(crate) fn webp_quality(quality: Quality, effort: Effort) -> f32 {
    match effort {
        Effort::Fast => f32::from(quality.get()),
        Effort::Dense => between(quality, |anchor| anchor.webp_dense),
    }
}

/// Linear between the two anchors around `quality`.
fn between(quality: Quality, native: impl Fn(&Anchor) -> f32) -> f32 {
    let q = f32::from(quality.get());
    let above = ANCHORS.iter().position(|anchor| anchor.quality >= q).unwrap_or(ANCHORS.len() - 1);
    let (low, high) = (&ANCHORS[above.saturating_sub(1)], &ANCHORS[above]);
    let span = high.quality - low.quality;
    let part = if span > 0.0 { (q - low.quality) / span } else { 0.0 };
    native(low) + (native(high) - native(low)) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Quality> {
        (1..=100).filter_map(Quality::new)
    }

    #[test]
    fn more_quality_is_never_worse() {
        let all: Vec<Quality> = all().collect();
        assert_eq!(all.len(), 100);
        for pair in all.windows(2) {
            for effort in [Effort::Fast, Effort::Dense] {
                for kind in [Kind::Photograph, Kind::SmallPhotograph, Kind::Graphic] {
                    let [low, high] = [pair[0], pair[1]].map(|quality| aom_cq_level(quality, effort, kind));
                    assert!(low >= high, "{pair:?}");
                }
                assert!(webp_quality(pair[0], effort) < webp_quality(pair[1], effort), "{pair:?}");
            }
            assert!(rav1e_quality(pair[0]) < rav1e_quality(pair[1]), "{pair:?}");
            assert!(mozjpeg_quality(pair[0]) <= mozjpeg_quality(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn anchors_are_met_exactly() {
        for anchor in &ANCHORS {
            let quality = Quality::new(anchor.quality as u8).unwrap();
            for (kind, fast, dense) in [
                (Kind::Photograph, anchor.aom, anchor.aom_dense),
                (Kind::SmallPhotograph, anchor.aom_small, anchor.aom_dense),
                (Kind::Graphic, anchor.graphic, anchor.graphic_dense),
            ] {
                assert_eq!(f32::from(aom_cq_level(quality, Effort::Fast, kind)), fast);
                assert_eq!(f32::from(aom_cq_level(quality, Effort::Dense, kind)), dense);
            }
            assert_eq!(rav1e_quality(quality), anchor.rav1e);
            assert_eq!(f32::from(mozjpeg_quality(quality)), anchor.mozjpeg);
            assert_eq!(webp_quality(quality, Effort::Dense), anchor.webp_dense);
        }
    }
}
