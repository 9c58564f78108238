//! What other programs write into the URL of a database that is shared with them. Law: what names a place is honoured.

use pixgate::store::Batch;

use crate::harness::{Opened, by_hand, key, record, source};
use crate::support::PostgresServer;

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_in_the_schema_that_is_named() {
    let server = PostgresServer::start();
    let url = format!("{}?schema=sho%22p&connect_timeout=5&application_name=shop", server.url());
    // A second one finds it there.
    for _ in 0..2 {
        let opened = Opened::over(&url).await;
        opened.write(Batch { sources: vec![source("a", record("a"))], ..Batch::default() }).await;
        assert!(opened.store.record(key("a")).await.is_some());
    }
    let sql = "SELECT count(*) FILTER (WHERE table_schema = 'sho\"p'), count(*) FILTER (WHERE table_schema = 'public') \
               FROM information_schema.tables";
    let (there, elsewhere): (i64, i64) =
        sqlx::query_as(sql).fetch_one(&by_hand(&server).await).await.expect("an answer");
    assert!(there > 3 && elsewhere == 0, "{there} and {elsewhere}");
}
