//! What the store asks of a database: bring yourself up to date, answer a question, write some statements together.
//!
//! Invariant: all SQL is written once, with `$1` for the first parameter, and is understood by every engine; values are whole
//! numbers, texts and octets. An operation runs in a task of its own, so a caller who gives up loses an answer, never a
//! connection.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub(super) use super::error::Error;

/// A parameter; absent ones have a type too, which PostgreSQL wants to know.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<Arc<str>>),
    Bytes(Option<Arc<[u8]>>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<&[u8; 32]> for Value {
    fn from(key: &[u8; 32]) -> Self {
        Self::Bytes(Some(key.as_slice().into()))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.into()))
    }
}

/// A field of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// Fields of a row, taken in their order.
pub(super) struct Row(pub(super) std::vec::IntoIter<Cell>);

impl Row {
    pub(super) fn int(&mut self) -> Result<Option<i64>, Error> {
        match self.0.next() {
            Some(Cell::Int(number)) => Ok(number),
            _ => Err(Error::Damaged),
        }
    }

    pub(super) fn text(&mut self) -> Result<Option<String>, Error> {
        match self.0.next() {
            Some(Cell::Text(text)) => Ok(text),
            _ => Err(Error::Damaged),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Option<Vec<u8>>, Error> {
        match self.0.next() {
            Some(Cell::Bytes(bytes)) => Ok(bytes),
            _ => Err(Error::Damaged),
        }
    }

    /// A number that must be there and not negative.
    pub(super) fn count(&mut self) -> Result<u64, Error> {
        self.int()?.and_then(|number| u64::try_from(number).ok()).ok_or(Error::Damaged)
    }

    /// A hash that must be there.
    pub(super) fn hash(&mut self) -> Result<[u8; 32], Error> {
        self.bytes()?.and_then(|bytes| bytes.try_into().ok()).ok_or(Error::Damaged)
    }
}

/// One statement to write.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) sql: Arc<str>,
    pub(super) values: Arc<[Value]>,
    /// When it changes nothing, the transaction is undone: it was done before.
    pub(super) guards: bool,
}

impl Statement {
    pub(super) fn new(sql: impl Into<Arc<str>>, values: impl Into<Arc<[Value]>>) -> Self {
        Self { sql: sql.into(), values: values.into(), guards: false }
    }
}

/// One question: `columns` has a letter a column, `i`, `t` or `b`.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) sql: Arc<str>,
    pub(super) values: Arc<[Value]>,
    pub(super) columns: &'static str,
}

impl Question {
    pub(super) fn new(sql: impl Into<Arc<str>>, values: impl Into<Arc<[Value]>>, columns: &'static str) -> Self {
        Self { sql: sql.into(), values: values.into(), columns }
    }

    /// With its values in its text, as somebody would type it; octets open with `bytes`, as an engine has it.
    pub(super) fn plain(&self, bytes: &str) -> String {
        let mut sql = self.sql.to_string();
        // The last first: `$1` begins `$10`.
        for (at, value) in self.values.iter().enumerate().rev() {
            let text = match value {
                Value::Int(Some(number)) => number.to_string(),
                Value::Text(Some(text)) => format!("'{}'", text.replace('\'', "''")),
                Value::Bytes(Some(octets)) => {
                    format!("{bytes}{}'", hex::encode(octets))
                }
                Value::Int(None) | Value::Text(None) | Value::Bytes(None) => "NULL".into(),
            };
            sql = sql.replace(&format!("${}", at + 1), &text);
        }
        sql
    }
}

/// Connections of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Open and with nothing to do.
    pub idle: u32,
    /// Open and at work.
    pub used: u32,
}

impl Connections {
    /// Of a pool that says it has `size` and `idle`; the two are not read at one moment, and the second is below zero, as a
    /// number that wraps, between one thread's giving a connection back and another's taking it.
    pub(super) fn of(size: u32, idle: usize) -> Self {
        let idle = u32::try_from(idle).ok().filter(|idle| *idle <= size).unwrap_or(0);
        Self { idle, used: size - idle }
    }
}

/// Limits of one operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until there is a connection.
    pub(super) acquire: Duration,
    /// Until there is the answer, from then on.
    pub(super) statement: Duration,
}

/// One database.
pub(super) trait Engine: Send + Sync {
    /// Brings the schema to the newest version, alone even if several processes try at once.
    fn migrate(&self) -> BoxFuture<'static, Result<(), Error>>;

    /// Answers questions, in their order, over one connection.
    fn ask(&self, questions: Vec<Question>, limits: Limits) -> BoxFuture<'static, Result<Vec<Vec<Row>>, Error>>;

    /// All of it or nothing; the number of rows that the last statement changed, or nothing when a guard found it done.
    fn write(&self, statements: Vec<Statement>, limits: Limits) -> BoxFuture<'static, Result<Option<u64>, Error>>;

    /// What its rows take in bytes, and how many sources it has.
    fn size(&self) -> Question;

