//! The schema: from every earlier version to the newest, by several at once, and never from a newer one.

use std::borrow::Cow;

use pixgate::store::SCHEMA_VERSION;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _, SqlitePool};

use crate::harness::{Folder, Opened, by_hand, key, settings, until};
use crate::support::PostgresServer;

/// As they are; that they are what was released is for the digests to say.
const FILES: [&str; 4] = [
    include_str!("../../src/store/migrations/0001_records.sql"),
    include_str!("../../src/store/migrations/0002_questions.sql"),
    include_str!("../../src/store/migrations/0003_quality.sql"),
    include_str!("../../src/store/migrations/0004_starts.sql"),
];
const NAMES: [&str; 4] = ["records", "questions", "quality", "starts"];

/// SHA-256 of each as it was released: a database that has run one never runs it again, so a change of it reaches nobody
/// and makes a difference between old databases and new ones. A new version adds a line and changes none.
const RELEASED: [&str; 4] = [
    "56763cf0c89f5cc64756dec08cdeb425c9d4ccf3b2584d3afd0a0a8feee567c5",
    "696b5ec38a6e0f4a6b8cd52146bd238d9ab6f0a8c31602ec1b1792dddd438ff7",
    "75a150cd2ec05775e10c27f6047c8cc42c9cc0952c30e8c23e83ca9ac2e22e50",
    "f03ea9604fdf67de1150cfddb9b767a8168f34faf4401ee9e8ee617e1a94cafc",
];

#[test]
fn what_was_released_is_not_changed() {
    use sha2::{Digest as _, Sha256};
    let digests = FILES.map(|file| Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    assert_eq!(digests, RELEASED);
    assert_eq!(SCHEMA_VERSION, 4);
}

fn migrator(bytes: &str, text: &str) -> Migrator {
    let migrations = (1..).zip(NAMES.iter().zip(FILES)).map(|(version, (name, file))| {
        let sql = AssertSqlSafe(file.replace("{bytes}", bytes).replace("{text}", text)).into_sql_str();
        Migration::new(version, Cow::Borrowed(*name), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name("pixgate_migrations");
    migrator
}

/// What version 1 could hold: one source with two variants, one of them used, and a width.
fn rows() -> String {
    let hex = |name: &str| key(name).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (source, one, two) = (hex("old"), hex("one"), hex("two"));
    format!(
        "INSERT INTO sources (source_key, url, host, content, format, width, height, has_alpha, frames, bytes, decode_cost, \
         checked_at, ttl_ns, early_ns, stale_while_revalidate_ns, stale_if_error_ns, storable, epoch, first_seen, last_seen, \
         requests, hits) VALUES (X'{source}', 'https://images.example.com/old', 'images.example.com', X'{one}', 'jpeg', 800, \
         600, 0, 1, 5000, 9, 1, 2, 3, 4, 5, 1, 7, 8, 9, 12, 10);
         INSERT INTO variants (source_key, variant_key, content, output, format, geometry, width, height, bytes, render_us, \
         created_at, requests, hits) VALUES \
         (X'{source}', X'{one}', X'{one}', 'still', 'avif', 'scale', 10, 20, 1000, 700, 1, 12, 10), \
         (X'{source}', X'{two}', X'{one}', 'still', 'avif', 'scale', 20, 40, 2000, NULL, 1, 0, 0);
         INSERT INTO widths (source_key, width, requests, exceeds) VALUES (X'{source}', 10, 5, 0), (X'{source}', 900, 7, 1);"
    )
}

/// What the newest version says of those rows.
async fn is_whole(opened: &Opened, from: i64) {
    if from == 0 {
        assert_eq!(opened.store.stats().await.expect("an answer").sources, 0);
        return;
    }
    let record = opened.store.record(key("old")).await.expect("the record is there");
    assert_eq!((record.width, record.epoch, record.validators.is_empty()), (800, 7, true));
    let stats = opened.store.stats().await.expect("an answer");
    assert_eq!((stats.sources, stats.source_bytes), (1, 5_000), "from version {from}");
    let avif = &stats.formats[0];
    assert_eq!((avif.variants, avif.bytes, avif.renders, avif.render_us, avif.render_pixels), (2, 3_000, 1, 700, 200));
    assert_eq!((avif.requests, avif.hits, avif.served_bytes, avif.saved_bytes), (12, 10, 12_000, 48_000));
    assert_eq!((avif.unused, avif.unused_bytes), (1, 2_000));
    let widths: Vec<_> = stats.widths.iter().map(|row| (row.width, row.requests, row.exceeding)).collect();
    assert_eq!(widths, [(900, 7, 7), (10, 5, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_comes_up_from_every_version() {
    for from in 0..SCHEMA_VERSION {
        let folder = Folder::new();
        let pool = SqlitePool::connect(&format!("{}?mode=rwc", folder.url())).await.expect("a file");
        let migrator = migrator("BLOB", "TEXT");
        migrator.run_to(from.min(1), &pool).await.expect("migrated");
        if from > 0 {
            pool.execute(AssertSqlSafe(rows())).await.expect("filled");
        }
        migrator.run_to(from, &pool).await.expect("migrated further");
        pool.close().await;
        is_whole(&Opened::over(&folder.url()).await, from).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_comes_up_from_every_version() {
    for from in 0..SCHEMA_VERSION {
        let server = PostgresServer::start();
        let pool = by_hand(&server).await;
        let migrator = migrator("BYTEA", "TEXT COLLATE \"C\"");
        migrator.run_to(from.min(1), &pool).await.expect("migrated");
        if from > 0 {
            let rows = rows().replace("X'", "'\\x");
            pool.execute(AssertSqlSafe(rows)).await.expect("filled");
        }
        migrator.run_to(from, &pool).await.expect("migrated further");
        is_whole(&Opened::over(&server.url()).await, from).await;
    }
}

const NEWER: &str = "INSERT INTO pixgate_migrations (version, description, success, checksum, execution_time) \
                     VALUES (99, 'from the future', TRUE, '', 0)";

async fn is_refused(url: &str) {
    let opened = Opened::new(settings(url));
    let said = || opened.store.trouble().is_some_and(|trouble| trouble.contains("schema 99"));
    until("the newer schema is refused", said).await;
    assert!(!opened.store.is_up());
    assert_eq!(opened.store.record(key("any")).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_left_alone() {
    let folder = Folder::new();
    Opened::over(&folder.url()).await.store.close().await;
    let pool = SqlitePool::connect(&folder.url()).await.expect("a file");
    pool.execute(NEWER).await.expect("written");
    pool.close().await;
    is_refused(&folder.url()).await;

    let server = PostgresServer::start();
    Opened::over(&server.url()).await.store.close().await;
    by_hand(&server).await.execute(NEWER).await.expect("written");
    is_refused(&server.url()).await;
}

async fn all_come_up(url: &str) {
    let opened: Vec<_> = (0..6).map(|_| Opened::new(settings(url))).collect();
    for one in &opened {
        one.up().await;
        assert_eq!(one.store.stats().await.expect("an answer").sources, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_may_start_at_once_on_an_empty_database() {
    let folder = Folder::new();
    all_come_up(&folder.url()).await;
    let server = PostgresServer::start();
    all_come_up(&server.url()).await;
    let log = server.log();
    assert!(!log.contains("already exists"), "nobody did what another had done:\n{log}");
}
