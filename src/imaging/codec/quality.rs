//! What quality 1 to 100 means to each encoder: the one table, measured, and interpolation between its columns.
//!
//! The law: **the same number means what it means in Next.js**: each format's mean SSIMULACRA2 at a quality is that of
//! sharp, called as Next.js 16 calls it, in the same format, against the source scaled in linear light. The table is what
//! `benches/compare/peers/anchors.mjs` and `cargo run --release --example calibrate -- anchors` print.

use super::Kind;
use crate::variant::{Effort, Quality};

/// The measured qualities.
const QUALITIES: [u8; 12] = [1, 10, 25, 50, 60, 61, 70, 75, 80, 85, 90, 100];

/// Up to here photographs in AVIF have the setting for coarse qualities.
const COARSE: u8 = 60;

/// The native level at each of [`QUALITIES`].
type Levels = [f32; QUALITIES.len()];

/// An encoder's levels for each kind of image: measured over nineteen photographs, stars and a retina among them, as far as
/// they are no graphics at that size: small at 192, 256 and 384 px (53 images), medium at 640 and 1080 (26), large at 1080 and
/// 1920 (7); graphics over a logo with soft shadows, whose score falls first.
struct Scale {
    small: Levels,
    medium: Levels,
    large: Levels,
    huge: Levels,
    graphic: Levels,
}

/// libaom's `cq-level`, 63 worst to 0 best, for whoever waits. In sharp's bytes at qualities 50, 75 and 90 small ones take 0.98,
/// 0.90 and 0.79, medium ones 1.03, 1.09 and 1.03, large ones 1.05, 1.01 and 0.95, huge ones (judged at 1920 px) 1.10, 1.05 and 1.00.
const AOM_FAST: Scale = Scale {
    small: [56.3, 54.2, 50.3, 43.8, 40.5, 38.0, 35.7, 33.8, 32.5, 31.9, 30.5, 28.2],
    medium: [54.6, 52.3, 47.7, 40.8, 36.9, 31.3, 27.5, 24.6, 22.1, 20.9, 17.9, 14.4],
    large: [52.8, 50.7, 45.9, 39.3, 35.4, 31.6, 28.2, 26.1, 24.0, 23.1, 20.9, 17.5],
    huge: [49.2, 46.6, 42.0, 34.8, 30.8, 30.4, 26.5, 23.2, 20.7, 19.5, 16.6, 13.3],
    graphic: [58.0, 53.6, 45.8, 37.8, 32.8, 32.5, 29.6, 27.6, 26.5, 25.7, 24.2, 22.2],
};

/// The same with more effort: small 0.87, 0.77 and 0.70, medium 0.87, 0.84 and 0.80, large 0.84, 0.83 and 0.81, huge 0.96, 0.92
/// and 0.89.
const AOM_DENSE: Scale = Scale {
    small: [55.9, 54.0, 50.6, 44.6, 41.7, 41.4, 38.6, 36.8, 35.5, 34.8, 33.2, 31.1],
    medium: [54.1, 52.0, 47.6, 40.8, 37.2, 36.9, 33.7, 31.5, 29.8, 28.9, 26.9, 23.8],
    large: [52.3, 50.3, 45.3, 38.8, 35.1, 34.7, 31.4, 28.9, 27.0, 26.2, 23.7, 20.5],
    huge: [51.3, 49.2, 44.6, 38.2, 34.5, 34.1, 30.8, 28.2, 26.5, 25.5, 22.9, 19.5],
    graphic: [60.0, 57.9, 51.6, 45.2, 42.1, 41.8, 38.1, 35.2, 33.5, 32.2, 30.4, 27.4],
};

/// libwebp's quality, 0 worst to 100 best, for whoever waits: small 0.86, 0.80 and 0.56, medium 0.96, 0.93 and 0.83, large 1.01,
/// 0.98 and 1.01.
const WEBP_FAST: Scale = Scale {
    small: [2.0, 6.8, 15.7, 31.1, 37.0, 37.6, 43.3, 46.4, 55.6, 64.9, 72.4, 77.7],
    medium: [2.0, 8.4, 19.8, 40.9, 49.1, 49.9, 59.1, 63.8, 74.3, 81.0, 85.9, 91.3],
    large: [2.0, 8.9, 21.8, 45.4, 54.1, 54.9, 62.7, 69.0, 77.8, 83.8, 89.6, 97.1],
    huge: [2.0, 8.9, 21.8, 45.4, 54.1, 54.9, 62.7, 69.0, 77.8, 83.8, 89.6, 97.1],
    graphic: [2.0, 9.9, 22.9, 43.9, 53.1, 53.8, 60.5, 65.6, 74.0, 77.9, 82.5, 86.2],
};