    /// Connections that are open.
    fn connections(&self) -> Connections;

    /// Closes them all.
    fn close(&self) -> BoxFuture<'static, ()>;
}

/// What both engines do with a connection, said once for two types that share no trait of use here.
macro_rules! over {
    ($database:ty, $arguments:ty, $begin:expr) => {
        type Connection = <$database as sqlx::Database>::Connection;

        fn arguments(values: &[Value]) -> Result<$arguments, Error> {
            use sqlx::Arguments as _;
            let mut arguments = <$arguments>::default();
            for value in values {
                let added = match value {
                    Value::Int(number) => arguments.add(*number),
                    Value::Text(text) => arguments.add(text.as_deref()),
                    Value::Bytes(bytes) => arguments.add(bytes.as_deref()),
                };
                added.map_err(|error| Error::Sql(sqlx::Error::Encode(error)))?;
            }
            Ok(arguments)
        }

        async fn ask_one(connection: &mut Connection, question: &Question) -> Result<Vec<Row>, Error> {
            use sqlx::Row as _;
            let sql = sqlx::AssertSqlSafe(question.sql.to_string());
            let rows = sqlx::query_with(sql, arguments(&question.values)?).fetch_all(connection).await?;
            let read = |row: <$database as sqlx::Database>::Row| {
                let cells = question.columns.chars().enumerate().map(|(at, kind)| match kind {
                    'i' => row.try_get(at).map(Cell::Int),
                    't' => row.try_get(at).map(Cell::Text),
                    _ => row.try_get(at).map(Cell::Bytes),
                });
                Ok(Row(cells.collect::<Result<Vec<_>, sqlx::Error>>()?.into_iter()))
            };
            rows.into_iter().map(read).collect()
        }

        async fn ask_all(connection: &mut Connection, questions: &[Question]) -> Result<Vec<Vec<Row>>, Error> {
            let mut answers = Vec::with_capacity(questions.len());
            for question in questions {
                answers.push(ask_one(connection, question).await?);
            }
            Ok(answers)
        }

        async fn write_all(connection: &mut Connection, statements: &[Statement]) -> Result<Option<u64>, Error> {
            use sqlx::Connection as _;
            let mut transaction = connection.begin_with($begin).await?;
            let mut changed = 0;
            for statement in statements {
                let sql = sqlx::AssertSqlSafe(statement.sql.to_string());
                let query = sqlx::query_with(sql, arguments(&statement.values)?);
                changed = query.execute(&mut *transaction).await?.rows_affected();
                if statement.guards && changed == 0 {
                    transaction.rollback().await?;
                    return Ok(None);
                }
            }
            transaction.commit().await?;
            Ok(Some(changed))
        }

        /// A connection from the pool, and how long that took.
        async fn acquire(
            pool: &sqlx::Pool<$database>,
            limit: Duration,
            metrics: &Metrics,
        ) -> Result<sqlx::pool::PoolConnection<$database>, Error> {
            let began = std::time::Instant::now();
            let acquired = tokio::time::timeout(limit, pool.acquire()).await;
            metrics.metadata_acquire_seconds.observe(began.elapsed().as_secs_f64());
            match acquired {
                Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => Err(Error::Timeout),
                Ok(acquired) => Ok(acquired?),
            }
        }

        /// Gives a connection back if its operation ended well or was refused, and drops it if its state is not known:
        /// what a dead connection waits for must not hold its place in the pool.
        fn give_back<T>(
            connection: sqlx::pool::PoolConnection<$database>,
            outcome: Result<Result<T, Error>, tokio::time::error::Elapsed>,
        ) -> Result<T, Error> {
            let outcome = outcome.unwrap_or(Err(Error::Timeout));
            let sound = match &outcome {
                Ok(_) => true,
                // One that may pass by itself, as a disk that is full, may have ended the transaction on the database's side
                // alone, and the next one could not begin.
                Err(error @ Error::Sql(sqlx::Error::Database(_))) => !error.is_transient() || error.is_limit(),
                Err(_) => false,
            };
            if !sound {
                drop(connection.detach());
            }
            outcome
        }

        /// In a task of its own, which is not stopped when nobody waits for it any more.
        fn detached<T: Send + 'static>(
            runtime: &Handle,
            work: impl Future<Output = Result<T, Error>> + Send + 'static,
        ) -> BoxFuture<'static, Result<T, Error>> {
            let task = runtime.spawn(work);
            async move { task.await.unwrap_or(Err(Error::Down)) }.boxed()
        }
    };
}
pub(super) use over;

#[cfg(test)]
mod tests {
    use super::Connections;

    #[test]
    fn a_pool_in_the_middle_of_a_change_is_counted_without_overflow() {
        assert_eq!(Connections::of(5, 2), Connections { idle: 2, used: 3 });
        for idle in [6, usize::MAX] {
            assert_eq!(Connections::of(5, idle), Connections { idle: 0, used: 5 });
        }
    }
}
