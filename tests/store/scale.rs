//! 100,000 sources and 1,000,000 variants: every question is answered from an index or a table of sums. Law: the plans are
//! looked at with few rows in every run, the times with all rows when asked for.

use std::time::{Duration, Instant};

use pixgate::store::{Cursor, Sort, SourceQuery};
use sqlx::{AssertSqlSafe, Executor as _, SqlitePool};

use crate::harness::{Folder, Opened, by_hand, key};
use crate::support::PostgresServer;

const LIMIT: Duration = Duration::from_millis(100);

/// Rows made by the database itself: `{numbers}` is its series from 0 up to `{count}`, `{hash}` makes a key of a number.
const FILL: &str = "
INSERT INTO sources (source_key, url, host, content, format, width, height, has_alpha, frames, bytes, decode_cost, checked_at,
    ttl_ns, early_ns, stale_while_revalidate_ns, stale_if_error_ns, storable, epoch, first_seen, last_seen, requests, hits)
SELECT {hash:n}, 'https://' || 'host' || (n % 50) || '.example.com/pictures/' || n || '.jpg', 'host' || (n % 50) || '.example.com',
    {hash:n}, 'jpeg', 4000, 3000, 0, 1, 100000 + (n * 7919) % 900000, 9, 1, 2, 3, 4, 5, 1, 7, 8, 1000000 + (n * 104729) % 1000000,
    (n * 31) % 10007, (n * 31) % 10007 FROM {numbers:sources};
INSERT INTO variants (source_key, variant_key, content, output, format, geometry, width, height, quality, bytes, render_us,
    created_at, last_hit, requests, hits)
SELECT {hash:n / 10}, {hash:n}, {hash:n / 10}, 'still', CASE WHEN n % 2 = 0 THEN 'avif' ELSE 'webp' END, 'scale',
    100 + n % 10 * 100, 100, 75, 1000 + (n * 7919) % 90000, 20000, 1, 1, n % 3, n % 3 FROM {numbers:variants};
INSERT INTO widths (source_key, width, requests, exceeds)
SELECT {hash:n / 5}, 100 + n % 5 * 1000, 1 + (n * 7919) % 1000, CASE WHEN n % 5 = 4 THEN 1 ELSE 0 END FROM {numbers:widths};
DELETE FROM totals; DELETE FROM formats; DELETE FROM asked;
";
/// The sums over it, as the migration makes them.
const SUMS: &str = include_str!("../../src/store/migrations/0002_questions.sql");

fn fill(sources: u64, hash: &str, numbers: &str) -> String {
    let mut sql = FILL.to_owned();
    for (name, expression) in [("{hash:n}", "n"), ("{hash:n / 10}", "n / 10"), ("{hash:n / 5}", "n / 5")] {
        sql = sql.replace(name, &hash.replace("{n}", expression));
    }
    for (name, count) in [("sources", sources), ("variants", sources * 10), ("widths", sources * 5)] {
        sql = sql.replace(&format!("{{numbers:{name}}}"), &numbers.replace("{count}", &(count - 1).to_string()));
    }
    let sums = SUMS.split("INSERT INTO totals").nth(1).and_then(|text| text.split("CREATE INDEX").next());
    format!("{sql} INSERT INTO totals{}", sums.expect("sums"))
}

/// Thirty-two octets that begin with the number, spread over the index as hashes are.
const SQLITE_HASH: &str = "CAST(printf('%08x%024d', ({n}) * 2654435761 % 4294967296, {n}) AS BLOB)";
const SQLITE_NUMBERS: &str = "(WITH RECURSIVE series (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series WHERE n < {count}) SELECT n FROM series)";
const POSTGRES_HASH: &str = "sha256(convert_to(({n})::text, 'UTF8'))";
const POSTGRES_NUMBERS: &str = "generate_series(0::bigint, {count}) AS series (n)";

async fn sqlite(sources: u64) -> (Folder, Opened, SqlitePool) {
    let folder = Folder::new();
    let opened = Opened::over(&folder.url()).await;
    let pool = SqlitePool::connect(&folder.url()).await.expect("a file");
    let sql = format!("BEGIN; {}; COMMIT;", fill(sources, SQLITE_HASH, SQLITE_NUMBERS));
    pool.execute(AssertSqlSafe(sql)).await.expect("filled");
    (folder, opened, pool)
}

async fn postgres(sources: u64) -> (PostgresServer, Opened, sqlx::PgPool) {
    let server = PostgresServer::start();
    let opened = Opened::over(&server.url()).await;
    let pool = by_hand(&server).await;
    pool.execute(AssertSqlSafe(fill(sources, POSTGRES_HASH, POSTGRES_NUMBERS))).await.expect("filled");
    // As the server does by itself a minute after.
    pool.execute("VACUUM ANALYZE").await.expect("analysed");
    (server, opened, pool)
}

