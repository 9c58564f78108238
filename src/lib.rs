//! Pixgate: a source URL in, an AVIF or WebP of the right size out, safely.
//!
//! The house, in rows; a file imports only from rows below its own, and the rooms of one row are blind to each other:
//!
//! ```text
//! main  cli
//! app                                 the composition root: the only file that names every room
//! config                              gathers each room's Settings; nobody below imports it
//! http                                the only room that knows actix
//! maintenance -> optimizer            purges; the use case, which knows nothing of them
//! source | imaging | cache | store    peers
//! telemetry  allocator
//! format  variant  record             pure: no I/O, no async, no clock
//! ```
//!
//! One GET: `http` reads the query and negotiates the format; `source` admits the URL; `optimizer` looks the record and
//! the variant up in `cache` and, when something is missing, fetches through `source` and draws through `imaging` on
//! threads of their own, in a detached flight that equal requests share; `http` writes the answer.

pub mod allocator;
pub mod app;
pub mod cache;
pub mod cli;
pub mod config;
pub mod format;
pub mod http;
pub mod imaging;
pub mod maintenance;
pub mod optimizer;
pub mod record;
pub mod source;
pub mod store;
pub mod telemetry;
pub mod variant;
