//! How much fine detail a photograph has, by which its level is moved away from the level of its kind.
//!
//! At one `cq-level` libaom gives a smooth photograph a much lower score than one full of detail. The encoder that Next.js
//! calls spends its bytes more evenly, so one level for all would have the mean score of Next.js and a look of its own.
//! Invariant: **a bounded look**, at the rows that tell photographs from graphics.

use super::super::graphic::sampled;
use super::{Kind, Picture};

/// From here up libaom's fastest search makes poor work of a photograph: stars, gravel, foliage.
const DENSE: f32 = 3.1;

/// Mean luma below which an image counts as dark, of 255.
const DARK: f32 = 64.0;

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detail {
    /// The binary logarithm of the mean second difference of luma along a row, 8 bits a sample: about 0 for a sky, 2 for
    /// most photographs at 640 px, 4 for gravel.
    pub(super) grain: f32,
    /// 0 for what is of usual brightness, up to 1 for black: errors show more in the dark.
    pub(super) dark: f32,
}

/// Looks at `picture`.
pub(super) fn of(picture: &Picture) -> Detail {
    let channels = picture.channels();
    let (mut bends, mut bent, mut light, mut lit) = (0_u64, 0_u64, 0_u64, 0_u64);
    for row in sampled(picture) {
        let luma = |pixel: &[u8]| i32::from(pixel[0]) * 77 + i32::from(pixel[1]) * 150 + i32::from(pixel[2]) * 29;
        let mut before: [Option<i32>; 2] = [None; 2];
        for pixel in row.chunks_exact(channels) {
            // What is transparent has colours that nobody sees.
            let shown = pixel.get(3).is_none_or(|alpha| *alpha > 0).then(|| luma(pixel));
            if let Some(luma) = shown {
                light += u64::from(luma.unsigned_abs());
                lit += 1;
            }
            if let ([Some(left), Some(middle)], Some(right)) = (before, shown) {
                bends += u64::from((left - 2 * middle + right).unsigned_abs());
                bent += 1;
            }
            before = [before[1], shown];
        }
    }
    let mean = |sum: u64, count: u64| sum as f32 / 256.0 / count.max(1) as f32;
    let grain = mean(bends, bent).clamp(0.25, 32.0).log2();
    Detail { grain, dark: 1.0 - mean(light, lit).min(DARK) / DARK }
}

impl Detail {
    /// Whether a photograph has so much of it that libaom's fastest search is not for it.
    pub(super) fn is_dense(self) -> bool {
        self.grain >= DENSE
    }
}

/// What the photographs of a kind that the levels were measured on have in the mean.
pub(super) const fn typical(kind: Kind) -> f32 {
    match kind {
        Kind::Small | Kind::Graphic => 2.7,
        Kind::Medium => 1.9,
        Kind::Large => 1.5,
        Kind::Huge => 1.2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(pixel: impl Fn(u32, u32) -> [u8; 4]) -> Picture {
        let pixels = (0..100 * 80).flat_map(|at| pixel(at % 100, at / 100)).collect();
        Picture { width: 100, height: 80, alpha: true, pixels }
    }

    #[test]
    fn gradients_have_none_and_grain_has_much() {
        let gradient = rows(|x, y| [(x * 2) as u8, (x * 2) as u8, y as u8, 255]);
        assert!(of(&gradient).grain <= -1.0, "{:?}", of(&gradient));
        // Every second column is 16 brighter: second differences of 32.
        let stripes = rows(|x, _| [100 + (x % 2 * 16) as u8; 4]);
        assert!((of(&stripes).grain - 5.0).abs() < 0.05, "{:?}", of(&stripes));
        assert!(of(&stripes).is_dense() && !of(&gradient).is_dense());
    }

    #[test]
    fn what_is_transparent_does_not_count() {
        let stripes = |x: u32, alpha: u8| [100 + (x % 2 * 16) as u8, 100, 100, alpha];
        let cut = rows(|x, y| if y < 40 { stripes(x, 255) } else { [0, 0, 0, 0] });
        let whole = rows(|x, _| stripes(x, 255));
        assert!((of(&cut).grain - of(&whole).grain).abs() < 0.01);
        assert_eq!(of(&cut).dark, 0.0);
    }

    #[test]
    fn the_dark_is_told_by_its_mean() {
        let of = |level: u8| of(&rows(|_, _| [level, level, level, 255])).dark;
        assert_eq!([0, 16, 32, 64, 255].map(of), [1.0, 0.75, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn one_pixel_has_a_value() {
        let pixel = Picture { width: 1, height: 1, alpha: false, pixels: vec![7, 8, 9] };
        assert!(of(&pixel).grain.is_finite());
    }
}