/// The same with more effort: small 0.79, 0.72 and 0.51, medium 0.90, 0.88 and 0.75, large 0.96, 0.94 and 0.87.
const WEBP_DENSE: Scale = Scale {
    small: [2.0, 7.6, 17.7, 33.9, 39.3, 39.8, 45.7, 48.6, 57.6, 66.7, 72.9, 77.6],
    medium: [2.0, 9.5, 23.1, 45.0, 53.5, 54.5, 63.6, 67.9, 75.6, 81.1, 85.5, 90.1],
    large: [2.0, 10.2, 24.8, 49.3, 58.4, 59.2, 67.2, 71.6, 78.5, 83.5, 88.7, 96.5],
    huge: [2.0, 10.2, 24.8, 49.3, 58.4, 59.2, 67.2, 71.6, 78.5, 83.5, 88.7, 96.5],
    graphic: [2.0, 9.1, 20.5, 41.4, 52.5, 52.9, 56.0, 58.5, 72.7, 76.4, 80.7, 84.3],
};

/// mozjpeg's quality, 1 worst to 100 best: small 0.93, 0.78 and 0.57, medium 0.97, 0.92 and 0.76, large 1.02, 1.07 and 0.90.
/// Graphics have the levels of medium photographs.
const MOZJPEG: Scale = Scale {
    small: [4.1, 9.7, 22.5, 37.5, 42.7, 43.5, 50.4, 56.6, 61.8, 66.4, 71.9, 80.0],
    medium: [3.3, 9.9, 25.3, 45.7, 53.9, 55.0, 64.2, 70.6, 74.4, 78.2, 83.4, 91.1],
    large: [2.6, 10.0, 26.2, 49.0, 58.1, 59.3, 68.3, 75.4, 78.4, 82.1, 87.7, 95.6],
    huge: [2.6, 10.0, 26.2, 49.0, 58.1, 59.3, 68.3, 75.4, 78.4, 82.1, 87.7, 95.6],
    graphic: [3.3, 9.9, 25.3, 45.7, 53.9, 55.0, 64.2, 70.6, 74.4, 78.2, 83.4, 91.1],
};

/// ravif's quality, 1 worst to 100 best: small 1.26, 1.15 and 1.03, medium 1.43, 1.36 and 1.26, large 1.39, 1.31 and 1.23.
const RAV1E: Scale = Scale {
    small: [8.8, 12.5, 18.7, 29.7, 38.0, 38.7, 45.7, 50.7, 54.6, 56.6, 61.0, 66.8],
    medium: [11.4, 15.0, 22.1, 37.0, 47.2, 48.1, 57.3, 63.7, 68.1, 70.1, 76.0, 81.4],
    large: [13.3, 16.5, 23.8, 38.0, 49.6, 50.6, 60.0, 66.7, 71.7, 74.4, 80.2, 83.2],
    huge: [13.3, 16.5, 23.8, 38.0, 49.6, 50.6, 60.0, 66.7, 71.7, 74.4, 80.2, 83.2],
    graphic: [2.0, 10.3, 25.4, 55.0, 68.5, 69.3, 77.1, 81.4, 82.9, 84.0, 85.5, 87.6],
};

/// Whether photographs have the setting for coarse qualities.
pub(crate) const fn is_coarse(quality: Quality) -> bool {
    quality.get() <= COARSE
}

/// libaom's `cq-level` for a quality; never 0, which would be lossless coding at several times the bytes.
pub(crate) fn aom_cq_level(quality: Quality, effort: Effort, kind: Kind) -> u8 {
    let scale = match effort {
        Effort::Fast => &AOM_FAST,
        Effort::Dense => &AOM_DENSE,
    };
    level(scale, quality, kind).round().clamp(1.0, 63.0) as u8
}

