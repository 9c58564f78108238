//! A Redis that others can write to. Law: with `redis.integrity_key`, what was not written with it is no value and no purge;
//! and an epoch that is far ahead stops no purge after it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pixgate::cache::CacheTier as _;
use pixgate::cache::redis::Settings;
use pixgate::telemetry::Secret;
use pixgate::variant::VariantKey;

use crate::harness::{Sample, Shared, settings, variant};
use crate::purges::Replica;
use crate::support::RedisServer;

/// A day and an hour, in milliseconds.
const FAR: u64 = 25 * 3_600_000;

fn with_key(server: &RedisServer, key: &str) -> Settings {
    Settings { integrity_key: Some(Secret::new(key)), ..settings(&server.url()) }
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

async fn put(shared: &Shared, sample: &Sample) {
    shared.tier.put_record(sample.source, Arc::clone(&sample.record));
    shared.tier.put_variant(sample.source, sample.wish, sample.variant, Arc::clone(&sample.entry));
    shared.tier.settled().await;
}

fn name(key: &VariantKey) -> String {
    format!("pixgate:3:variant:{}", URL_SAFE_NO_PAD.encode(key.as_bytes()))
}

#[tokio::test]
async fn what_others_wrote_is_no_value() {
    let server = RedisServer::start();
    let ours =
        [Shared::connected(&with_key(&server, "ours")).await, Shared::connected(&with_key(&server, "ours")).await];
    let (theirs, none) = (Shared::connected(&with_key(&server, "theirs")).await, Shared::over(&server).await);
    let (sample, other) = (Sample::new("sample"), Sample::new("other"));
    put(&ours[0], &sample).await;
    put(&ours[0], &other).await;
    let found = ours[1].tier.look_up(sample.source, sample.wish, &variant).await;
    assert_eq!(found.entry.as_ref(), Some(&sample.entry));
    // Whole, with its proof, and of another name.
    server.ask(&format!("COPY {} {} REPLACE", name(&other.variant), name(&sample.variant)));
    assert_eq!(ours[1].tier.variant(sample.variant).await, None);
    assert_eq!(ours[1].lookups("bad"), 1);
    // What is not ours is taken away, so that it is made again.
    ours[1].tier.settled().await;
    assert_eq!(server.ask(&format!("EXISTS {}", name(&sample.variant))), crate::support::Reply::Number(0));
    for stranger in [&theirs, &none] {
        stranger.tier.put_variant(sample.source, sample.wish, sample.variant, Arc::clone(&sample.entry));
        stranger.tier.settled().await;
        assert_eq!(ours[0].tier.variant(sample.variant).await, None);
        ours[0].tier.settled().await;
    }
}

#[tokio::test]
async fn what_others_purge_is_not_purged() {
    let server = RedisServer::start();
    let mut ours = Replica::new(&with_key(&server, "ours")).await;
    ours.connected().await;
    let forged = now_ms() + 1_000;
    for rule in ["all", "00112233445566778899aabbccddeeffall"] {
        server.ask(&format!("PUBLISH pixgate:3:purge 0:{forged}:{rule}"));
        server.ask(&format!("ZADD pixgate:3:ledger {forged} {forged}:{rule}"));
    }
    let none = Shared::over(&server).await;
    none.tier.ledger_append("all".into(), Duration::ZERO).await.expect("appended");
    let tier = Arc::clone(&ours.shared.tier);
    let appended = tier.ledger_append("ours".into(), Duration::ZERO).await.expect("appended");
    let rule = ours.rule().await;
    assert_eq!((rule.epoch, &*rule.rule), (appended.epoch, &b"ours"[..]), "the first that is heard");
    let mut late = Replica::new(&with_key(&server, "ours")).await;
    let ledger = late.connected().await;
    assert_eq!(ledger.rules.iter().map(|rule| &*rule.rule).collect::<Vec<_>>(), [b"ours"]);
}

#[tokio::test]
async fn an_epoch_that_is_far_ahead_is_not_believed() {
    let server = RedisServer::start();
    let mut replica = Replica::new(&settings(&server.url())).await;
    let before = replica.connected().await;
    let far = now_ms() + FAR;
    server.ask(&format!("PUBLISH pixgate:3:purge 0:{far}:all"));
    let appended = replica.shared.tier.ledger_append("near".into(), Duration::ZERO).await.expect("appended");
    let rule = replica.rule().await;
    assert_eq!((rule.epoch, &*rule.rule), (appended.epoch, &b"near"[..]), "the first that is heard");
    // Every epoch after it would be far ahead too.
    server.ask(&format!("ZADD pixgate:3:ledger {far} {far}:all"));
    let after = replica.connected().await;
    assert!(after.id != before.id && after.rules.is_empty() && after.floor < now_ms() + 60_000, "{after:?}");
    let appended = replica.shared.tier.ledger_append("then".into(), Duration::ZERO).await.expect("appended");
    assert!(appended.epoch < now_ms() + 60_000);
    assert_eq!(replica.rule().await.epoch, appended.epoch);
}
