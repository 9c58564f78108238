//! Lifetimes, keys, and what a record says of itself.

use super::*;

#[test]
fn a_lifetime_passes_through_its_four_states() {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let lifetime = Lifetime {
        checked_at: start,
        ttl: Duration::from_secs(10),
        early: Duration::ZERO,
        stale_while_revalidate: Duration::from_secs(5),
        stale_if_error: Duration::from_secs(20),
        immutable: false,
    };
    let at = |seconds| lifetime.at(start + Duration::from_secs(seconds));
    assert_eq!([at(0), at(10)], [Freshness::Fresh; 2]);
    assert_eq!([at(11), at(15)], [Freshness::Stale; 2]);
    assert_eq!([at(16), at(30)], [Freshness::Expired; 2]);
    assert_eq!(at(31), Freshness::Dead);
    assert_eq!(lifetime.at(start - Duration::from_secs(3)), Freshness::Fresh);
    let early = Lifetime { early: Duration::from_secs(2), ..lifetime };
    assert_eq!(early.at(start + Duration::from_secs(8)), Freshness::Fresh);
    assert_eq!(early.at(start + Duration::from_secs(9)), Freshness::Stale);
    assert_eq!(lifetime.remaining(start + Duration::from_secs(4)), Duration::from_secs(6));
    assert_eq!(lifetime.remaining(start + Duration::from_secs(40)), Duration::ZERO);
    // For its validators, where it may be used past freshness for less than they are of use.
    assert_eq!(lifetime.worth_keeping(start + Duration::from_secs(4)), VALIDATORS + Duration::from_secs(6));
    let long = Lifetime { stale_if_error: 2 * VALIDATORS, ..lifetime };
    assert_eq!(long.worth_keeping(start + Duration::from_secs(4)), 2 * VALIDATORS + Duration::from_secs(6));
    assert_eq!(long.worth_keeping(start + 3 * VALIDATORS), Duration::ZERO);
    let strict = Lifetime { stale_while_revalidate: Duration::ZERO, stale_if_error: Duration::ZERO, ..lifetime };
    assert_eq!(strict.at(start + Duration::from_secs(11)), Freshness::Dead);
    assert_eq!(strict.worth_keeping(start + Duration::from_secs(10)), VALIDATORS);
}

#[test]
fn sources_and_wishes_have_keys_of_their_own() {
    use crate::format::{ImageFormat, Negotiated};
    use crate::variant::{Fit, FormatWish, Quality};

    let source = SourceKey::of_normalised("https://a.example/x");
    let wish = Wish {
        width: Some(640),
        height: None,
        cap: 3840,
        max_pixels: 25_000_000,
        fit: Fit::Inside,
        quality: Quality::new(75),
        format: FormatWish::Exactly(ImageFormat::Webp),
        background: None,
    };
    let negotiated = |preferred, webp| FormatWish::Negotiated(Negotiated { preferred, webp });
    // Each differs from the first, and some from each other, in one field only.
    let wishes = [
        wish,
        Wish { width: None, height: Some(640), ..wish },
        Wish { width: Some(0), ..wish },
        Wish { width: None, ..wish },
        Wish { height: Some(0), ..wish },
        Wish { height: Some(640), ..wish },
        Wish { cap: 640, ..wish },
        Wish { fit: Fit::Cover, ..wish },
        Wish { fit: Fit::Contain, ..wish },
        Wish { fit: Fit::Fill, ..wish },
        Wish { quality: Quality::new(76), ..wish },
        Wish { format: FormatWish::Exactly(ImageFormat::Avif), ..wish },
        Wish { format: negotiated(Some(ImageFormat::Webp), true), ..wish },
        Wish { format: negotiated(Some(ImageFormat::Webp), false), ..wish },
        Wish { format: negotiated(None, true), ..wish },
        Wish { format: negotiated(None, false), ..wish },
        Wish { background: Some(Rgb([0; 3])), ..wish },
        Wish { background: Some(Rgb([0, 0, 1])), ..wish },
    ];
    let mut keys: Vec<_> = wishes.iter().map(|wish| WishKey::new(&source, wish)).collect();
    keys.push(WishKey::new(&SourceKey::of_normalised("https://a.example/y"), &wish));
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
    assert_eq!(keys[0], WishKey::new(&source, &wish.clone()));
}

#[test]
fn source_and_variant_hashes_live_in_different_domains() {
    assert_ne!(SourceKey::of_normalised("https://a.example/x"), SourceKey::of_normalised("https://a.example/y"));
}
