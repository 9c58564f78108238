//! How many files and connections the process may have open, and for how long without anything happening.
//!
//! Invariant: **clients never take the last descriptor**: origins, Redis, the store, decoding processes and the admin
//! listener have a share that connections of the public listener cannot use.

use std::any::Any;
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept from clients: downloads, kept connections to origins, Redis, the store, decoding processes, the admin listener.
const RESERVE: u64 = 512;
/// Connections at once for each thread; further ones wait in the backlog.
const CONNECTIONS: usize = 4_096;

/// Raises the soft limit, which many systems set to 1,024, to the hard one.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// Connections for each of `threads` of the public listener.
pub(super) fn connections(threads: usize) -> usize {
    share(getrlimit(Resource::Nofile).current, threads)
}

/// Half of what there is, where that is little.
fn share(limit: Option<u64>, threads: usize) -> usize {
    let Some(limit) = limit else { return CONNECTIONS };
    let rest = limit.saturating_sub(RESERVE).max(limit / 2);
    // Each has two: one is the server's, by the other it can be closed.
    (usize::try_from(rest / 2).unwrap_or(usize::MAX) / threads.max(1)).clamp(1, CONNECTIONS)
}

/// What was sent must be taken within this time, or the system ends the connection.
const TAKEN: Duration = Duration::from_secs(30);

/// Has the system end a connection whose client does not take what it was sent: such a client holds a descriptor and a piece
/// of an image, and the server itself only looks at it when there is room for more. And has it send each piece at once: the
/// last one would wait for the client's word that it has the one before, which takes 40 ms.
pub(super) fn watch(connection: &dyn Any) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "pieces of images are not sent at once");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = sockopt::set_tcp_user_timeout(stream, TAKEN.as_millis() as u32) {
        tracing::debug!(%error, "connections have no deadline for what is sent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_a_reserve() {
        assert_eq!(share(None, 2), CONNECTIONS);
        assert_eq!(share(Some(1 << 20), 64), CONNECTIONS);
        assert_eq!(share(Some(1_024), 2), 128);
        assert_eq!(share(Some(2_048), 2), 384);
        assert_eq!(share(Some(64), 64), 1);
    }
}
