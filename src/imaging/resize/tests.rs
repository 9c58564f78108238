//! Scaling judged by what can be computed by hand: light, edges, sizes and places.

use super::*;

fn rgb(width: u32, height: u32, colour: impl Fn(u32, u32) -> [u8; 3]) -> Picture {
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| colour(x, y)).collect();
    Picture { width, height, alpha: false, pixels }
}

fn rgba(width: u32, height: u32, colour: impl Fn(u32, u32) -> [u8; 4]) -> Picture {
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| colour(x, y)).collect();
    Picture { width, height, alpha: true, pixels }
}

fn scale_to(width: u32, height: u32) -> Geometry {
    Geometry::Scale { width, height }
}

#[test]
fn a_fine_chessboard_keeps_its_light() {
    let board = |w, h| rgb(w, h, |x, y| [if (x + y) % 2 == 0 { 255 } else { 0 }; 3]);
    // By half, and by sixteen, where the box pass comes first.
    for (source, side) in [(64, 32), (256, 16)] {
        let out = apply(board(source, source), &scale_to(side, side), None).unwrap();
        let middle = &out.pixels[out.pixels.len() / 2..][..3];
        assert!(middle.iter().all(|code| code.abs_diff(188) <= 2), "{source}: {middle:?}, gamma space gives 128");
    }
}

#[test]
fn the_same_size_is_the_same_bytes() {
    let picture = rgb(31, 17, |x, y| [(x * 7) as u8, (y * 13) as u8, (x * y) as u8]);
    assert_eq!(apply(picture.clone(), &scale_to(31, 17), None).unwrap(), picture);
    assert_eq!(apply(picture.clone(), &Geometry::Contain { width: 31, height: 17 }, None).unwrap(), picture);
}

#[test]
fn transparent_pixels_lend_no_colour() {
    // Opaque red beside fully transparent green, with the edge inside an output pixel.
    let picture = rgba(90, 90, |x, _| if x < 46 { [255, 0, 0, 255] } else { [0, 255, 0, 0] });
    let out = apply(picture, &scale_to(30, 30), None).unwrap();
    assert!(out.alpha);
    let mut soft = 0;
    for pixel in out.pixels.chunks_exact(4) {
        if pixel[3] > 0 {
            assert!(pixel[0] >= 254 && pixel[1] <= 1, "fringe: {pixel:?}");
        }
        soft += usize::from(pixel[3] > 0 && pixel[3] < 255);
    }
    assert!(soft >= 30, "the edge is not smoothed");
}

#[test]
fn an_even_colour_stays_even() {
    for (from, to) in [((1000, 700), (100, 70)), ((101, 67), (50, 33)), ((500, 9), (499, 3))] {
        let out = apply(rgb(from.0, from.1, |_, _| [200, 31, 7]), &scale_to(to.0, to.1), None).unwrap();
        assert_eq!((out.width, out.height), to);
        assert!(out.pixels.chunks_exact(3).all(|pixel| pixel == [200, 31, 7]), "{from:?} to {to:?}");
    }
}

#[test]
fn the_box_pass_does_not_shift_the_picture() {
    // A ramp of light: after scaling, each pixel still has the light of its place. 997 is no multiple of a box.
    let code = |x: u32, width: u32| (f64::from(x) + 0.5) / f64::from(width) * 255.0;
    let out = apply(rgb(997, 97, |x, _| [code(x, 997) as u8; 3]), &scale_to(83, 8), None).unwrap();
    for (x, pixel) in out.pixels[..83 * 3].chunks_exact(3).enumerate().skip(2).take(79) {
        let expected = code(x as u32, 83);
        assert!((f64::from(pixel[0]) - expected).abs() < 2.5, "{x}: {pixel:?}, {expected}");
    }
}

#[test]
fn cover_takes_the_middle() {
    let thirds = rgb(300, 100, |x, _| if (100..200).contains(&x) { [0, 0, 255] } else { [255, 0, 0] });
    let out = apply(thirds.clone(), &Geometry::Cover { width: 100, height: 100 }, None).unwrap();
    assert!(out.pixels.chunks_exact(3).all(|pixel| pixel == [0, 0, 255]), "a pure crop is not scaled");
    let small = apply(thirds, &Geometry::Cover { width: 20, height: 20 }, None).unwrap();
    assert_eq!((small.width, small.height), (20, 20));
    assert_eq!(small.pixels[(10 * 20 + 10) * 3..][..3], [0, 0, 255]);
}

