//! What every tier does, memory and Redis alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pixgate::cache::memory::Memory;
use pixgate::cache::{CacheTier, Found, Settings};

use crate::harness::{Sample, Shared, variant};
use crate::support::RedisServer;

/// All cases over one empty tier; names of sources differ from case to case.
pub(crate) async fn all(tier: &dyn CacheTier) {
    nothing_is_found_in_an_empty_tier(tier).await;
    what_was_put_comes_back_whole(tier).await;
    a_changed_source_names_its_own_variant(tier).await;
    pictures_are_shared_by_sources_of_equal_bytes(tier).await;
    a_record_without_its_variant_and_a_variant_without_its_record(tier).await;
    what_is_forgotten_is_gone_with_all_that_was_put_before(tier).await;
    large_and_empty_pictures_come_back(tier).await;
    many_at_once_do_not_mix(tier).await;
}

/// A case for a tier that is not empty any more.
pub(crate) async fn again(tier: &dyn CacheTier) {
    let sample = Sample::new("again");
    put(tier, &sample).await;
    assert_eq!(look_up(tier, &sample).await, whole(&sample));
}

async fn put(tier: &dyn CacheTier, sample: &Sample) {
    tier.put_record(sample.source, Arc::clone(&sample.record));
    tier.put_variant(sample.source, sample.wish, sample.variant, Arc::clone(&sample.entry));
    tier.settled().await;
}

async fn look_up(tier: &dyn CacheTier, sample: &Sample) -> Found {
    tier.look_up(sample.source, sample.wish, &variant).await
}

fn whole(sample: &Sample) -> Found {
    Found { record: Some(Arc::clone(&sample.record)), entry: Some(Arc::clone(&sample.entry)) }
}

async fn nothing_is_found_in_an_empty_tier(tier: &dyn CacheTier) {
    let sample = Sample::new("nothing");
    assert_eq!(look_up(tier, &sample).await, Found::default());
    assert_eq!(tier.record(sample.source).await, None);
    assert_eq!(tier.variant(sample.variant).await, None);
}

async fn what_was_put_comes_back_whole(tier: &dyn CacheTier) {
    let sample = Sample::new("whole");
    put(tier, &sample).await;
    assert_eq!(look_up(tier, &sample).await, whole(&sample));
    assert_eq!(tier.record(sample.source).await.as_ref(), Some(&sample.record));
    assert_eq!(tier.variant(sample.variant).await.as_ref(), Some(&sample.entry));
}

async fn a_changed_source_names_its_own_variant(tier: &dyn CacheTier) {
    let old = Sample::new("changed");
    put(tier, &old).await;
    let new = old.changed("other bytes");
    tier.put_record(new.source, Arc::clone(&new.record));
    tier.settled().await;
    let found = look_up(tier, &old).await;
    assert_eq!((found.record.as_ref(), found.entry), (Some(&new.record), None), "the old picture is not the new one's");
    put(tier, &new).await;
    assert_eq!(look_up(tier, &old).await, whole(&new));
    assert_eq!(tier.variant(old.variant).await.as_ref(), Some(&old.entry), "by its own name it is still there");
}

async fn pictures_are_shared_by_sources_of_equal_bytes(tier: &dyn CacheTier) {
    let first = Sample::new("shared");
    put(tier, &first).await;
    let second = Sample::new("shared-too");
    tier.put_record(second.source, Arc::clone(&first.record));
    tier.settled().await;
    // Twice: the first time there is nothing to hint at the variant.
    for _ in 0..2 {
        assert_eq!(look_up(tier, &second).await.entry.as_ref(), Some(&first.entry));
        tier.settled().await;
    }
}

async fn a_record_without_its_variant_and_a_variant_without_its_record(tier: &dyn CacheTier) {
    let record_only = Sample::new("record-only");
    tier.put_record(record_only.source, Arc::clone(&record_only.record));
    let variant_only = Sample::new("variant-only");
    tier.put_variant(variant_only.source, variant_only.wish, variant_only.variant, Arc::clone(&variant_only.entry));
    tier.settled().await;
    let found = look_up(tier, &record_only).await;
    assert_eq!((found.record.as_ref(), found.entry), (Some(&record_only.record), None));
    let resolved = AtomicUsize::new(0);
    let resolve = |record: &_| {
        resolved.fetch_add(1, Ordering::Relaxed);
        variant(record)
    };
    let found = tier.look_up(variant_only.source, variant_only.wish, &resolve).await;
    assert_eq!(found, Found::default());
    assert_eq!(resolved.into_inner(), 0, "there is nothing to resolve for");
}

