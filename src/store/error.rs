//! What can go wrong with the metadata store, and which of it passes by itself.
//!
//! Invariant: only what may go well with nothing changed is tried again; what is not known is not.
#![expect(clippy::disallowed_types, reason = "the room that knows SQL")]

use sqlx::migrate::MigrateError;

/// What can go wrong with the metadata store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is known to be down, so it was not asked.
    #[error("the metadata store is not there")]
    Down,
    /// Its connection or its answer took longer than the limit.
    #[error("the metadata store did not answer in time")]
    Timeout,
    /// Its schema was made by a newer version of this program.
    #[error(
        "the metadata store has schema {version}, this version of Pixgate knows {}; use a newer one",
        super::schema::VERSION
    )]
    NewerSchema {
        /// A version that is applied there and not known here.
        version: i64,
    },
    /// Its schema cannot be brought up to date.
    #[error("the metadata store's schema: {0}")]
    Schema(#[source] MigrateError),
    /// What it said.
    #[error("the metadata store: {0}")]
    Sql(#[from] sqlx::Error),
    /// What it holds is not what was written.
    #[error("the metadata store holds a row that cannot be read")]
    Damaged,
    /// A cursor that is not from a page of the same list.
    #[error("the cursor is not one of this list")]
    Cursor,
}

impl Error {
    /// Whether it took longer than it may.
    pub(super) fn is_limit(&self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Sql(sqlx::Error::Database(error)) => error.code().is_some_and(|code| code == ENDED),
            _ => false,
        }
    }

    /// Whether the same may go well later, with nothing changed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Down | Self::Timeout => true,
            Self::Schema(_) | Self::NewerSchema { .. } | Self::Damaged | Self::Cursor => false,
            Self::Sql(error) => match error {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                // A transaction whose end was not seen: its connection is gone by now.
                | sqlx::Error::InvalidSavePointStatement
                | sqlx::Error::BeginFailed => true,
                sqlx::Error::Database(error) => error.code().is_some_and(|code| transient(&code)),
                _ => false,
            },
        }
    }
}

/// By SQLSTATE: a statement that was ended, by its limit as a rule.
const ENDED: &str = "57014";

/// By SQLSTATE, which has five characters, or SQLite's (extended) result code, a number of fewer.
fn transient(code: &str) -> bool {
    if code.len() == 5 {
        // Connection, resources, operator's intervention (a statement's timeout too); serialisation, deadlock, a lock that
        // is not to be had, read only while another server takes over.
        ["08", "53", "57"].iter().any(|class| code.starts_with(class))
            || ["40001", "40P01", "55P03", "25006"].contains(&code)
    } else {
        // BUSY, LOCKED, IOERR, FULL, CANTOPEN, PROTOCOL.
        code.parse::<u32>().is_ok_and(|code| matches!(code & 0xFF, 5 | 6 | 10 | 13 | 14 | 15))
    }
}

#[cfg(test)]
mod tests {
    use super::transient;

    #[test]
    fn what_may_pass_by_itself_is_told_from_what_will_not() {
        for code in ["5", "517", "6", "13", "14", "08006", "53300", "57P01", "57014", "40P01", "40001", "25006"] {
            assert!(transient(code), "{code}");
        }
        for code in ["1", "19", "2067", "42P01", "23505", "22021", "28P01", "3D000"] {
            assert!(!transient(code), "{code}");
        }
    }
}
