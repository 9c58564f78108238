//! PostgreSQL, shared by all replicas.
//!
//! Invariant: the pool's maximum is a maximum on the server too. What takes too long is ended by the server, which knows how,
//! and only a server that does not even do that is left by cutting the connection.
#![expect(clippy::disallowed_types, reason = "the room that knows SQL")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, Postgres};
use sqlx::{AssertSqlSafe, Executor as _};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::Settings;
use super::engine::{Cell, Connections, Engine, Error, Limits, Question, Row, Statement, Value, over};
use super::schema;
use crate::telemetry::Metrics;

/// How long the server has for ending what took too long, until it counts as hung.
const GRACE: Duration = Duration::from_secs(2);
/// A migration of a large database, or waiting for another replica's.
const MIGRATION: Duration = Duration::from_secs(600);
/// Distinct statements kept prepared on a connection.
const PREPARED: usize = 200;

over!(Postgres, PgArguments, "BEGIN");

/// See the module's text.
pub(super) struct PostgresServer {
    pool: PgPool,
    /// What every connection is told first.
    session: Arc<str>,
    /// Where the tables are; made where it is not there.
    schema: Option<Arc<str>>,
    metrics: Arc<Metrics>,
    runtime: Handle,
}

impl PostgresServer {
    /// Connects to nothing yet.
    pub(super) fn new(
        options: &PgConnectOptions,
        schema: Option<String>,
        settings: &Settings,
        metrics: Arc<Metrics>,
        runtime: Handle,
    ) -> Self {
        let limit = settings.statement_timeout.as_millis().max(1);
        let name = options.get_application_name().unwrap_or("pixgate").to_owned();
        let path =
            schema.as_deref().map_or_else(String::new, |schema| format!("SET search_path = {}; ", quoted(schema)));
        let options = options
            .clone()
            .application_name(&name)
            .statement_cache_capacity(PREPARED)
            // No column needs it, and a pooler in front refuses parameters of a start that it does not know.
            .extra_float_digits(None);
        // For the same reason these are set once there is a connection.
        let session: Arc<str> = format!(
            // A replica that vanishes within a transaction would hold the gate for everybody.
            "{path}SET statement_timeout = {limit}; SET idle_in_transaction_session_timeout = {limit}; \
             SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10"
        )
        .into();
        let first = Arc::clone(&session);
        let _entered = runtime.enter();
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            .idle_timeout(settings.idle_timeout)
            .test_before_acquire(true)
            .after_connect(move |connection, _| {
                let session = AssertSqlSafe(first.to_string());
                Box::pin(async move { connection.execute(session).await.map(drop) })
            })
            .connect_lazy_with(options);
        Self { pool, session, schema: schema.map(Arc::from), metrics, runtime }
    }
}

/// A name as it is written in SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Engine for PostgresServer {
    fn migrate(&self) -> BoxFuture<'static, Result<(), Error>> {
        let (pool, metrics, session) = (self.pool.clone(), Arc::clone(&self.metrics), Arc::clone(&self.session));
        let wanted = self.schema.clone();
        let work = async move {
            let mut connection = acquire(&pool, pool.options().get_acquire_timeout(), &metrics).await?;
            let work = async {
                connection.execute("SET statement_timeout = 0").await?;
                if let Some(schema) = &wanted {
                    // Asked first: making one takes a right even where it is there already.
                    let there = sqlx::query("SELECT 1 FROM pg_namespace WHERE nspname = $1").bind(&**schema);
                    if there.fetch_optional(&mut *connection).await?.is_none() {
                        let make = format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(schema));
                        connection.execute(AssertSqlSafe(make)).await?;
                    }
                }
                // Locks by an advisory lock of the session.
                schema::POSTGRES.run_direct(None, &mut *connection, false).await.map_err(schema::refused)?;
                connection.execute(AssertSqlSafe(session.to_string())).await?;
                Ok(())
            };
            let outcome: Result<(), Error> = timeout(MIGRATION, work).await.unwrap_or(Err(Error::Timeout));
            if outcome.is_err() {
                // The lock goes with the connection, and only with it.
                drop(connection.detach());
            }
            outcome
        };
        detached(&self.runtime, work)
    }

    fn ask(&self, questions: Vec<Question>, limits: Limits) -> BoxFuture<'static, Result<Vec<Vec<Row>>, Error>> {
        let (pool, metrics) = (self.pool.clone(), Arc::clone(&self.metrics));
        let work = async move {
            let mut connection = acquire(&pool, limits.acquire, &metrics).await?;
            let outcome = timeout(limits.statement + GRACE, ask_all(&mut connection, &questions)).await;
            give_back(connection, outcome)
        };
        detached(&self.runtime, work)
    }

    fn write(&self, statements: Vec<Statement>, limits: Limits) -> BoxFuture<'static, Result<Option<u64>, Error>> {
        let (pool, metrics) = (self.pool.clone(), Arc::clone(&self.metrics));
        let work = async move {
            let mut connection = acquire(&pool, limits.acquire, &metrics).await?;
            let outcome = timeout(limits.statement + GRACE, write_all(&mut connection, &statements)).await;
            give_back(connection, outcome)
        };
        detached(&self.runtime, work)
    }

    fn size(&self) -> Question {
        // By the rows there are: the size of its files says how many there once were. A URL stands in an index too.
        let sql = "SELECT CAST(sources * (900 + 2 * url) + variants * 650 AS BIGINT), CAST(sources AS BIGINT) FROM ( \
                   SELECT (SELECT coalesce(sum(value), 0) FROM totals WHERE name = 'sources') AS sources, \
                   (SELECT coalesce(sum(variants), 0) FROM formats) AS variants, \
                   (SELECT coalesce(max(avg_width), 100) FROM pg_stats WHERE schemaname = current_schema() \
                   AND tablename = 'sources' AND attname = 'url') AS url) AS counted";
        Question::new(sql, Vec::new(), "ii")
    }

    fn connections(&self) -> Connections {
        Connections::of(self.pool.size(), self.pool.num_idle())
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let pool = self.pool.clone();
        async move { pool.close().await }.boxed()
    }
}
