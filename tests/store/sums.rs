//! What every store adds up while rows are written: by format, by width, by answer, and AVIF against WebP.

use std::time::Duration;

use pixgate::format::ImageFormat::{Avif, Png, Webp};
use pixgate::store::{Asked, AvifAgainstWebp, Batch, FormatStats, Stats};
use pixgate::variant::{Effort, Quality, VariantKey};

use crate::cases::{checked_later, found, get, hits, sources};
use crate::harness::{Opened, key, record, source, url, variant};

/// First, while the store is empty.
pub(crate) async fn follow_what_is_written(store: &Opened) {
    let (small, large) = (variant("sums", 640, Avif, 30_000), variant("sums", 1080, Webp, 80_000));
    let batch = Batch {
        sources: vec![source("sums", record("sums"))],
        variants: vec![small.clone(), large.clone()],
        hits: vec![hits(&small, 10, 9), hits(&large, 1, 0)],
        asked: vec![
            Asked { source: key("sums"), width: 640, requests: 10, exceeds: false },
            Asked { source: key("sums"), width: 8000, requests: 3, exceeds: true },
        ],
        answered: [7, 1, 1, 2, 0, 0],
        ..Batch::default()
    };
    store.write(batch).await;
    let stats = store.store.stats().await.expect("an answer");
    assert_eq!((stats.sources, stats.source_bytes), (1, 500_000));
    assert_eq!((stats.requests(), stats.hits()), (11, 9));
    let avif = FormatStats {
        format: "avif".into(),
        variants: 1,
        bytes: 30_000,
        renders: 1,
        render_us: 20_000,
        render_pixels: 640 * 320,
        requests: 10,
        hits: 9,
        served_bytes: 300_000,
        saved_bytes: 4_700_000,
        unused: 0,
        unused_bytes: 0,
    };
    let webp = FormatStats {
        format: "webp".into(),
        variants: 1,
        bytes: 80_000,
        renders: 1,
        render_us: 20_000,
        render_pixels: 1080 * 540,
        requests: 1,
        hits: 0,
        served_bytes: 80_000,
        saved_bytes: 420_000,
        unused: 1,
        unused_bytes: 80_000,
    };
    assert_eq!(stats.formats, [avif.clone(), webp.clone()]);
    assert_eq!(stats.bytes_saved(), 5_120_000);
    assert_eq!((stats.unused.len(), stats.unused[0].bytes), (1, 80_000));
    let widths: Vec<_> = stats.widths.iter().map(|row| (row.width, row.requests, row.exceeding)).collect();
    assert_eq!(widths, [(640, 10, 0), (8000, 3, 3)]);
    let exceeding = &stats.exceeding[0];
    assert_eq!((exceeding.url.as_str(), exceeding.width, exceeding.source_width), (url("sums").as_str(), 8000, 4000));
    assert_eq!((stats.top_sources[0].hits, stats.top_sources[0].variants), (9, 2));

    // Rendered again, smaller; told of once more by a replica that did not render it; then asked for again.
    let mut again = large.clone();
    again.meta.bytes = 70_000;
    store.write(Batch { variants: vec![again.clone()], ..Batch::default() }).await;
    again.meta.render_us = None;
    store.write(Batch { variants: vec![again.clone()], hits: vec![hits(&large, 2, 2)], ..Batch::default() }).await;
    let stats = store.store.stats().await.expect("an answer");
    let webp = FormatStats {
        bytes: 70_000,
        renders: 2,
        render_us: 40_000,
        render_pixels: 2 * 1080 * 540,
        requests: 3,
        hits: 2,
        served_bytes: 220_000,
        saved_bytes: 1_280_000,
        unused: 0,
        unused_bytes: 0,
        ..webp
    };
    assert_eq!(stats.formats, [avif, webp]);
    assert!(stats.unused.is_empty());
    let variants = store.store.variants(key("sums"), 10).await.expect("an answer");
    assert_eq!(variants.len(), 2);
    assert_eq!((variants[0].hits, variants[0].format.as_str(), variants[0].current), (9, "avif", true));
    let webp = &variants[1];
    assert_eq!((webp.width, webp.height, webp.bytes, webp.requests, webp.hits), (1080, 540, 70_000, 3, 2));
    assert_eq!((webp.quality, webp.background.as_deref()), (Some(75), Some("#ff0010")));
    assert_eq!(
        (webp.render_us, webp.effort, webp.last_hit_ms),
        (Some(20_000), Some(Effort::Dense), Some(1_700_000_000_000))
    );
    assert_eq!((webp.output.as_str(), webp.geometry.as_str()), ("still", "scale"));
}

