//! A Redis that is killed, hangs, is full, returns garbage or is not there yet fails no picture. Law: hurt from outside,
//! under load, and well again afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::{on, replica, until_redis, written};
use crate::harness::app::{App, image};
use crate::harness::client::request;
use crate::harness::origin::{Origin, Reply};
use crate::harness::pictures::{busy, encoded, jpeg};
use crate::harness::redis::RedisServer;

/// Asks from 32 connections, a third of it cold, until told to stop; how many were answered, and what was no picture.
pub(crate) fn load(
    app: &App,
    origin: &Origin,
    stop: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<(u32, Vec<String>)>> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let base = origin.url("/");
    (0..32)
        .map(|_| {
            let (public, base, stop) = (app.public, base.clone(), Arc::clone(stop));
            tokio::spawn(async move {
                let (mut answered, mut failed) = (0, Vec::new());
                while !stop.load(Ordering::SeqCst) {
                    let n = NEXT.fetch_add(1, Ordering::SeqCst);
                    let source = if n.is_multiple_of(3) {
                        format!("{base}p{}.jpg?{n}", n % 20)
                    } else {
                        format!("{base}p{}.jpg", n % 20)
                    };
                    let answer = request(public, "GET", &image(&source, "w=64&f=webp"), &[], b"").await;
                    match answer {
                        Ok(answer) if answer.status == 200 => answered += 1,
                        Ok(answer) => failed.push(format!("{} {}", answer.status, answer.text())),
                        Err(error) => failed.push(error.to_string()),
                    }
                }
                (answered, failed)
            })
        })
        .collect()
}

pub(crate) async fn stop_load(
    load: Vec<tokio::task::JoinHandle<(u32, Vec<String>)>>,
    stop: &AtomicBool,
    what: &str,
) -> u32 {
    stop.store(true, Ordering::SeqCst);
    let mut answered = 0;
    for task in load {
        let (more, failed) = task.await.expect("no panic");
        assert!(failed.is_empty(), "{what}: {failed:?}");
        answered += more;
    }
    assert!(answered > 100, "{what}: only {answered} answers");
    answered
}

/// What goes wrong with a Redis, and what makes it well again.
async fn through(
    what: &str,
    arguments: &[&str],
    hurt: impl FnOnce(&mut RedisServer),
    heal: impl FnOnce(&mut RedisServer),
) {
    let mut redis = RedisServer::start_with(arguments);
    let origin = Origin::start().await;
    for n in 0..20 {
        // Distinct pictures, so that no variant is another's; the query makes sources that were never seen.
        origin
            .set(&format!("/p{n}.jpg"), Reply::new(encoded(&busy(160, 80, n), image::ImageFormat::Jpeg), "image/jpeg"));
    }
    // Memory holds nothing, so that every hit is Redis's.
    let app = replica(on(&redis).text("cache.memory_bytes", "0B")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(&app, &origin, &stop);
    tokio::time::sleep(Duration::from_millis(700)).await;
    hurt(&mut redis);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    heal(&mut redis);
    tokio::time::sleep(Duration::from_millis(700)).await;
    stop_load(load, &stop, what).await;
    until_redis(&app, "ok").await;
    let warnings = app.log().lines().filter(|line| line.contains("WARN")).count();
    assert!(warnings < 20, "{what}: a line a change of state, not a line a request:\n{}", app.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_fails_no_picture() {
    through("kill -9", &[], RedisServer::kill, RedisServer::restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_fails_no_picture() {
    through("SIGSTOP", &[], |redis| redis.hang(), |redis| redis.resume()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_full_fails_no_picture() {
    let fill = |redis: &mut RedisServer| {
        redis.ask("CONFIG SET maxmemory 1");
    };
    let empty = |redis: &mut RedisServer| {
        redis.ask("CONFIG SET maxmemory 0");
    };
    through("maxmemory", &[], fill, empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_returns_garbage_fails_no_picture() {
    let spoil = |redis: &mut RedisServer| {
        for (n, key) in redis.keys("pixgate:*").into_iter().enumerate() {
            let value: &[u8] = [&b"garbage"[..], b"", &[0xFF; 300]][n % 3];
            redis.command(&[b"SET", key.as_bytes(), value]);
        }
    };
    through("garbage", &[], spoil, |_| {}).await;
}

#[tokio::test]
async fn a_redis_that_is_not_there_at_start_is_found_later() {
    let mut redis = RedisServer::prepared(&[]);
    let origin = Origin::with("/a.jpg", jpeg(200, 100), "image/jpeg").await;
    let app = on(&redis).start().await;
    until_redis(&app, "degraded").await;
    assert_eq!(app.image(&origin.url("/a.jpg"), "w=64&f=png").await.status, 200);
    redis.restart();
    until_redis(&app, "ok").await;
    assert_eq!(app.image(&origin.url("/a.jpg"), "w=128&f=png").await.status, 200);
    written(&redis, 1).await;
    assert!((app.metric("pixgate_redis_up").await - 1.0).abs() < 0.1);
}
