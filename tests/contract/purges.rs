//! The ledger of purges and the notices of it: order, acknowledgement, and what a replica that was cut off learns.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pixgate::cache::redis::{Failure, Ledger, Notice, Rule, Settings};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use crate::harness::{Shared, settings, until};
use crate::support::RedisServer;

const SOON: Duration = Duration::from_secs(20);

/// A replica that listens.
pub(crate) struct Replica {
    pub(crate) shared: Shared,
    notices: Receiver<Notice>,
}

impl Replica {
    pub(crate) async fn new(settings: &Settings) -> Self {
        let shared = Shared::connected(settings).await;
        let notices = shared.tier.notices();
        Self { shared, notices }
    }

    pub(crate) async fn next(&mut self) -> Notice {
        timeout(SOON, self.notices.recv()).await.expect("a notice in time").expect("a notice")
    }

    pub(crate) async fn connected(&mut self) -> Ledger {
        match self.next().await {
            Notice::Connected(ledger) => ledger,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn rule(&mut self) -> Rule {
        match self.next().await {
            Notice::Rule(rule) => rule,
            other => panic!("{other:?}"),
        }
    }

    /// Answers every rule from now on.
    pub(crate) fn obey(mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            while let Some(notice) = self.notices.recv().await {
                if let Notice::Rule(rule) = notice {
                    self.shared.tier.acknowledge(rule.epoch).await;
                }
            }
        })
    }
}

fn texts(ledger: &Ledger) -> Vec<&str> {
    ledger.rules.iter().map(|rule| std::str::from_utf8(&rule.rule).expect("text")).collect()
}