/// Every question, by name: its longest time of a few, without the first.
async fn times(opened: &Opened, any_url: String) -> Vec<(String, Duration)> {
    let mut all = Vec::new();
    let base = SourceQuery { limit: 100, ..SourceQuery::default() };
    let mut queries = Vec::new();
    for sort in [Sort::Hits, Sort::Bytes, Sort::Recent] {
        let page = opened.store.sources(SourceQuery { sort, ..base.clone() }).await.expect("an answer");
        let mut cursor = page.cursor.map(|text| Cursor::from_text(&text, sort).expect("its own"));
        // Somewhere deep in the list.
        for _ in 0..20 {
            let query = SourceQuery { sort, limit: 1_000, cursor, ..base.clone() };
            let page = opened.store.sources(query).await.expect("an answer");
            cursor = page.cursor.map(|text| Cursor::from_text(&text, sort).expect("its own")).or(cursor);
        }
        let named = |what: &str, query: SourceQuery| (format!("sources by {sort:?}, {what}"), query);
        let with = |prefix: &str| SourceQuery { sort, prefix: prefix.into(), ..base.clone() };
        queries.push(named("first page", SourceQuery { sort, ..base.clone() }));
        queries.push(named("deep page", SourceQuery { sort, cursor, ..base.clone() }));
        queries.push(named("a host", with("https://host7.example.com/")));
        queries.push(named("everything by prefix", with("https://")));
        queries.push(named("nothing by prefix", with("https://nobody.example.com/")));
        queries.push(named("one by prefix", with(&any_url)));
    }
    for (name, query) in queries {
        let mut longest = Duration::ZERO;
        for turn in 0..6 {
            let began = Instant::now();
            opened.store.sources(query.clone()).await.expect("an answer");
            longest = if turn == 0 { longest } else { longest.max(began.elapsed()) };
        }
        all.push((name, longest));
    }
    let mut longest = [Duration::ZERO; 3];
    for turn in 0..10 {
        let began = Instant::now();
        let stats = opened.store.stats().await.expect("an answer");
        let after = Instant::now();
        assert_eq!((stats.top_sources.len(), stats.unused.len(), stats.exceeding.len()), (10, 10, 10));
        opened.store.variants(pixgate::record::SourceKey::of_normalised(&any_url), 1_000).await.expect("an answer");
        let last = Instant::now();
        opened.store.record(key("missing")).await;
        if turn > 0 {
            let took = [after - began, last - after, last.elapsed()];
            longest = std::array::from_fn(|at| longest[at].max(took[at]));
        }
    }
    let names = ["stats", "variants", "record"].map(str::to_owned);
    all.extend(names.into_iter().zip(longest));
    all
}

async fn measured(name: &str, opened: &Opened, took: Duration) {
    println!("{name}: filled in {took:?}");
    let times = times(opened, "https://host7.example.com/pictures/7.jpg".into()).await;
    for (question, time) in &times {
        println!("{name}: {time:>9.1?}  {question}");
    }
    let slow: Vec<_> = times.iter().filter(|(_, time)| *time > LIMIT).collect();
    assert!(slow.is_empty(), "{slow:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --test store scale -- --ignored --nocapture"]
async fn sqlite_answers_within_a_tenth_of_a_second() {
    let began = Instant::now();
    let (_folder, opened, _pool) = sqlite(100_000).await;
    measured("sqlite", &opened, began.elapsed()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --test store scale -- --ignored --nocapture"]
async fn postgres_answers_within_a_tenth_of_a_second() {
    let began = Instant::now();
    let (_server, opened, _pool) = postgres(100_000).await;
    measured("postgres", &opened, began.elapsed()).await;
}

/// Lists that must not be read as a whole or sorted, as `/sources` and `/stats` ask for them.
const LISTS: [(&str, &str); 5] = [
    (
        "SELECT source_key FROM sources s WHERE s.url IS NOT NULL ORDER BY s.hits DESC, s.source_key DESC LIMIT 100",
        "sources_by_hits",
    ),
    (
        "SELECT source_key FROM sources s WHERE s.url IS NOT NULL ORDER BY s.bytes DESC, s.source_key DESC LIMIT 100",
        "sources_by_bytes",
    ),
    (
        "SELECT source_key FROM sources s WHERE s.url IS NOT NULL ORDER BY s.last_seen DESC, s.source_key DESC LIMIT 100",
        "sources_by_last_seen",
    ),
    (
        "SELECT source_key FROM variants WHERE hits = 0 AND bytes IS NOT NULL ORDER BY bytes DESC LIMIT 10",
        "variants_unused",
    ),
    ("SELECT source_key FROM widths WHERE exceeds = 1 ORDER BY requests DESC LIMIT 10", "widths_exceeding"),
];

#[tokio::test(flavor = "multi_thread")]
async fn lists_walk_along_their_indexes() {
    let (_folder, _opened, pool) = sqlite(2_000).await;
    for (sql, index) in LISTS {
        let plan = format!("EXPLAIN QUERY PLAN {sql}");
        let rows: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(plan)).fetch_all(&pool).await.expect("a plan");
        let plan: String = rows.into_iter().map(|row| row.3 + "\n").collect();
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{sql}:\n{plan}");
    }
    let (_server, _opened, pool) = postgres(2_000).await;
    for (sql, index) in LISTS {
        let plan: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN {sql}"))).fetch_all(&pool).await.expect("a plan");
        let plan = plan.join("\n");
        assert!(plan.contains(index) && !plan.contains("Sort"), "{sql}:\n{plan}");
    }
}
