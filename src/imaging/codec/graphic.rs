//! Photograph or graphic: decides chroma subsampling, and whether lossless coding is worth a try.
//!
//! Invariant: **a bounded look**: at most [`SAMPLED`] pixels are read, whatever the size of the image. An error costs
//! bytes or a little time, never correctness.

use std::collections::HashSet;

use super::Picture;

/// Pixels looked at, in whole rows (or parts of very long ones) spread over the image.
const SAMPLED: usize = 1 << 16;

/// At most as many colours as a palette holds.
const FEW_COLOURS: usize = 256;

/// A step of this size in one channel between neighbours is an edge that 4:2:0 blurs visibly.
const SHARP_STEP: u8 = 40;

/// A step up to this size is what a drawn gradient makes between neighbours; the grain of a photograph makes larger ones.
const GRADIENT_STEP: u8 = 2;

/// Whether `picture` is drawn rather than photographed: few colours, or even areas with sharp edges between them, or, of
/// what has alpha, even areas and gradients.
///
/// In a photograph noise and shading make most neighbours differ a little; in text, screenshots and logos most are
/// equal, and those that differ differ much. Logos have soft shadows as well, so that is asked of colours alone, and only
/// where something is to be seen.
pub(super) fn is_graphic(picture: &Picture) -> bool {
    let channels = picture.channels();
    let (mut equal, mut soft, mut sharp, mut seen) = (0_usize, 0_usize, 0_usize, 0_usize);
    let (mut visible, mut even) = (0_usize, 0_usize);
    let mut colours = HashSet::new();
    for row in sampled(picture) {
        seen += row.len() / channels;
        let mut previous: Option<&[u8]> = None;
        for pixel in row.chunks_exact(channels) {
            if let Some(previous) = previous {
                match previous.iter().zip(pixel).map(|(a, b)| a.abs_diff(*b)).max() {
                    Some(0) => equal += 1,
                    Some(step) if step >= SHARP_STEP => sharp += 1,
                    _ => soft += 1,
                }
                if channels == 4 && pixel[3] > 0 && previous[3] > 0 {
                    visible += 1;
                    let steps = pixel[..3].iter().zip(previous).map(|(a, b)| a.abs_diff(*b));
                    even += usize::from(steps.max() <= Some(GRADIENT_STEP));
                }
            }
            if colours.len() <= FEW_COLOURS && previous != Some(pixel) {
                colours.insert(pixel);
            }
            previous = Some(pixel);
        }
    }
    // A tiny photograph has few colours because it has few pixels.
    let few = colours.len() <= FEW_COLOURS && colours.len() * 8 <= seen;
    let drawn = equal > soft + sharp && sharp * 4 >= soft;
    let logo = even * 5 > visible * 4;
    few || drawn || logo
}

/// Whole rows, or the middle parts of very long ones, spread over the image: at most [`SAMPLED`] pixels.
pub(super) fn sampled(picture: &Picture) -> impl Iterator<Item = &[u8]> {
    let channels = picture.channels();
    let (width, height) = (picture.width as usize, picture.height as usize);
    let length = width.min(SAMPLED);
    let rows = (SAMPLED / length).clamp(1, height);
    (0..rows).map(move |index| {
        let y = (index * 2 + 1) * height / (rows * 2);
        let start = (y * width + (width - length) / 2) * channels;
        &picture.pixels[start..start + length * channels]
    })
}

/// Whether all its pixels are of at most 256 colours: what a palette holds.
pub(super) fn has_few_colours(picture: &Picture) -> bool {
    let mut colours = HashSet::new();
    let mut last: Option<&[u8]> = None;
    for pixel in picture.pixels.chunks_exact(picture.channels()) {
        if last != Some(pixel) {
            colours.insert(pixel);
            if colours.len() > 256 {
                return false;
            }
        }
        last = Some(pixel);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::tests::{drawing, photo};
    use super::*;

    #[test]
    fn drawings_are_told_from_photographs() {
        assert!(is_graphic(&drawing(400, 300, false)));
        assert!(is_graphic(&drawing(400, 300, true)));
        assert!(is_graphic(&drawing(40, 30, false)));
        assert!(!is_graphic(&photo(400, 300, false)));
        assert!(!is_graphic(&photo(400, 300, true)));
        assert!(!is_graphic(&photo(12, 9, false)));
    }

    #[test]
    fn a_logo_with_a_gradient_and_a_soft_shadow_is_a_drawing() {
        let logo = |grain: fn(u32) -> u8| {
            let pixel = |at: u32| {
                let (x, y) = (at % 400, at / 400);
                let alpha = (255 - (x.abs_diff(200) * 3).min(255)) as u8;
                [60 + (x / 4) as u8 + grain(at), 90 + (y / 5) as u8, 200, alpha]
            };
            Picture { width: 400, height: 300, alpha: true, pixels: (0..400 * 300).flat_map(pixel).collect() }
        };
        assert!(is_graphic(&logo(|_| 0)));
        assert!(!is_graphic(&logo(|at| (at.wrapping_mul(0x9E37_79B1) >> 28) as u8)), "a photograph, cut out");
    }

    #[test]
    fn a_smoothed_drawing_is_still_one() {
        let large = drawing(1600, 1200, false);
        let geometry = crate::variant::Geometry::Scale { width: 640, height: 480 };
        assert!(is_graphic(&super::super::super::resize::apply(large, &geometry, None).unwrap()));
    }

    #[test]
    fn every_shape_can_be_looked_at() {
        for (width, height) in [(1, 1), (1, 70_000), (70_000, 1), (65_537, 2), (2, 65_537)] {
            let picture = Picture { width, height, alpha: false, pixels: vec![5; (width * height * 3) as usize] };
            is_graphic(&picture);
        }
    }
}
