//! Many rows: every list is walked along an index. Law: the plans of the store's own questions are looked at, so that few rows
//! tell what many would; the times with many are measured by `benches/bench_store.rs`, which fills its stores by this file's
//! neighbour.

use pixgate::store::questions;
use sqlx::{AssertSqlSafe, Executor as _, SqlitePool};

use crate::fill;
use crate::harness::{Folder, Opened, by_hand};
use crate::support::PostgresServer;

/// Tables with a row for each source, variant or width; those of sums are small.
const LARGE: [&str; 3] = ["sources", "variants", "widths"];

#[tokio::test(flavor = "multi_thread")]
async fn lists_walk_along_their_indexes_in_sqlite() {
    let folder = Folder::new();
    let _opened = Opened::over(&folder.url()).await;
    let pool = SqlitePool::connect(&folder.url()).await.expect("a file");
    pool.execute(AssertSqlSafe(fill::sqlite(2_000))).await.expect("filled");
    let questions = questions("X'");
    assert_eq!(questions.len(), 22);
    for (sql, index) in questions {
        let plan = format!("EXPLAIN QUERY PLAN {sql}");
        let rows: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(plan)).fetch_all(&pool).await.expect("a plan");
        let steps: Vec<_> = rows.into_iter().map(|row| row.3).collect();
        let plan = steps.join("\n");
        assert!(index.is_none_or(|index| plan.contains(index)), "{index:?}: {sql}\n{plan}");
        for step in steps.iter().filter(|step| step.starts_with("SCAN ")) {
            let name = step["SCAN ".len()..].split(' ').next().expect("a name");
            let large = LARGE.contains(&name) || ["s", "v", "w", "a"].contains(&name);
            assert!(!large || step.contains("USING"), "{step}: {sql}\n{plan}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_walk_along_their_indexes_in_postgres() {
    let server = PostgresServer::start();
    let _opened = Opened::over(&server.url()).await;
    let pool = by_hand(&server).await;
    pool.execute(AssertSqlSafe(fill::postgres(20_000))).await.expect("filled");
    // As the server does by itself a minute after.
    pool.execute("VACUUM ANALYZE").await.expect("analysed");
    for (sql, index) in questions("'\\x") {
        let plan: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN {sql}"))).fetch_all(&pool).await.expect("a plan");
        let plan = plan.join("\n");
        assert!(index.is_none_or(|index| plan.contains(index)), "{index:?}: {sql}\n{plan}");
        for table in LARGE {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{sql}:\n{plan}");
        }
    }
}
