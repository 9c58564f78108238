//! The schema, one file a version, and bringing a database up to the newest.
//!
//! Invariant: a file that was released is never changed, and a database that is newer than this program is left alone:
//! what it means is not known here.
#![expect(clippy::disallowed_types, reason = "the room that knows SQL")]

use std::sync::LazyLock;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::engine::Error;

/// Every version from 1 on.
const VERSIONS: [(&str, &str); 4] = [
    ("records", include_str!("migrations/0001_records.sql")),
    ("questions", include_str!("migrations/0002_questions.sql")),
    ("quality", include_str!("migrations/0003_quality.sql")),
    ("starts", include_str!("migrations/0004_starts.sql")),
];

/// The newest version.
pub const VERSION: i64 = VERSIONS.len() as i64;

/// What a back end calls things.
pub(super) struct Dialect {
    /// Octets.
    pub(super) bytes: &'static str,
    /// Text that is ordered by its octets.
    pub(super) text: &'static str,
}

pub(super) static SQLITE: LazyLock<Migrator> = LazyLock::new(|| migrator(&Dialect { bytes: "BLOB", text: "TEXT" }));
pub(super) static POSTGRES: LazyLock<Migrator> =
    LazyLock::new(|| migrator(&Dialect { bytes: "BYTEA", text: "TEXT COLLATE \"C\"" }));

fn migrator(dialect: &Dialect) -> Migrator {
    let migrations = (1..).zip(VERSIONS).map(|(version, (name, text))| {
        let sql = text.replace("{bytes}", dialect.bytes).replace("{text}", dialect.text);
        // Ours, from the files above.
        Migration::new(version, name.into(), MigrationType::Simple, AssertSqlSafe(sql).into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // The database may be shared with other programs that use the same library.
    migrator.dangerous_set_table_name("pixgate_migrations");
    migrator
}

/// What a failed migration means.
pub(super) fn refused(error: MigrateError) -> Error {
    match error {
        MigrateError::VersionMissing(version) => Error::NewerSchema { version },
        MigrateError::Execute(error) => Error::Sql(error),
        other => Error::Schema(other),
    }
}