#[test]
fn contain_pads_in_the_middle() {
    let wide = || rgb(200, 100, |_, _| [9, 8, 7]);
    let clear = apply(wide(), &Geometry::Contain { width: 50, height: 51 }, None).unwrap();
    assert!(clear.alpha);
    assert_eq!((clear.width, clear.height), (50, 51));
    let at = |picture: &Picture, x: usize, y: usize| {
        let channels = picture.channels();
        picture.pixels[(y * 50 + x) * channels..][..channels].to_vec()
    };
    assert_eq!(at(&clear, 0, 0), [0; 4]);
    assert_eq!(at(&clear, 25, 12), [0; 4]);
    assert_eq!(at(&clear, 25, 13), [9, 8, 7, 255]);
    assert_eq!(at(&clear, 25, 37), [9, 8, 7, 255]);
    assert_eq!(at(&clear, 25, 38), [0; 4]);
    let green = apply(wide(), &Geometry::Contain { width: 50, height: 51 }, Some(Rgb([0, 255, 0]))).unwrap();
    assert!(!green.alpha);
    assert_eq!(at(&green, 25, 0), [0, 255, 0]);
    // A small image is padded, not enlarged.
    let small = apply(rgb(10, 10, |_, _| [9; 3]), &Geometry::Contain { width: 50, height: 51 }, None).unwrap();
    assert_eq!(small.pixels.chunks_exact(4).filter(|pixel| pixel[3] == 255).count(), 100);
}

#[test]
fn flattening_mixes_as_css_does() {
    let half = rgba(2, 2, |_, _| [255, 0, 0, 128]);
    let out = apply(half, &scale_to(2, 2), Some(Rgb([0, 0, 255]))).unwrap();
    assert_eq!(out, rgb(2, 2, |_, _| [128, 0, 127]));
}

#[test]
fn alpha_that_shows_nowhere_is_dropped() {
    let out = apply(rgba(40, 40, |_, _| [1, 2, 3, 255]), &scale_to(20, 20), None).unwrap();
    assert!(!out.alpha);
    assert_eq!(out.pixels.len(), 20 * 20 * 3);
}

#[test]
fn extreme_shapes_scale_and_broken_ones_are_refused() {
    for (from, to) in [((1, 1), (1, 1)), ((5000, 1), (7, 1)), ((1, 5000), (1, 3)), ((3, 2), (1, 1)), ((2, 3), (5, 7))] {
        let out = apply(rgb(from.0, from.1, |_, _| [77; 3]), &scale_to(to.0, to.1), None).unwrap();
        assert_eq!(out.pixels.len(), (to.0 * to.1 * 3) as usize);
        assert!(out.pixels.iter().all(|code| *code == 77));
    }
    let mut short = rgb(4, 4, |_, _| [0; 3]);
    short.pixels.pop();
    assert!(apply(short, &scale_to(2, 2), None).is_err());
    assert!(apply(rgb(4, 4, |_, _| [0; 3]), &scale_to(0, 2), None).is_err());
}

/// Lines of `line` on a ground of `ground`, every sixteenth one two pixels wide, both ways.
fn lines(ground: u8, line: u8) -> Picture {
    rgb(192, 192, |x, y| if x % 16 < 2 || y % 16 < 2 { [line; 3] } else { [ground; 3] })
}

#[test]
fn bright_lines_on_a_dark_ground_have_no_black_outline() {
    for ground in [18u8, 32, 60, 110] {
        for size in [96, 80, 64, 50, 130] {
            let scaled = apply(lines(ground, 255), &scale_to(size, size), None).unwrap();
            let darkest = scaled.pixels.iter().min().copied().unwrap_or_default();
            // Where lines cross, both passes take their part of the light; without a bound it is 0 in all of these.
            assert!(darkest >= ground / 3, "{ground} at {size}: {darkest}");
        }
    }
}

#[test]
fn dark_lines_on_a_bright_ground_stay_dark() {
    let scaled = apply(lines(240, 0), &scale_to(96, 96), None).unwrap();
    let darkest = scaled.pixels.iter().min().copied().unwrap_or_default();
    assert!(darkest < 40, "{darkest}");
}