pub(crate) async fn counts_may_come_before_the_record(store: &Opened) {
    let variant = variant("early", 640, Webp, 1_000);
    let before = store.store.stats().await.expect("an answer");
    store.write(Batch { hits: vec![hits(&variant, 4, 3)], ..Batch::default() }).await;
    assert!(found(store, "early").await.is_empty(), "it has no URL yet");
    assert!(store.store.variants(key("early"), 10).await.expect("an answer").is_empty());
    assert_eq!(get(store, "early").await, None);
    let record = checked_later(&record("early"), Duration::from_secs(60));
    let described = Batch { variants: vec![variant.clone()], ..sources(vec![source("early", record)]) };
    store.write(described).await;
    let summary = &found(store, "early").await[0];
    assert_eq!((summary.requests, summary.hits, summary.variants), (4, 3, 1));
    let after = store.store.stats().await.expect("an answer");
    assert_eq!(after.sources, before.sources + 1);
    let webp = |stats: &Stats| {
        let row = stats.formats.iter().find(|row| row.format == "webp").expect("there").clone();
        [row.variants, row.requests, row.hits, row.served_bytes, row.saved_bytes, row.unused, row.unused_bytes]
    };
    // 500,000 octets each request instead of 1,000; it was asked for four times before it was described.
    let [variants, requests, hits, served, saved, unused, unused_bytes] = webp(&before);
    let expected = [variants + 1, requests + 4, hits + 3, served + 4_000, saved + 4 * 499_000, unused, unused_bytes];
    assert_eq!(webp(&after), expected);
    // Told again, nothing is added.
    store.write(Batch { variants: vec![variant], ..Batch::default() }).await;
    assert_eq!(webp(&store.store.stats().await.expect("an answer")), expected);
    the_second_request_ends_being_unused(store).await;
}

async fn the_second_request_ends_being_unused(store: &Opened) {
    let unused = async || {
        let stats = store.store.stats().await.expect("an answer");
        let row = stats.formats.into_iter().find(|row| row.format == "png").unwrap_or_else(none);
        (row.unused, row.unused_bytes, stats.unused.iter().filter(|row| row.format == "png").count())
    };
    let png = variant("asked-again", 64, Png, 3_000_000);
    let late = checked_later(&record("asked-again"), Duration::from_secs(60));
    let batch = Batch { variants: vec![png.clone()], ..sources(vec![source("asked-again", late)]) };
    store.write(batch).await;
    assert_eq!(unused().await, (1, 3_000_000, 1), "made and not asked for");
    store.write(Batch { hits: vec![hits(&png, 1, 0)], ..Batch::default() }).await;
    assert_eq!(unused().await, (1, 3_000_000, 1), "asked for once");
    store.write(Batch { hits: vec![hits(&png, 1, 0)], ..Batch::default() }).await;
    assert_eq!(unused().await, (0, 0, 0), "asked for again, though that was no hit");
}

fn none() -> FormatStats {
    FormatStats {
        format: "png".into(),
        variants: 0,
        bytes: 0,
        renders: 0,
        render_us: 0,
        render_pixels: 0,
        requests: 0,
        hits: 0,
        served_bytes: 0,
        saved_bytes: 0,
        unused: 0,
        unused_bytes: 0,
    }
}

pub(crate) async fn formats_are_compared_by_what_was_made_in_both(store: &Opened) {
    let before = store.store.stats().await.expect("an answer").avif_against_webp;
    let late = checked_later(&record("both"), Duration::from_secs(60));
    let mut variants: Vec<_> = [(64, Avif, 1_000), (64, Webp, 1_500), (128, Avif, 3_000), (256, Webp, 9_000)]
        .into_iter()
        .map(|(width, format, bytes)| variant("both", width, format, bytes))
        .collect();
    let mut untimed = [variant("both", 512, Avif, 20_000), variant("both", 512, Webp, 30_000)];
    untimed[0].meta.render_us = None;
    variants.extend(untimed);
    let mut other = variant("both", 128, Webp, 5_000);
    other.meta.transform.quality = Quality::new(50);
    other.key = VariantKey::new(&other.meta.content, &other.meta.transform);
    variants.push(other);
    // Among the most used, whatever else there is.
    let hits = vec![hits(&variants[0], 1_000, 1_000)];
    store.write(Batch { variants, hits, ..sources(vec![source("both", late)]) }).await;
    let after = store.store.stats().await.expect("an answer").avif_against_webp;
    let grown = |of: fn(&AvifAgainstWebp) -> u64| of(&after) - of(&before);
    assert_eq!((grown(|all| all.pairs), grown(|all| all.timed)), (2, 1), "{after:?}");
    assert_eq!((grown(|all| all.avif_bytes), grown(|all| all.webp_bytes)), (21_000, 31_500));
    assert_eq!((grown(|all| all.avif_render_us), grown(|all| all.webp_render_us)), (20_000, 20_000));
}
