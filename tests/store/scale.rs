//! Many rows: every list is walked along an index. Law: the plans are looked at, so that few rows tell what many would; the
//! times with many are measured by `benches/bench_store.rs`, which fills its stores by this file's neighbour.

use sqlx::{AssertSqlSafe, Executor as _, SqlitePool};

use crate::fill;
use crate::harness::{Folder, Opened, by_hand};
use crate::support::PostgresServer;

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
    let folder = Folder::new();
    let _opened = Opened::over(&folder.url()).await;
    let pool = SqlitePool::connect(&folder.url()).await.expect("a file");
    pool.execute(AssertSqlSafe(fill::sqlite(2_000))).await.expect("filled");
    for (sql, index) in LISTS {
        let plan = format!("EXPLAIN QUERY PLAN {sql}");
        let rows: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(plan)).fetch_all(&pool).await.expect("a plan");
        let plan: String = rows.into_iter().map(|row| row.3 + "\n").collect();
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{sql}:\n{plan}");
    }
    let server = PostgresServer::start();
    let _opened = Opened::over(&server.url()).await;
    let pool = by_hand(&server).await;
    pool.execute(AssertSqlSafe(fill::postgres(2_000))).await.expect("filled");
    // As the server does by itself a minute after.
    pool.execute("VACUUM ANALYZE").await.expect("analysed");
    for (sql, index) in LISTS {
        let plan: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN {sql}"))).fetch_all(&pool).await.expect("a plan");
        let plan = plan.join("\n");
        assert!(plan.contains(index) && !plan.contains("Sort"), "{sql}:\n{plan}");
    }
}