/// ravif's quality.
pub(crate) fn rav1e_quality(quality: Quality, kind: Kind) -> f32 {
    level(&RAV1E, quality, kind).clamp(1.0, 100.0)
}

/// mozjpeg's quality, a whole number as libjpeg takes it.
pub(crate) fn mozjpeg_quality(quality: Quality, kind: Kind) -> u8 {
    level(&MOZJPEG, quality, kind).round().clamp(1.0, 100.0) as u8
}

/// libwebp's quality.
pub(crate) fn webp_quality(quality: Quality, effort: Effort, kind: Kind) -> f32 {
    let scale = match effort {
        Effort::Fast => &WEBP_FAST,
        Effort::Dense => &WEBP_DENSE,
    };
    level(scale, quality, kind).clamp(0.0, 100.0)
}

/// Linear between the two measured qualities around `quality`.
fn level(scale: &Scale, quality: Quality, kind: Kind) -> f32 {
    let levels = match kind {
        Kind::Small => &scale.small,
        Kind::Medium => &scale.medium,
        Kind::Large => &scale.large,
        Kind::Huge => &scale.huge,
        Kind::Graphic => &scale.graphic,
    };
    let above = QUALITIES.iter().position(|measured| *measured >= quality.get()).unwrap_or(QUALITIES.len() - 1);
    let below = above.saturating_sub(1);
    let [low, high] = [below, above].map(|at| f32::from(QUALITIES[at]));
    let part = if high > low { (f32::from(quality.get()) - low) / (high - low) } else { 0.0 };
    levels[below] + (levels[above] - levels[below]) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 5] = [Kind::Small, Kind::Medium, Kind::Large, Kind::Huge, Kind::Graphic];

    fn all() -> impl Iterator<Item = Quality> {
        (1..=100).filter_map(Quality::new)
    }

    #[test]
    fn more_quality_is_never_worse() {
        let all: Vec<Quality> = all().collect();
        assert_eq!(all.len(), 100);
        for pair in all.windows(2) {
            for kind in KINDS {
                for effort in [Effort::Fast, Effort::Dense] {
                    let [low, high] = [pair[0], pair[1]].map(|quality| aom_cq_level(quality, effort, kind));
                    // Another setting begins here, whose levels are of another score.
                    assert!(low >= high || is_coarse(pair[0]) != is_coarse(pair[1]), "{pair:?} {kind:?} {effort:?}");
                    let [low, high] = [pair[0], pair[1]].map(|quality| webp_quality(quality, effort, kind));
                    assert!(low <= high, "{pair:?} {kind:?} {effort:?}");
                }
                assert!(rav1e_quality(pair[0], kind) <= rav1e_quality(pair[1], kind), "{pair:?} {kind:?}");
                assert!(mozjpeg_quality(pair[0], kind) <= mozjpeg_quality(pair[1], kind), "{pair:?} {kind:?}");
            }
        }
    }

    #[test]
    fn what_was_measured_is_met_exactly() {
        for (at, quality) in QUALITIES.iter().enumerate() {
            let quality = Quality::new(*quality).unwrap();
            assert_eq!(f32::from(aom_cq_level(quality, Effort::Fast, Kind::Medium)), AOM_FAST.medium[at].round());
            assert_eq!(f32::from(aom_cq_level(quality, Effort::Dense, Kind::Large)), AOM_DENSE.large[at].round());
            assert_eq!(rav1e_quality(quality, Kind::Huge), RAV1E.huge[at]);
            assert_eq!(f32::from(mozjpeg_quality(quality, Kind::Graphic)), MOZJPEG.graphic[at].round());
            assert_eq!(webp_quality(quality, Effort::Dense, Kind::Small), WEBP_DENSE.small[at]);
        }
    }

    #[test]
    fn between_two_that_were_measured_it_is_even() {
        let [low, middle, high] =
            [25, 30, 50].map(|quality| webp_quality(Quality::new(quality).unwrap(), Effort::Fast, Kind::Medium));
        assert!((low + (high - low) / 5.0 - middle).abs() < 0.001, "{low} {middle} {high}");
    }
}
