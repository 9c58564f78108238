//! The same tier over TLS, behind a Sentinel and over a Cluster: the contract's cases, leases, purges, and a master that
//! is replaced.

use std::process::Command;
use std::time::Duration;

use pixgate::cache::redis::{Lease, Settings};

use crate::cases;
use crate::harness::{Shared, settings, until};
use crate::purges::Replica;
use crate::support::{RedisServer, free_port};

const KEY: [u8; 32] = [5; 32];

/// What is beyond the cases: a lease, and a purge that two replicas hear and acknowledge.
async fn leases_and_purges(settings: &Settings) {
    let (mut first, mut second) = (Replica::new(settings).await, Replica::new(settings).await);
    assert_eq!(first.connected().await.id, second.connected().await.id);
    let lease = first.shared.tier.lease(&KEY, Duration::from_secs(60)).await;
    let Lease::Acquired(guard) = lease else { panic!("{lease:?}") };
    assert!(matches!(second.shared.tier.lease(&KEY, Duration::from_secs(60)).await, Lease::Held));
    assert!(guard.release().await);
    assert_eq!(second.shared.tier.lease_is_held(&KEY).await, Some(false));

    let tier = std::sync::Arc::clone(&first.shared.tier);
    let tasks = [first.obey(), second.obey()];
    for rule in ["one", "two"] {
        let appended = tier.ledger_append(rule.into(), Duration::from_secs(20)).await.expect("appended");
        assert_eq!((appended.replicas, appended.acknowledged), (2, 2), "{rule}");
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let pem = key.cert.pem();
    let mut server = RedisServer::prepared(&[]);
    let (certificate, private) = (server.dir().join("cert.pem"), server.dir().join("key.pem"));
    std::fs::write(&certificate, &pem).expect("written");
    std::fs::write(&private, key.signing_key.serialize_pem()).expect("written");
    let tls_port = free_port();
    let mut command = Command::new("redis-server");
    command.args(["--port", &server.port.to_string(), "--tls-port", &tls_port.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--tls-auth-clients", "no", "--tls-cert-file"]).arg(certificate);
    command.arg("--tls-key-file").arg(private).arg("--dir").arg(server.dir());
    server.spawn(command);
    assert!(server.wait_until_ready(), "{}", server.log());

    let url = format!("rediss://localhost:{tls_port}");
    let trusting = Settings { ca_pem: Some(pem.into_bytes()), ..settings(&url) };
    let shared = Shared::connected(&trusting).await;
    cases::all(&*shared.tier).await;
    leases_and_purges(&trusting).await;

    // The system's trust does not know it.
    let wary = Shared::new(&settings(&url));
    until("the certificate is refused", || wary.metric("pixgate_redis_breaker") == 2).await;
    assert!(!wary.tier.is_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinel() {
    let mut master = RedisServer::start();
    let replica = RedisServer::start();
    assert_eq!(replica.ask(&format!("REPLICAOF 127.0.0.1 {}", master.port)).text(), "OK");
    until("the replica is in step", || replica.ask("INFO replication").text().contains("master_link_status:up")).await;

    let mut sentinel = RedisServer::prepared(&[]);
    let config = sentinel.dir().join("sentinel.conf");
    let text = format!(
        "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {} 1\n\
         sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
        sentinel.port,
        sentinel.dir().display(),
        master.port
    );
    std::fs::write(&config, text).expect("written");
    let mut command = Command::new("redis-server");
    command.arg(&config).arg("--sentinel");
    sentinel.spawn(command);
    assert!(sentinel.wait_until_ready(), "{}", sentinel.log());
    until("the sentinel knows the replica", || sentinel.ask("SENTINEL MASTER main").text().contains("num-slaves\n1\n"))
        .await;

    // The first of the sentinels is not there.
    let url = format!("redis+sentinel://127.0.0.1:{},127.0.0.1:{}/main", free_port(), sentinel.port);
    let quick = Settings { timeout: Duration::from_millis(500), ..settings(&url) };
    let shared = Shared::connected(&settings(&url)).await;
    cases::all(&*shared.tier).await;
    leases_and_purges(&quick).await;
    assert!(!master.keys("pixgate:3:variant:*").is_empty());

    let mut listening = Replica::new(&quick).await;
    listening.connected().await;
    master.kill();
    until("the replica is promoted", || replica.ask("ROLE").text().starts_with("master")).await;
    shared.down().await;
    shared.up().await;
    cases::again(&*shared.tier).await;
    assert_eq!(listening.next().await, pixgate::cache::redis::Notice::Lost);
    listening.connected().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster() {
    let servers: Vec<_> = (0..3)
        .map(|_| RedisServer::start_with(&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]))
        .collect();
    for (server, slots) in servers.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
        assert_eq!(server.ask(&format!("CLUSTER ADDSLOTSRANGE {slots}")).text(), "OK");
        assert_eq!(server.ask(&format!("CLUSTER MEET 127.0.0.1 {}", servers[0].port)).text(), "OK");
    }
    for server in &servers {
        until("the cluster is whole", || {
            let info = server.ask("CLUSTER INFO").text();
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        })
        .await;
    }
    let url = format!("redis-cluster://127.0.0.1:{},127.0.0.1:{}", servers[0].port, servers[1].port);
    let settings = settings(&url);
    let shared = Shared::connected(&settings).await;
    cases::all(&*shared.tier).await;
    assert_eq!((shared.lookups("error"), shared.lookups("bad"), shared.writes("error")), (0, 0, 0));
    for server in &servers {
        assert!(!server.keys("pixgate:3:variant:*").is_empty(), "every node has its part");
    }
    leases_and_purges(&settings).await;
}
