//! Known colours through each kind of sample, profile and coding.
//!
//! Expected values are computed by hand or come from the standard that is named beside them.

use super::*;

fn picture(channels: Channels, samples: Samples, space: Space) -> Picture {
    let count = match &samples {
        Samples::Eight(values) => values.len(),
        Samples::Sixteen(values) => values.len(),
    };
    let width = (count / channels.count()) as u32;
    Raw { width, height: 1, channels, samples, space }.into_picture()
}

fn close(got: &[u8], want: &[u8], tolerance: u8) -> bool {
    got.len() == want.len() && got.iter().zip(want).all(|(a, b)| a.abs_diff(*b) <= tolerance)
}

#[test]
fn sixteen_bits_round_to_nearest() {
    let got = picture(Channels::Rgb, Samples::Sixteen(vec![0, 128, 129, 385, 386, 65_535]), Space::Srgb);
    assert_eq!(got.pixels, [0, 0, 1, 1, 2, 255]);
}

#[test]
fn grey_becomes_three_channels_and_full_alpha_is_dropped() {
    let got = picture(Channels::GreyAlpha, Samples::Eight(vec![7, 255, 9, 255]), Space::Srgb);
    assert!(!got.alpha);
    assert_eq!(got.pixels, [7, 7, 7, 9, 9, 9]);
    let got = picture(Channels::GreyAlpha, Samples::Eight(vec![7, 255, 9, 254]), Space::Srgb);
    assert!(got.alpha);
    assert_eq!(got.pixels, [7, 7, 7, 255, 9, 9, 9, 254]);
}

#[test]
fn ink_without_a_profile_is_paper_less_ink() {
    let got = picture(Channels::Cmyk, Samples::Eight(vec![0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255]), Space::Srgb);
    assert_eq!(got.pixels, [255, 255, 255, 0, 255, 255, 0, 0, 0]);
}

#[test]
fn display_p3_comes_out_as_srgb_within_two_steps() {
    let icc = ColorProfile::new_display_p3().encode().expect("a profile");
    // Values computed from the published matrices: P3 (200, 100, 50) and a grey, which no primaries change.
    let source = vec![200, 100, 50, 128, 128, 128];
    let want = [215, 93, 31, 128, 128, 128];
    let eight = picture(Channels::Rgb, Samples::Eight(source.clone()), Space::Icc(icc.clone()));
    assert!(close(&eight.pixels, &want, 2), "{:?}", eight.pixels);
    let wide = source.iter().map(|v| u16::from(*v) * 257).collect();
    let sixteen = picture(Channels::Rgb, Samples::Sixteen(wide), Space::Icc(icc));
    assert!(close(&sixteen.pixels, &want, 2), "{:?}", sixteen.pixels);
    let cicp = picture(Channels::Rgb, Samples::Eight(source), Space::Cicp { primaries: 12, transfer: 13 });
    assert!(close(&cicp.pixels, &want, 2), "{:?}", cicp.pixels);
}

#[test]
fn an_srgb_profile_changes_nothing_and_a_broken_one_is_ignored() {
    let icc = ColorProfile::new_srgb().encode().expect("a profile");
    let source: Vec<u8> = (0..=254).collect();
    for profile in [icc, b"not a profile".to_vec(), Vec::new()] {
        let got = picture(Channels::Rgb, Samples::Eight(source.clone()), Space::Icc(profile));
        assert_eq!(got.pixels, source);
    }
}

#[test]
fn a_linear_picture_gets_the_srgb_curve() {
    let space = || Space::Power { exponent: 1.0, chromaticities: None };
    // Half the light is 188 of 255 in sRGB.
    let got = picture(Channels::Rgb, Samples::Sixteen(vec![32_768; 3]), space());
    assert!(close(&got.pixels, &[188; 3], 1), "{:?}", got.pixels);
    let got = picture(Channels::Grey, Samples::Eight(vec![128]), space());
    assert!(close(&got.pixels, &[188; 3], 1), "{:?}", got.pixels);
}

#[test]
fn the_darkest_ink_becomes_black_and_white_stays() {
    // What all inks of a press profile come to, a black between, and paper.
    let mut values = [32, 31, 31, 55, 53, 53, 255, 255, 255];
    let black = [32.0, 31.0, 31.0].map(|value: f32| value / 255.0);
    deepen(&mut values, black.into_iter(), 255.0);
    // The middle one by Adobe's and lcms's compensation: (43, 41, 42).
    assert!(close(&values, &[1, 0, 0, 43, 41, 41, 255, 255, 255], 2), "{values:?}");
    let mut deep = [0x2020_u16, 0xFFFF];
    deepen(&mut deep, [32.0 / 255.0; 3].into_iter(), 65_535.0);
    assert_eq!(deep, [0, 0xFFFF]);
}