async fn what_is_forgotten_is_gone_with_all_that_was_put_before(tier: &dyn CacheTier) {
    let sample = Sample::new("forgotten");
    put(tier, &sample).await;
    assert!(tier.forget(sample.source).await);
    assert_eq!(look_up(tier, &sample).await, Found::default());
    assert_eq!(tier.variant(sample.variant).await.as_ref(), Some(&sample.entry), "its bytes may stay");

    // Many, so that some still wait when it is forgotten.
    for _ in 0..500 {
        tier.put_record(sample.source, Arc::clone(&sample.record));
    }
    assert!(tier.forget(sample.source).await);
    tier.settled().await;
    assert_eq!(tier.record(sample.source).await, None, "what was put before is not written after");
    put(tier, &sample).await;
    assert_eq!(look_up(tier, &sample).await, whole(&sample), "what is put after is");
}

async fn large_and_empty_pictures_come_back(tier: &dyn CacheTier) {
    let noise: Vec<u8> = (0..3_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, picture) in [("large", noise), ("empty", Vec::new())] {
        let sample = Sample::with_picture(name, picture);
        put(tier, &sample).await;
        let found = look_up(tier, &sample).await;
        assert!(found == whole(&sample), "{name}");
    }
}

async fn many_at_once_do_not_mix(tier: &dyn CacheTier) {
    let samples: Vec<_> = (0..200).map(|at| Sample::new(&format!("many-{at}"))).collect();
    for sample in &samples {
        tier.put_record(sample.source, Arc::clone(&sample.record));
        tier.put_variant(sample.source, sample.wish, sample.variant, Arc::clone(&sample.entry));
    }
    tier.settled().await;
    let all = futures_util::future::join_all(samples.iter().map(|sample| look_up(tier, sample))).await;
    for (sample, found) in samples.iter().zip(all) {
        assert_eq!(found, whole(sample));
    }
}

#[tokio::test]
async fn memory() {
    let tier = Memory::new(&Settings::default());
    assert_eq!(CacheTier::name(&tier), "memory");
    all(&tier).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis() {
    let server = RedisServer::start();
    let shared = Shared::over(&server).await;
    assert_eq!(shared.tier.name(), "redis");
    all(&*shared.tier).await;
    assert_eq!((shared.lookups("error"), shared.lookups("bad")), (0, 0));
    assert_eq!((shared.writes("dropped"), shared.writes("error")), (0, 0));
    assert!(shared.lookups("hit") > 200 && shared.lookups("miss") > 3);
}

#[tokio::test]
async fn a_hit_is_one_round_trip() {
    let server = RedisServer::start();
    let shared = Shared::over(&server).await;
    let sample = Sample::new("round-trip");
    put(&*shared.tier, &sample).await;
    // The script is loaded by the first.
    assert_eq!(look_up(&*shared.tier, &sample).await, whole(&sample));
    let before = (server.calls("evalsha"), server.calls("script|load"));
    for _ in 0..10 {
        assert_eq!(look_up(&*shared.tier, &sample).await, whole(&sample));
    }
    let after = (server.calls("evalsha"), server.calls("script|load"));
    assert_eq!((after.0 - before.0, after.1 - before.1), (10, 0));
    // Three reads a script, and none on their own.
    assert_eq!(server.calls("get"), 3 * 11);
}

#[tokio::test]
async fn keys_are_those_of_the_design_and_end_in_time() {
    let server = RedisServer::start();
    let shared = Shared::over(&server).await;
    let sample = Sample::new("keys");
    put(&*shared.tier, &sample).await;
    let source = server.keys("pixgate:3:source:*");
    let variants = server.keys("pixgate:3:variant:*");
    assert_eq!((source.len(), variants.len(), server.keys("*").len()), (1, 1, 3));
    assert_eq!(variants[0], format!("pixgate:3:variant:{:?}", sample.variant));
    assert_eq!(source[0], format!("pixgate:3:source:{:?}", sample.source));
    // A record lives no longer than it is of use: an hour fresh and a day for its validators.
    let left = |key: &str| server.ask(&format!("PTTL {key}")).number();
    let usable = 25 * 3_600_000;
    assert!((usable * 9 / 10 - 60_000..=usable).contains(&left(&source[0])), "{}", left(&source[0]));
    let ttl = 30 * 24 * 3_600_000;
    assert!((ttl * 9 / 10 - 60_000..=ttl).contains(&left(&variants[0])), "{}", left(&variants[0]));
}

#[tokio::test]
async fn ends_are_spread_downward() {
    let server = RedisServer::start();
    let shared = Shared::over(&server).await;
    for at in 0..50 {
        put(&*shared.tier, &Sample::new(&format!("spread-{at}"))).await;
    }
    let left = |key: &String| server.ask(&format!("PTTL {key}")).number();
    let mut ends: Vec<_> = server.keys("pixgate:3:variant:*").iter().map(left).collect();
    ends.sort_unstable();
    let ttl = 30 * 24 * 3_600_000;
    assert!(ends[49] <= ttl && ends[0] >= ttl * 9 / 10 - 60_000);
    assert!(ends[49] - ends[0] > ttl / 30, "a spread of {} ms", ends[49] - ends[0]);
}
