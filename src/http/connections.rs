//! The public listener's connections: how many there are, of whom, and which of them is closed for a new one.
//!
//! Invariant: **somebody new is never kept waiting by those who do nothing**. Near the limit, and where one client has his
//! share, the connection on which nothing happened for longest is closed; one with a request at work never is.

use std::any::Any;
use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use bytes::Bytes;
use ipnet::IpNet;
use rustix::net::{Shutdown, shutdown};

use super::client::{Client, is_trusted};

/// Bodies that are more than one piece.
const LONG: u64 = super::slices::WHOLE as u64;

/// All are looked at once in a SCANth part of so many new ones.
const SCAN: usize = 64;

/// The connections of a listener.
#[derive(Clone)]
pub struct Connections(Arc<Shared>);

struct Shared {
    all: Mutex<All>,
    started: Instant,
    /// From so many on, one is closed for each new one.
    limit: usize,
}

#[derive(Default)]
struct All {
    next: u64,
    slots: HashMap<u64, Arc<Slot>>,
    clients: HashMap<Client, usize>,
}

struct Slot {
    client: Option<Client>,
    /// Another name of the socket, so that it is surely this one that is closed.
    socket: OwnedFd,
    /// When something last happened, in milliseconds since the listener's start.
    active: AtomicU64,
    /// Requests at work.
    requests: AtomicU32,
    /// Told to close.
    closing: AtomicBool,
}

/// One connection, known for as long as this is there.
pub(super) struct Connection {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    id: u64,
}

/// A request at work.
pub(super) struct Busy(Arc<Slot>, Arc<Shared>);

impl Connections {
    /// Of a listener that takes `limit` connections.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shared { all: Mutex::default(), started: Instant::now(), limit }))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.all().slots.len()
    }

    /// Takes a new connection's place, which it keeps in `data`; closes it where its client has `share` that are all at
    /// work. What comes from `trusted` proxies is many clients'.
    pub fn admit(&self, connection: &dyn Any, data: &mut Extensions, share: usize, trusted: &[IpNet]) {
        let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
        let address = stream.peer_addr().ok().map(|peer| peer.ip().to_canonical());
        let client = address.filter(|address| !is_trusted(*address, trusted)).map(Client::of);
        match stream.as_fd().try_clone_to_owned().map(|socket| self.0.admit(client, socket, share)) {
            Ok(Some((id, slot))) => {
                data.insert(Connection { shared: Arc::clone(&self.0), slot, id });
            }
            // Without a descriptor for its other name there is none for its answer either.
            Ok(None) | Err(_) => {
                let _closed_already = shutdown(stream.as_fd(), Shutdown::Both);
            }
        }
    }
}

impl Shared {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_millis() as u64
    }

    fn admit(&self, client: Option<Client>, socket: OwnedFd, share: usize) -> Option<(u64, Arc<Slot>)> {
        let mut all = self.all();
        let theirs = client.map_or(0, |client| all.clients.get(&client).copied().unwrap_or(0));
        if client.is_some() && theirs >= share {
            if all.close_idle(theirs, |slot| slot.client == client) == 0 {
                return None;
            }
        } else if all.slots.len() >= self.limit {
            all.close_idle(all.slots.len(), |_| true);
        }
        let active = AtomicU64::new(self.now(Instant::now()));
        let (requests, closing) = (AtomicU32::new(0), AtomicBool::new(false));
        let slot = Arc::new(Slot { client, socket, active, requests, closing });
        let id = all.next;
        all.next += 1;
        all.slots.insert(id, Arc::clone(&slot));
        if let Some(client) = client {
            *all.clients.entry(client).or_default() += 1;
        }
        Some((id, slot))
    }
}

impl All {
    /// Closes those on which nothing happened for longest, one of `of` in [`SCAN`] and one at least, so that looking at all
    /// of them is rare; how many that were.
    fn close_idle(&self, of: usize, whose: impl Fn(&Slot) -> bool) -> usize {
        let idle = |(_, slot): &(&u64, &Arc<Slot>)| {
            slot.requests.load(Ordering::Acquire) == 0 && !slot.closing.load(Ordering::Relaxed) && whose(slot)
        };
        // Of the same millisecond, the ones that came first.
        let age = |(id, slot): (&u64, &Arc<Slot>)| (slot.active.load(Ordering::Relaxed), *id);
        let mut oldest: Vec<_> = self.slots.iter().filter(idle).map(age).collect();
        let count = (of / SCAN).max(1).min(oldest.len());
        if count == 0 {
            return 0;
        }
        oldest.select_nth_unstable(count - 1);
        for slot in oldest[..count].iter().filter_map(|(_, id)| self.slots.get(id)) {
            slot.closing.store(true, Ordering::Relaxed);
            let _closed_already = shutdown(&slot.socket, Shutdown::Both);
        }
        count
    }
}

