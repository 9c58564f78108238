//! How many variants of one source can be requested without a signature.
//!
//! Invariant: **the number is a bound, and a test holds it**: whatever is in a query, what it comes down to is one of them.

use std::collections::BTreeSet;

use super::Sizes;

/// Formats whose outputs have a quality.
const LOSSY: u64 = 3;
/// Those that have none.
const LOSSLESS: u64 = 1;
/// `cover`, `contain` and `fill`: what a box of `inside` comes down to has the width or the height of another request.
const CROPS: u64 = 3;

impl Sizes {
    /// At most so many variants of one source, as long as it stays the same.
    pub fn most_variants(&self) -> u64 {
        let widths = self.widths().collect::<BTreeSet<_>>().len() as u64;
        let heights = self.all_heights().collect::<BTreeSet<_>>().len() as u64;
        let pairs = self.crops.as_ref().map_or(widths * heights, |crops| crops.len() as u64);
        let geometries = 1 + widths + heights + CROPS * pairs;
        // Besides those of the list, what `auto` comes down to.
        let qualities = self.qualities.iter().collect::<BTreeSet<_>>().len() as u64 + 1;
        // Besides those of the list, none.
        let backgrounds = self.backgrounds.len() as u64 + 1;
        // Besides them, the source as it is.
        geometries * (LOSSY * qualities + LOSSLESS) * backgrounds + 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::super::{Pairs, direct, next};
    use super::*;
    use crate::format::{ImageFormat, Negotiated};
    use crate::source::Refusal;
    use crate::variant::{Rgb, SourceShape, Transform};

    #[test]
    fn of_the_defaults() {
        assert_eq!(Sizes::default().most_variants(), 801 * 13 * 3 + 1);
        let crops = Some(vec![(640, 384)]);
        assert_eq!(Sizes { crops, ..Sizes::default() }.most_variants(), 36 * 13 * 3 + 1);
    }

    fn shapes() -> impl Strategy<Value = SourceShape> {
        let format = prop_oneof![Just(ImageFormat::Jpeg), Just(ImageFormat::Gif), Just(ImageFormat::Tiff)];
        (format, 1..3_000_u32, 1..3_000_u32, any::<bool>(), any::<bool>()).prop_map(
            |(format, width, height, has_alpha, animated)| SourceShape {
                format,
                width,
                height,
                has_alpha,
                animated,
                fair_quality: None,
                passed_on: false,
            },
        )
    }

    fn sizes() -> impl Strategy<Value = Sizes> {
        let edges = || prop::collection::vec(1..2_000_u32, 1..4);
        let crops = prop::option::of(prop::collection::vec((0..3_usize, 0..3_usize), 0..3));
        (edges(), edges(), edges(), crops, 10_000..4_000_000_u64, any::<bool>()).prop_map(
            |(device_sizes, image_sizes, heights, crops, max_output_pixels, snap)| {
                let pair = |(w, h): (usize, usize)| (device_sizes[w % device_sizes.len()], heights[h % heights.len()]);
                let crops = crops.map(|crops| crops.into_iter().map(pair).collect());
                let (qualities, backgrounds) = (vec![40, 75], vec![Rgb::WHITE, Rgb([9; 3])]);
                Sizes {
                    device_sizes,
                    image_sizes,
                    heights,
                    crops,
                    qualities,
                    backgrounds,
                    max_output_pixels,
                    snap,
                    ..Sizes::default()
                }
            },
        )
    }

    /// Everything that a client can say, in both dialects.
    fn all(sizes: &Sizes, shape: &SourceShape) -> HashSet<Transform> {
        let edges: Vec<String> = sizes.all_heights().chain([1, 77, 5_000]).map(|n| n.to_string()).collect();
        let edges: Vec<&str> = [""].into_iter().chain(edges.iter().map(String::as_str)).collect();
        let accepts = [None, Some(ImageFormat::Avif), Some(ImageFormat::Webp)];
        let mut found = HashSet::new();
        for (w, h) in edges.iter().flat_map(|w| edges.iter().map(move |h| (w, h))) {
            for rest in ["fit=inside", "fit=cover", "fit=contain", "fit=fill", "fit=cover&dpr=2", "fit=inside&dpr=1.5"]
            {
                for q in ["", "40", "75", "auto", "60"] {
                    for bg in ["", "ffffff", "090909", "123456"] {
                        for f in ["", "avif", "webp", "jpeg", "png"] {
                            let pair = |name: &str, value: &str| match value {
                                "" => String::new(),
                                value => format!("&{name}={value}"),
                            };
                            let query = [("w", *w), ("h", *h), ("q", q), ("bg", bg), ("f", f)]
                                .map(|(name, value)| pair(name, value))
                                .concat();
                            let query = format!("url=https://a.example/a&{rest}{query}");
                            let pairs = Pairs::parse(&query).expect("short");
                            let preferred = accepts[query.len() % 3];
                            let negotiated = Negotiated { preferred, webp: preferred.is_some() };
                            let now = SystemTime::UNIX_EPOCH;
                            if let Ok(asked) = direct(&pairs, "/image", &query, sizes, negotiated, now) {
                                found.insert(asked.wish.resolve(shape));
                            }
                            if let Ok(asked) = next(&pairs, sizes, negotiated, |_| Ok::<_, Refusal>(())) {
                                found.insert(asked.wish.resolve(shape));
                            }
                        }
                    }
                }
            }
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn nobody_gets_more((sizes, shape) in (sizes(), shapes())) {
            let (found, most) = (all(&sizes, &shape).len() as u64, sizes.most_variants());
            prop_assert!(found > 0 && found <= most, "{found} of at most {most}");
        }
    }

    #[test]
    fn most_of_them_can_be_had() {
        let sizes = Sizes {
            device_sizes: vec![640, 1080],
            image_sizes: vec![64],
            qualities: vec![40, 75],
            backgrounds: vec![Rgb::WHITE, Rgb([9; 3])],
            ..Sizes::default()
        };
        let shape = SourceShape {
            format: ImageFormat::Png,
            width: 4_000,
            height: 3_000,
            has_alpha: true,
            animated: false,
            fair_quality: None,
            passed_on: false,
        };
        let (found, most) = (all(&sizes, &shape).len() as u64, sizes.most_variants());
        assert!(found * 2 > most && found <= most, "{found} of at most {most}: a bound that says something");
    }
}