#[tokio::test]
async fn rules_are_kept_in_order_and_told_to_all() {
    let server = RedisServer::start();
    let mut replicas = [Replica::new(&settings(&server.url())).await, Replica::new(&settings(&server.url())).await];
    let mut ids = Vec::new();
    for replica in &mut replicas {
        let ledger = replica.connected().await;
        // What was purged before there was a ledger is unknown.
        assert!(ledger.floor > 1_700_000_000_000 && ledger.rules.is_empty(), "{ledger:?}");
        ids.push(ledger.id);
    }
    assert_eq!(ids[0], ids[1]);
    let rules = ["url https://a.example/x", "", "with\r\nbytes \u{0}:1:2", "all"];
    let mut epochs = Vec::new();
    for rule in rules {
        let appended = replicas[0].shared.tier.ledger_append(rule.into(), Duration::ZERO).await.expect("appended");
        epochs.push(appended.epoch);
        for replica in &mut replicas {
            let told = replica.rule().await;
            assert_eq!((told.epoch, told.rule), (appended.epoch, Bytes::from(rule)));
        }
    }
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
    let tier = &replicas[1].shared.tier;
    let all = tier.ledger_since(0).await.expect("a ledger");
    assert_eq!((texts(&all), &all.id), (rules.to_vec(), &ids[0]));
    assert_eq!(texts(&tier.ledger_since(epochs[1]).await.expect("a ledger")), rules[2..]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    assert!(now.abs_diff(epochs[0].into()) < 60_000, "an epoch is about the time");

    // Who comes later reads what was before.
    let mut late = Replica::new(&settings(&server.url())).await;
    assert_eq!(texts(&late.connected().await), rules);
}

#[tokio::test]
async fn a_ledger_that_was_restored_from_an_older_copy_is_replaced_by_one_that_trusts_nothing_older() {
    let server = RedisServer::start();
    let mut replica = Replica::new(&settings(&server.url())).await;
    let before = replica.connected().await;
    let appended = replica.shared.tier.ledger_append("lost".into(), Duration::ZERO).await.expect("appended");
    assert_eq!(replica.rule().await.epoch, appended.epoch);
    // What a snapshot from before the rule brings back.
    server.ask(&format!("ZREMRANGEBYSCORE pixgate:3:ledger {0} {0}", appended.epoch));
    let after = replica.connected().await;
    assert_ne!(after.id, before.id);
    assert!(after.floor > appended.epoch && after.rules.is_empty(), "{after:?}");
}

#[tokio::test]
async fn a_full_redis_without_a_ledger_is_not_listened_to() {
    let server = RedisServer::start_with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    let shared = Shared::connected(&settings(&server.url())).await;
    assert!(matches!(shared.tier.ledger_since(0).await, Err(Failure::Refused(_))));
    let mut notices = shared.tier.notices();
    assert!(timeout(Duration::from_secs(2), notices.recv()).await.is_err(), "no ledger, no notice");
    server.ask("CONFIG SET maxmemory 0");
    let notice = timeout(SOON, notices.recv()).await.expect("a notice in time");
    assert!(matches!(notice, Some(Notice::Connected(_))), "{notice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_appends_waits_for_those_who_listen_and_not_for_longer() {
    let server = RedisServer::start();
    let mut asking = Replica::new(&settings(&server.url())).await;
    let mut obeying = Vec::new();
    for _ in 0..2 {
        let mut replica = Replica::new(&settings(&server.url())).await;
        replica.connected().await;
        obeying.push(replica.obey());
    }
    asking.connected().await;
    let tier = std::sync::Arc::clone(&asking.shared.tier);
    let asked = asking.obey();
    let appended = tier.ledger_append("a".into(), SOON).await.expect("appended");
    assert_eq!((appended.replicas, appended.acknowledged), (3, 3));

    let mut deaf = Replica::new(&settings(&server.url())).await;
    deaf.connected().await;
    let started = Instant::now();
    let appended = tier.ledger_append("b".into(), Duration::from_millis(300)).await.expect("appended");
    assert_eq!((appended.replicas, appended.acknowledged), (4, 3));
    assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < Duration::from_secs(3));

    // A replica that is gone is not waited for, once it was not seen for a while.
    drop(deaf);
    until("it is forgotten", || {
        let now: i64 = server.ask("TIME").text().lines().next().and_then(|s| s.parse().ok()).expect("seconds");
        server.ask(&format!("ZCOUNT {{pixgate:3:ledger}}:replicas {} +inf", (now - 4) * 1000)).number() == 3
    })
    .await;
    let appended = tier.ledger_append("c".into(), SOON).await.expect("appended");
    assert_eq!(appended.acknowledged, 3);
    asked.abort();
    obeying.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_cut_off_learns_what_it_missed() {
    let server = RedisServer::start();
    let mut cut_off = Replica::new(&settings(&server.url())).await;
    let before = cut_off.connected().await;
    let other = Shared::over(&server).await;
    other.tier.ledger_append("heard".into(), Duration::ZERO).await.expect("appended");
    let heard = cut_off.rule().await;
    // Its subscription is closed from outside, and a rule comes before it is there again.
    server.ask("CLIENT KILL TYPE pubsub");
    other.tier.ledger_append("missed".into(), Duration::ZERO).await.expect("appended");
    assert_eq!(cut_off.next().await, Notice::Lost);
    let after = cut_off.connected().await;
    assert_eq!((texts(&after), &after.id), (vec!["heard", "missed"], &before.id));
    assert_eq!(after.rules[0], heard);
    other.tier.ledger_append("again".into(), Duration::ZERO).await.expect("appended");
    assert_eq!(cut_off.rule().await.rule, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_gets_lost_is_made_good() {
    let server = RedisServer::start();
    let mut replica = Replica::new(&settings(&server.url())).await;
    replica.connected().await;
    // As the ledger is after a rule whose message was lost between the nodes of a Cluster.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let epoch = now.as_millis() as u64 + 3_600_000;
    server.ask(&format!("ZADD pixgate:3:ledger {epoch} {epoch}:lost"));
    assert_eq!(replica.rule().await, Rule { epoch, rule: "lost".into() });
    server.ask(&format!("ZADD pixgate:3:ledger {0} {0}:lost-too", epoch + 5));
    let appended = replica.shared.tier.ledger_append("heard".into(), Duration::ZERO).await.expect("appended");
    assert_eq!(appended.epoch, epoch + 6, "epochs never fall behind those there are");
    assert_eq!((replica.rule().await.rule, replica.rule().await.rule), ("lost-too".into(), "heard".into()));
    // Told twice is heard once.
    server.ask(&format!("PUBLISH pixgate:3:purge {epoch}:{0}:lost-too", epoch + 5));
    server.ask("PUBLISH pixgate:3:purge nonsense");
    replica.shared.tier.ledger_append("last".into(), Duration::ZERO).await.expect("appended");
    assert_eq!(replica.rule().await.rule, "last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ledger_is_another_ledger() {
    let mut server = RedisServer::start();
    let mut replica = Replica::new(&settings(&server.url())).await;
    let first = replica.connected().await;
    replica.shared.tier.ledger_append("a".into(), Duration::ZERO).await.expect("appended");
    replica.rule().await;
    server.ask("FLUSHALL");
    let second = replica.connected().await;
    assert!(second.id != first.id && second.rules.is_empty());
    // Something else in its place is a lost ledger too.
    server.ask("SET pixgate:3:ledger garbage");
    let third = replica.connected().await;
    assert!(third.id != second.id);
    server.restart();
    assert_eq!(replica.next().await, Notice::Lost);
    let fourth = replica.connected().await;
    assert!(fourth.id != third.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_server_is_noticed_and_survived() {
    let server = RedisServer::start();
    let quick = Settings { timeout: Duration::from_millis(100), ..settings(&server.url()) };
    let mut replica = Replica::new(&quick).await;
    replica.connected().await;
    server.hang();
    let started = Instant::now();
    assert_eq!(replica.next().await, Notice::Lost);
    assert!(started.elapsed() < Duration::from_millis(2_500), "{:?}", started.elapsed());
    let refused = replica.shared.tier.ledger_append("in vain".into(), Duration::ZERO).await;
    assert!(matches!(refused, Err(Failure::Timeout | Failure::Away)), "{refused:?}");
    server.resume();
    replica.connected().await;
}

#[tokio::test]
async fn old_rules_are_taken_out_and_the_floor_says_so() {
    let server = RedisServer::start();
    let shared = Shared::connected(&Settings { ttl: Duration::from_secs(3600), ..settings(&server.url()) }).await;
    let first = shared.tier.ledger_append("first".into(), Duration::ZERO).await.expect("appended").epoch;
    // A ledger of long ago.
    let id = shared.tier.ledger_since(0).await.expect("a ledger").id;
    server.ask(&format!("ZADD pixgate:3:ledger 0 {id}"));
    // Older than any value can be.
    let old = first - 4_000_000;
    server.ask(&format!("ZADD pixgate:3:ledger {old} {old}:old"));
    assert_eq!(shared.tier.ledger_since(0).await.expect("a ledger").floor, 0);
    shared.tier.ledger_append("second".into(), Duration::ZERO).await.expect("appended");
    let ledger = shared.tier.ledger_since(0).await.expect("a ledger");
    assert_eq!((texts(&ledger), ledger.floor), (vec!["first", "second"], old));

    // More than are kept.
    let mut fill = String::from("ZADD pixgate:3:ledger");
    for at in 1..=10_000 {
        fill.push_str(&format!(" {0} {0}:fill", first - 20_000 + at));
    }
    server.ask(&fill);
    shared.tier.ledger_append("third".into(), Duration::ZERO).await.expect("appended");
    let ledger = shared.tier.ledger_since(0).await.expect("a ledger");
    assert_eq!(ledger.rules.len(), 10_000);
    assert_eq!(ledger.floor, first - 20_000 + 3, "the three oldest made room");
    assert_eq!(ledger.rules[0].epoch, ledger.floor + 1);
    let id = ledger.id;
    assert_eq!(shared.tier.ledger_since(first).await.expect("a ledger").id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_does_not_cut_anybody_off() {
    let server = RedisServer::start();
    let mut replica = Replica::new(&settings(&server.url())).await;
    replica.connected().await;
    server.ask("CONFIG SET maxmemory 1kb");
    let refused = replica.shared.tier.ledger_append("no room".into(), Duration::ZERO).await;
    assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
    let beats = server.calls("evalsha");
    until("two beats", || server.calls("evalsha") >= beats + 2).await;
    server.ask("CONFIG SET maxmemory 0");
    replica.shared.tier.ledger_append("room".into(), Duration::ZERO).await.expect("appended");
    assert_eq!(replica.rule().await.rule, "room", "it was connected all the time");
}
