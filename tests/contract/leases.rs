//! Leases: one holder at a time, an end when the holder dies, and no release by anybody else.

use std::time::Duration;

use pixgate::cache::redis::{Lease, LeaseGuard, Settings};

use crate::harness::{Shared, settings, until};
use crate::support::RedisServer;

const KEY: [u8; 32] = [7; 32];
const LONG: Duration = Duration::from_secs(60);

async fn acquired(shared: &Shared, ttl: Duration) -> LeaseGuard {
    match shared.tier.lease(&KEY, ttl).await {
        Lease::Acquired(guard) => guard,
        other => panic!("{other:?}"),
    }
}

async fn is_held_by_another(shared: &Shared) -> bool {
    matches!(shared.tier.lease(&KEY, LONG).await, Lease::Held)
}

#[tokio::test]
async fn one_holder_at_a_time() {
    let server = RedisServer::start();
    let (first, second) = (Shared::over(&server).await, Shared::over(&server).await);
    assert_eq!(first.tier.lease_is_held(&KEY).await, Some(false));
    let guard = acquired(&first, LONG).await;
    assert!(is_held_by_another(&second).await && is_held_by_another(&first).await);
    assert_eq!(second.tier.lease_is_held(&KEY).await, Some(true));
    assert_eq!(second.tier.lease_is_held(&[8; 32]).await, Some(false), "another key is another lease");
    assert!(guard.is_held());
    assert!(guard.release().await);
    assert_eq!(second.tier.lease_is_held(&KEY).await, Some(false));

    let guard = acquired(&second, LONG).await;
    drop(guard);
    until("dropped is released", || server.keys("pixgate:3:lease:*").is_empty()).await;
    assert_eq!(first.metric("pixgate_leases_total{outcome=\"acquired\"}"), 1);
    assert_eq!(first.metric("pixgate_leases_total{outcome=\"held\"}"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_one_gets_it() {
    let server = RedisServer::start();
    let replicas = [Shared::over(&server).await, Shared::over(&server).await, Shared::over(&server).await];
    let asking = (0..99).map(|at| replicas[at % 3].tier.lease(&KEY, LONG));
    let leases = futures_util::future::join_all(asking).await;
    assert_eq!(leases.iter().filter(|lease| matches!(lease, Lease::Acquired(_))).count(), 1);
    assert_eq!(leases.iter().filter(|lease| matches!(lease, Lease::Held)).count(), 98);
}

#[tokio::test]
async fn it_is_renewed_while_it_is_held_and_ends_with_a_holder_who_dies() {
    let server = RedisServer::start();
    let (first, second) = (Shared::over(&server).await, Shared::over(&server).await);
    let guard = acquired(&first, Duration::from_millis(300)).await;
    let name = server.keys("pixgate:3:lease:*").remove(0);
    // Renewed at a third of its time, so its end is put off again and again.
    for _ in 0..5 {
        until("time passes", || server.ask(&format!("PTTL {name}")).number() < 240).await;
        until("it is renewed", || server.ask(&format!("PTTL {name}")).number() > 260).await;
    }
    assert!(is_held_by_another(&second).await && guard.is_held());
    // A process that dies neither renews nor releases; what it wrote last ends by itself.
    let token = server.ask(&format!("GET {name}")).text();
    assert!(guard.release().await);
    server.ask(&format!("SET {name} {token} PX 200"));
    assert!(is_held_by_another(&second).await);
    until("it has ended", || server.keys("pixgate:3:lease:*").is_empty()).await;
    assert!(acquired(&second, LONG).await.is_held());
}

#[tokio::test]
async fn only_its_holder_releases_and_a_lost_one_is_known() {
    let server = RedisServer::start();
    let shared = Shared::over(&server).await;
    let guard = acquired(&shared, Duration::from_millis(90)).await;
    let name = server.keys("pixgate:3:lease:*").remove(0);
    // As if it had ended and another had taken it.
    server.ask(&format!("SET {name} another PX 60000"));
    until("the loss is known", || !guard.is_held()).await;
    assert_eq!(shared.metric("pixgate_leases_total{outcome=\"lost\"}"), 1);
    assert!(!guard.release().await);
    assert_eq!(server.ask(&format!("GET {name}")).text(), "another", "the other's lease is untouched");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_everybody_leads() {
    let mut server = RedisServer::start();
    let shared = Shared::connected(&Settings { timeout: Duration::from_millis(100), ..settings(&server.url()) }).await;
    let guard = acquired(&shared, Duration::from_millis(300)).await;
    server.hang();
    assert!(matches!(shared.tier.lease(&[9; 32], LONG).await, Lease::Unavailable));
    until("a lease that cannot be renewed is given up", || !guard.is_held()).await;
    server.resume();
    shared.up().await;
    until("what was asked for in vain is given back", || server.keys("pixgate:3:lease:*").is_empty()).await;
    server.kill();
    shared.down().await;
    assert!(matches!(shared.tier.lease(&KEY, LONG).await, Lease::Unavailable));
    assert_eq!(shared.tier.lease_is_held(&KEY).await, None);
}
