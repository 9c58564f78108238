//! What quality 1 to 100 means to each encoder: the one table, measured, and interpolation between its columns.
//!
//! Invariant: **the same number means what it means in Next.js**: each format's mean SSIMULACRA2 at a quality is that of
//! sharp, called as Next.js 16 calls it, in the same format, against the source scaled in linear light. The table comes
//! from `benches/compare/peers/anchors.mjs` and `cargo run --release --example calibrate -- anchors`; `Scale` says what was
//! done to it by hand.

use super::Kind;
use crate::variant::{Effort, Quality};

/// The measured qualities.
const QUALITIES: [u8; 12] = [1, 10, 25, 50, 60, 61, 70, 75, 80, 85, 90, 100];

/// Up to here photographs in AVIF have the setting for coarse qualities.
const COARSE: u8 = 60;

/// The native level at each of [`QUALITIES`].
type Levels = [f32; QUALITIES.len()];

/// An encoder's levels for each kind of image, measured over nineteen photographs, stars and a retina among them: small at
/// 192, 256 and 384 px, medium at 640 and 1080, large at 1080 and 1920, huge at large ones; graphics over a logo with soft
/// shadows, whose score falls first. Photographs that are taken for graphics are left out; the levels of AVIF and WebP were
/// then shifted until the mean over all photographs was Next.js's or above, in no more bytes than it may take, by
/// `cargo bench --bench bench_compare -- same`.
struct Scale {
    small: Levels,
    medium: Levels,
    large: Levels,
    huge: Levels,
    graphic: Levels,
}

/// libaom's `cq-level`, 63 worst to 0 best, for whoever waits.
const AOM_FAST: Scale = Scale {
    small: [56.3, 54.2, 50.4, 44.1, 40.5, 37.4, 34.8, 32.8, 31.3, 30.6, 28.8, 26.3],
    medium: [55.3, 53.1, 48.7, 42.1, 38.2, 33.0, 29.3, 26.4, 23.8, 22.7, 20.1, 16.3],
    large: [53.5, 51.4, 46.6, 40.1, 36.3, 32.9, 29.7, 27.6, 25.5, 24.2, 22.2, 18.9],
    huge: [49.9, 47.3, 42.8, 35.8, 31.8, 31.4, 27.6, 24.3, 21.8, 20.7, 17.9, 14.7],
    graphic: [58.0, 53.6, 45.8, 37.8, 32.8, 32.5, 29.6, 27.6, 26.5, 25.7, 24.2, 22.2],
};

/// The same with more effort.
const AOM_DENSE: Scale = Scale {
    small: [55.6, 53.6, 50.0, 44.1, 40.9, 40.1, 37.3, 35.6, 34.2, 33.6, 32.1, 29.8],
    medium: [54.4, 52.3, 48.0, 41.2, 37.7, 37.4, 34.4, 32.3, 30.6, 29.8, 28.0, 24.9],
    large: [52.8, 50.8, 45.9, 39.6, 35.9, 35.5, 32.2, 29.7, 27.9, 27.1, 24.8, 21.6],
    huge: [51.8, 49.7, 45.2, 39.0, 35.3, 34.9, 31.6, 29.0, 27.4, 26.4, 24.0, 20.6],
    graphic: [60.0, 57.9, 51.6, 45.2, 42.1, 41.8, 38.1, 35.2, 33.5, 32.2, 30.4, 27.4],
};

/// libwebp's quality, 0 worst to 100 best, for whoever waits.
const WEBP_FAST: Scale = Scale {
    small: [2.0, 6.1, 14.4, 29.4, 34.9, 35.5, 40.6, 43.6, 53.2, 63.0, 71.3, 76.7],
    medium: [2.0, 7.7, 18.4, 38.7, 46.1, 46.8, 54.9, 59.0, 70.1, 77.8, 83.7, 89.5],
    large: [2.0, 8.2, 20.4, 43.2, 51.1, 51.8, 58.7, 64.4, 74.0, 80.8, 87.4, 95.6],
    huge: [2.0, 8.2, 20.4, 43.2, 51.1, 51.8, 58.7, 64.4, 74.0, 80.8, 87.4, 95.6],
    graphic: [2.0, 9.9, 22.9, 43.9, 53.1, 53.8, 60.5, 65.6, 74.0, 77.9, 82.5, 86.2],
};

/// The same with more effort.
const WEBP_DENSE: Scale = Scale {
    small: [2.0, 6.9, 16.4, 32.4, 37.6, 38.1, 43.3, 46.1, 55.4, 64.9, 72.2, 76.9],
    medium: [2.0, 8.7, 21.3, 41.8, 49.9, 50.8, 59.4, 63.1, 71.4, 77.9, 83.3, 88.3],
    large: [2.0, 9.3, 22.4, 44.6, 53.5, 54.3, 63.2, 67.0, 74.7, 80.5, 86.5, 95.0],
    huge: [2.0, 9.5, 23.4, 47.1, 55.4, 56.1, 63.2, 67.0, 74.7, 80.5, 86.5, 95.0],
    graphic: [2.0, 9.1, 20.5, 41.4, 52.5, 52.9, 56.0, 58.5, 72.7, 76.4, 80.7, 84.3],
};

/// mozjpeg's quality, 1 worst to 100 best. Graphics have the levels of medium photographs: JPEG has no alpha to measure by.
const MOZJPEG: Scale = Scale {
    small: [4.1, 9.7, 22.5, 37.5, 42.7, 43.5, 50.4, 56.6, 61.8, 66.4, 71.9, 80.0],
    medium: [3.3, 9.9, 25.3, 45.7, 53.9, 55.0, 64.2, 70.6, 74.4, 78.2, 83.4, 91.1],
    large: [2.6, 10.0, 26.2, 49.0, 58.1, 59.3, 68.3, 75.4, 78.4, 82.1, 87.7, 95.6],
    huge: [2.6, 10.0, 26.2, 49.0, 58.1, 59.3, 68.3, 75.4, 78.4, 82.1, 87.7, 95.6],
    graphic: [3.3, 9.9, 25.3, 45.7, 53.9, 55.0, 64.2, 70.6, 74.4, 78.2, 83.4, 91.1],
};

/// ravif's quality, 1 worst to 100 best.
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

/// libaom's `cq-level` for a quality, of a photograph with the detail that is typical of its kind.
pub(crate) fn aom_level(quality: Quality, effort: Effort, kind: Kind) -> f32 {
    let scale = match effort {
        Effort::Fast => &AOM_FAST,
        Effort::Dense => &AOM_DENSE,
    };
    level(scale, quality, kind)
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
                    let [low, high] = [pair[0], pair[1]].map(|quality| aom_level(quality, effort, kind));
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
            assert_eq!(aom_level(quality, Effort::Fast, Kind::Medium), AOM_FAST.medium[at]);
            assert_eq!(aom_level(quality, Effort::Dense, Kind::Large), AOM_DENSE.large[at]);
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
