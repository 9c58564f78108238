//! What every store does, SQLite and PostgreSQL alike.

use std::sync::Arc;
use std::time::Duration;

use pixgate::format::ImageFormat::{Avif, Webp};
use pixgate::record::SourceRecord;
use pixgate::store::{
    Asked, Batch, Cursor, Hits, Keys, NewSource, NewVariant, Purge, Scope, Seen, Sort, SourceQuery, SourceSummary,
};

use crate::harness::{Folder, Opened, key, now, record, source, stamp, url, variant};
use crate::sums;
use crate::support::PostgresServer;

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract() {
    let folder = Folder::new();
    all(&Opened::over(&folder.url()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract() {
    let server = PostgresServer::start();
    all(&Opened::over(&server.url()).await).await;
}

/// All cases over one empty store, in this order; names of sources differ from case to case.
async fn all(store: &Opened) {
    an_empty_store_answers(store).await;
    sums::follow_what_is_written(store).await;
    a_batch_counts_once(store).await;
    a_record_comes_back_whole(store).await;
    a_placeholder_stays_while_the_content_does(store).await;
    an_older_record_does_not_win(store).await;
    a_purge_takes_the_record(store).await;
    purges_of_many_take_what_they_name(store).await;
    sums::counts_may_come_before_the_record(store).await;
    equal_pictures_have_rows_of_their_own(store).await;
    urls_may_be_long(store).await;
    sums::formats_are_compared_by_what_was_made_in_both(store).await;
    what_is_seen_is_not_forgotten(store).await;
    a_purge_is_of_the_part_it_names(store).await;
    pages_hold_every_source_once(store).await;
    odd_values_come_back(store).await;
    what_was_not_seen_for_long_goes_with_its_rows(store).await;
}

pub(crate) fn sources(sources: Vec<NewSource>) -> Batch {
    Batch { sources, ..Batch::default() }
}

pub(crate) fn hits(variant: &NewVariant, requests: u64, hits: u64) -> Hits {
    Hits { source: variant.source, variant: variant.key, requests, hits, last_ms: 1_700_000_000_000 }
}

pub(crate) async fn get(store: &Opened, name: &str) -> Option<SourceRecord> {
    store.store.record(key(name)).await
}

pub(crate) async fn found(store: &Opened, prefix: &str) -> Vec<SourceSummary> {
    let query = SourceQuery { prefix: url(prefix), limit: 100, ..SourceQuery::default() };
    store.store.sources(query).await.expect("an answer").sources
}

async fn an_empty_store_answers(store: &Opened) {
    assert_eq!(get(store, "nothing").await, None);
    assert!(store.store.variants(key("nothing"), 10).await.expect("an answer").is_empty());
    let page = store.store.sources(SourceQuery { limit: 10, ..SourceQuery::default() }).await.expect("an answer");
    assert!(page.sources.is_empty() && page.cursor.is_none());
    let stats = store.store.stats().await.expect("an answer");
    assert_eq!((stats.sources, stats.requests(), stats.hit_ratio()), (0, 0, None));
    store.write(Batch::default()).await;
}

async fn a_batch_counts_once(store: &Opened) {
    let variant = variant("once", 640, Avif, 1_000);
    let batch = Arc::new(Batch {
        sources: vec![source("once", record("once"))],
        variants: vec![variant.clone()],
        hits: vec![hits(&variant, 5, 5)],
        ..Batch::default()
    });
    let stamp = stamp();
    for _ in 0..3 {
        store.store.write(Arc::clone(&batch), stamp).await.expect("written");
    }
    assert_eq!(found(store, "once").await[0].hits, 5);
}

async fn a_record_comes_back_whole(store: &Opened) {
    let whole = record("whole");
    store.write(sources(vec![source("whole", whole.clone())])).await;
    assert_eq!(get(store, "whole").await, Some(whole.clone()));
    let bare = SourceRecord {
        validators: pixgate::record::Validators::default(),
        placeholder: None,
        has_alpha: true,
        frames: 12,
        storable: false,
        ..whole
    };
    store.write(sources(vec![source("bare", bare.clone())])).await;
    assert_eq!(get(store, "bare").await, Some(bare));
}

async fn a_placeholder_stays_while_the_content_does(store: &Opened) {
    let with = record("kept");
    let without = SourceRecord { placeholder: None, epoch: 9, ..with.clone() };
    store.write(sources(vec![source("kept", with.clone())])).await;
    store.write(sources(vec![source("kept", without.clone())])).await;
    assert_eq!(get(store, "kept").await, Some(SourceRecord { epoch: 9, ..with }));
    let other = SourceRecord { content: record("other").content, ..without };
    store.write(sources(vec![source("kept", other.clone())])).await;
    assert_eq!(get(store, "kept").await, Some(other), "other bytes, another placeholder");
}

pub(crate) fn checked_later(record: &SourceRecord, later: Duration) -> SourceRecord {
    let mut record = record.clone();
    record.lifetime.checked_at = now() + later;
    record
}

async fn an_older_record_does_not_win(store: &Opened) {
    let old = record("old");
    let new = checked_later(&record("new"), Duration::from_secs(10));
    let before = store.store.stats().await.expect("an answer");
    store.write(sources(vec![source("age", new.clone())])).await;
    store.write(sources(vec![source("age", old)])).await;
    assert_eq!(get(store, "age").await, Some(new));
    let after = store.store.stats().await.expect("an answer");
    assert_eq!((after.sources, after.source_bytes), (before.sources + 1, before.source_bytes + 500_000));
}

fn purge(scope: Scope, soft: bool, later: Duration) -> Batch {
    Batch { purges: vec![Purge { scope, soft, at: now() + later }], ..Batch::default() }
}

async fn a_purge_takes_the_record(store: &Opened) {
    let old = record("purged");
    let second = Duration::from_secs(1);
    store.write(sources(vec![source("purged", old.clone())])).await;
    store.write(purge(Scope::Source(key("purged")), true, second)).await;
    let soft = get(store, "purged").await.expect("a soft purge keeps the record");
    assert!(soft.lifetime.ttl.is_zero() && soft.placeholder.is_some());
    store.write(purge(Scope::Source(key("purged")), false, 2 * second)).await;
    assert_eq!(get(store, "purged").await, None);
    store.write(sources(vec![source("purged", checked_later(&old, second))])).await;
    assert_eq!(get(store, "purged").await, None, "what was checked before the purge does not come back");
    let summary = &found(store, "purged").await[0];
    assert_eq!((summary.purges, summary.placeholder, summary.purged_at_ms), (2, false, Some(1_700_000_002_000)));
    let new = checked_later(&old, 3 * second);
    store.write(sources(vec![source("purged", new.clone())])).await;
    assert_eq!(get(store, "purged").await, Some(new));
}

async fn purges_of_many_take_what_they_name(store: &Opened) {
    let names = ["many/a", "many/b", "manyfold"];
    let put = sources(names.iter().map(|name| source(name, record(name))).collect());
    let second = Duration::from_secs(1);
    let there = async || {
        let mut there = Vec::new();
        for name in names {
            there.push(get(store, name).await.is_some());
        }
        there
    };
    store.write(put.clone()).await;
    store.write(purge(Scope::Prefix(url("many/")), false, second)).await;
    assert_eq!(there().await, [false, false, true]);
    store.write(purge(Scope::Host("elsewhere.example.com".into()), false, second)).await;
    assert_eq!(there().await, [false, false, true]);
    store.write(purge(Scope::Host("images.example.com".into()), false, second)).await;
    assert_eq!(there().await, [false, false, false]);
    let again = names.iter().map(|name| source(name, checked_later(&record(name), 2 * second))).collect();
    store.write(sources(again)).await;
    assert_eq!(there().await, [true, true, true]);
    store.write(purge(Scope::All, false, second)).await;
    assert_eq!(there().await, [true, true, true], "checked after the purge");
    store.write(purge(Scope::All, false, 3 * second)).await;
    assert_eq!(there().await, [false, false, false]);
}

/// Letters and digits that no engine can make shorter.
fn noise(length: usize) -> String {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.alphanumeric()).take(length).collect()
}

async fn urls_may_be_long(store: &Opened) {
    let far = Duration::from_secs(60);
    let noise = noise(3_000);
    let long = |end: &str| format!("long?{noise}{end}");
    let names = [long("a"), long("b"), "long?short".to_owned()];
    let all = names.iter().map(|name| source(name, checked_later(&record(name), far)));
    store.write(sources(all.collect())).await;
    for name in &names {
        assert!(get(store, name).await.is_some(), "{}", &name[..10]);
        assert_eq!(found(store, name).await.len(), 1);
    }
    assert_eq!(found(store, "long?").await.len(), 3);
    assert_eq!(found(store, &long("")).await.len(), 2);
    assert_eq!(found(store, &format!("long?{}", &noise[..600])).await.len(), 2);
    assert_eq!(found(store, &format!("long?{}?", &noise[..600])).await.len(), 0, "beyond what the index has");
    store.write(purge(Scope::Prefix(url(&long("a"))), false, 2 * far)).await;
    let there = [get(store, &names[0]).await, get(store, &names[1]).await, get(store, &names[2]).await];
    assert_eq!(there.map(|record| record.is_some()), [false, true, true]);
}

async fn what_is_seen_is_not_forgotten(store: &Opened) {
    let old = now() - Duration::from_secs(10_000);
    let late = |name: &str| checked_later(&record(name), Duration::from_secs(60));
    let new = ["seen/a", "seen/b"].map(|name| NewSource { seen_at: old, ..source(name, late(name)) });
    store.write(sources(new.into())).await;
    let seen = |ms| Batch { seen: vec![Seen { source: key("seen/a"), last_ms: ms }], ..Batch::default() };
    store.write(seen(1_700_000_000_000)).await;
    store.write(seen(5)).await;
    assert_eq!(store.store.expire(Some(now() - Duration::from_secs(9_000)), 10).await.expect("done"), 1);
    let left = found(store, "seen/").await;
    assert_eq!((left.len(), left[0].last_seen_ms, left[0].requests), (1, 1_700_000_000_000, 0));
}

async fn a_purge_is_of_the_part_it_names(store: &Opened) {
    let names: Vec<_> = (0..40).map(|n| format!("part/{n}")).collect();
    let far = Duration::from_secs(60);
    store.write(sources(names.iter().map(|name| source(name, checked_later(&record(name), far))).collect())).await;
    let mut keys: Vec<_> = names.iter().map(|name| key(name)).collect();
    keys.sort_by_key(|key| *key.as_bytes());
    let ends = [None, Some(keys[9]), Some(keys[29]), None];
    for (turn, pair) in ends.windows(2).enumerate() {
        let keys = Keys { after: pair[0], until: pair[1] };
        store.write(Batch { keys, ..purge(Scope::Prefix(url("part/")), false, 2 * far) }).await;
        let left = found(store, "part/").await.iter().filter(|source| source.placeholder).count();
        assert_eq!(left, [30, 10, 0][turn]);
    }
    assert!(found(store, "part/").await.iter().all(|source| source.purges == 1));
    let few = Scope::Prefix(url("part/"));
    assert_eq!(store.store.part(few, None).await.expect("an answer"), None, "so few are one part");
}

async fn equal_pictures_have_rows_of_their_own(store: &Opened) {
    let first = variant("equal", 640, Webp, 1_000);
    let second = NewVariant { source: key("equal-too"), ..first.clone() };
    let late = checked_later(&record("equal"), Duration::from_secs(60));
    let both = vec![source("equal", late.clone()), source("equal-too", late)];
    let batch = Batch {
        variants: vec![first.clone(), second.clone()],
        hits: vec![hits(&first, 2, 2), hits(&second, 5, 5)],
        ..sources(both)
    };
    store.write(batch).await;
    for (name, count) in [("equal", 2), ("equal-too", 5)] {
        let variants = store.store.variants(key(name), 10).await.expect("an answer");
        assert_eq!(variants.iter().map(|row| row.hits).collect::<Vec<_>>(), [count], "{name}");
    }
}

async fn pages_hold_every_source_once(store: &Opened) {
    let count = 1_000_u64;
    let names: Vec<_> = (0..count).map(|n| format!("page/{n:04}")).collect();
    let new = |(n, name): (u64, &String)| {
        let mut record = record(name);
        record.bytes = 1_000 + n % 7;
        NewSource { seen_at: now() + Duration::from_millis(n % 11), ..source(name, record) }
    };
    let variants: Vec<_> = names.iter().map(|name| variant(name, 64, Avif, 10)).collect();
    let hit = |(n, row): (u64, &NewVariant)| Hits { last_ms: 0, ..hits(row, n % 5 + 1, n % 5) };
    let batch =
        Batch { hits: (0..).zip(&variants).map(hit).collect(), ..sources((0..).zip(&names).map(new).collect()) };
    store.write(Batch { variants, ..batch }).await;
    for sort in [Sort::Hits, Sort::Bytes, Sort::Recent] {
        let mut query = SourceQuery { sort, prefix: url("page/"), limit: 77, cursor: None };
        let (mut urls, mut places) = (Vec::new(), Vec::new());
        loop {
            let page = store.store.sources(query.clone()).await.expect("an answer");
            assert!(page.sources.len() <= 77);
            for summary in page.sources {
                places.push(match sort {
                    Sort::Hits => summary.hits,
                    Sort::Bytes => summary.bytes,
                    Sort::Recent => summary.last_seen_ms,
                });
                urls.push(summary.url);
            }
            let Some(cursor) = page.cursor else { break };
            query.cursor = Some(Cursor::from_text(&cursor, sort).expect("its own cursor"));
        }
        assert!(places.is_sorted_by(|a, b| a >= b), "{sort:?}");
        urls.sort();
        assert_eq!(urls, names.iter().map(|name| url(name)).collect::<Vec<_>>(), "{sort:?}");
    }
}

async fn odd_values_come_back(store: &Opened) {
    let mut odd = record("odd");
    odd.validators.etag = Some("W/\"é'; DROP TABLE sources; --\"".into());
    (odd.bytes, odd.epoch, odd.decode_cost) = (0, 0, u64::from(u32::MAX) * 1_000);
    odd.lifetime.checked_at = now() + Duration::from_secs(99);
    odd.lifetime.ttl = Duration::ZERO;
    let name = "odd/%25_'\"\\?a=ü";
    store.write(sources(vec![source(name, odd.clone())])).await;
    assert_eq!(get(store, name).await, Some(odd));
    assert_eq!(found(store, name).await.len(), 1);
    assert!(found(store, "odd/%").await.len() == 1 && found(store, "odd/_").await.is_empty());
}

async fn what_was_not_seen_for_long_goes_with_its_rows(store: &Opened) {
    let old = now() - Duration::from_secs(1_000);
    let variants: Vec<_> = (0..30).map(|n| variant(&format!("gone/{n}"), 64, Avif, 10)).collect();
    let names = (0..30).map(|n| format!("gone/{n}"));
    let new = names.map(|name| NewSource {
        seen_at: old,
        ..source(&name, checked_later(&record(&name), Duration::from_secs(100)))
    });
    let before = store.store.stats().await.expect("an answer");
    let asked =
        variants.iter().map(|row| Asked { source: row.source, width: 9, requests: 1, exceeds: false }).collect();
    store.write(Batch { variants, asked, ..sources(new.collect()) }).await;
    let seen = variant("gone/7", 64, Avif, 10);
    store.write(Batch { hits: vec![hits(&seen, 1, 1)], ..Batch::default() }).await;
    let mut removed = Vec::new();
    loop {
        let count = store.store.expire(Some(now() - Duration::from_secs(500)), 10).await.expect("done");
        removed.push(count);
        if count < 10 {
            break;
        }
    }
    assert_eq!(removed, [10, 10, 9]);
    let left: Vec<_> = found(store, "gone/").await.into_iter().map(|summary| summary.url).collect();
    assert_eq!(left, [url("gone/7")]);
    assert!(store.store.variants(key("gone/8"), 10).await.expect("an answer").is_empty());
    let after = store.store.stats().await.expect("an answer");
    assert_eq!((after.sources, after.source_bytes), (before.sources + 1, before.source_bytes + 500_000));
    let avif = |stats: &pixgate::store::Stats| {
        let row = stats.formats.iter().find(|row| row.format == "avif").expect("there").clone();
        (row.variants, row.bytes, row.unused, row.unused_bytes)
    };
    let (variants, bytes, unused, unused_bytes) = avif(&before);
    // The one that is left was asked for once.
    assert_eq!(avif(&after), (variants + 1, bytes + 10, unused + 1, unused_bytes + 10));
}