impl Connection {
    /// Something happens here.
    pub(super) fn touch(&self, at: Instant) {
        self.slot.active.store(self.shared.now(at), Ordering::Relaxed);
    }

    /// A request is at work, until what this gives is dropped.
    pub(super) fn begin(&self, at: Instant) -> Busy {
        self.touch(at);
        Busy::new(&self.slot, &self.shared)
    }
}

impl Busy {
    fn new(slot: &Arc<Slot>, shared: &Arc<Shared>) -> Self {
        slot.requests.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(slot), Arc::clone(shared))
    }
}

/// A body of which each piece that is taken is something that happens on its connection.
struct Followed {
    body: BoxBody,
    slot: Arc<Slot>,
    shared: Arc<Shared>,
    /// While the client waits for us, and not we for him.
    busy: Option<Busy>,
}

impl Connection {
    /// `body`, so that a client who takes it slowly is not one who does nothing.
    pub(super) fn follow(&self, body: BoxBody) -> BoxBody {
        if matches!(body.size(), BodySize::None | BodySize::Sized(0..=LONG)) {
            return body;
        }
        BoxBody::new(Followed { body, slot: Arc::clone(&self.slot), shared: Arc::clone(&self.shared), busy: None })
    }
}

impl MessageBody for Followed {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_next(context);
        if polled.is_ready() {
            self.busy = None;
            self.slot.active.store(self.shared.now(Instant::now()), Ordering::Relaxed);
        } else if self.busy.is_none() {
            self.busy = Some(Busy::new(&self.slot, &self.shared));
        }
        polled
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut all = self.shared.all();
        all.slots.remove(&self.id);
        if let Some(client) = self.slot.client
            && let Some(count) = all.clients.get_mut(&client)
        {
            *count -= 1;
            if *count == 0 {
                all.clients.remove(&client);
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.active.store(self.1.now(Instant::now()), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream as Stream};
    use std::time::Duration;

    use super::*;

    fn client(number: u8) -> Option<Client> {
        Some(Client::of([192, 0, 2, number].into()))
    }

    /// A connection of this client, and its far end.
    fn connect(shared: &Arc<Shared>, client: Option<Client>, share: usize) -> Option<(Connection, Stream)> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let far = Stream::connect(listener.local_addr().expect("bound")).expect("listens");
        far.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let (near, _) = listener.accept().expect("somebody");
        let (id, slot) = shared.admit(client, near.into(), share)?;
        Some((Connection { shared: Arc::clone(shared), slot, id }, far))
    }

    fn is_closed(far: &mut Stream) -> bool {
        matches!(far.read(&mut [0]), Ok(0))
    }

    #[test]
    fn the_oldest_idle_one_is_closed_for_a_new_one() {
        let shared = Connections::new(3).0;
        let mut all: Vec<_> = (0..3).map(|n| connect(&shared, client(n), 9).expect("room")).collect();
        let at = |seconds| shared.started + Duration::from_secs(seconds);
        all[0].0.touch(at(5));
        let busy = all[1].0.begin(at(1));
        all[2].0.touch(at(3));
        let fourth = connect(&shared, client(4), 9).expect("room");
        assert_eq!(all.iter_mut().map(|(_, far)| is_closed(far)).collect::<Vec<_>>(), [false, false, true]);
        fourth.0.touch(at(9));
        // One that is closing is not closed again, one that was busy is idle from now on.
        drop(busy);
        let _fifth = connect(&shared, client(5), 9).expect("room");
        assert_eq!(all.iter_mut().map(|(_, far)| is_closed(far)).collect::<Vec<_>>(), [false, true, true]);
        drop((all, fourth));
        let all = shared.all();
        assert_eq!((all.slots.len(), all.clients.len()), (1, 1));
        drop(all);
    }

    #[test]
    fn a_client_has_his_share() {
        let shared = Connections::new(100).0;
        let mut first = connect(&shared, client(1), 2).expect("room");
        let second = connect(&shared, client(1), 2).expect("room");
        first.0.touch(shared.started);
        let _third = connect(&shared, client(1), 2).expect("the first one's");
        assert!(is_closed(&mut first.1));
        drop(first);
        let _others = connect(&shared, client(2), 2).expect("another client");
        let busy = [second.0.begin(Instant::now()), _third.0.begin(Instant::now())];
        assert!(connect(&shared, client(1), 2).is_none(), "all of his are at work");
        assert!(connect(&shared, None, 0).is_some(), "a proxy's are many clients'");
        drop(busy);
        assert!(connect(&shared, client(1), 2).is_some());
    }
}
