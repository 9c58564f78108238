//! The contract of the metadata store: the same cases over SQLite and over real PostgreSQL servers, and what those may do
//! to us. Law: every server is started by the test that needs it; time is waited for by conditions, never slept through.

#![expect(clippy::disallowed_methods, reason = "the harness waits for processes and looks for programs")]
#![expect(clippy::disallowed_types, reason = "what is in a database is looked at by hand")]

mod cases;
mod faults;
mod fill;
mod harness;
mod migrations;
mod pool;
mod recorder;
mod scale;
mod stubborn;
mod sums;
#[path = "../support/postgres.rs"]
mod support;
mod tls;
mod urls;
