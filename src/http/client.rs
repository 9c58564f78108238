//! Who a request comes from, and how much of the work that is not in the cache one client has at once.
//!
//! Invariant: **what a header says of the client counts only where a proxy that is trusted wrote it**; one client is an IPv4
//! address or the 64 bits of an IPv6 network, of which everybody has as many addresses as he likes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::dev::RequestHead;
use ipnet::IpNet;

/// Fields of this name are one list; the nearest proxy has written its last entry.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Entries that are looked at.
const MAX_HOPS: usize = 32;

/// The address that a request comes from.
pub(super) fn address(head: &RequestHead, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut client = head.peer_addr?.ip().to_canonical();
    if trusted.is_empty() || !is_trusted(client, trusted) {
        return Some(client);
    }
    let fields: Vec<_> = head.headers.get_all(FORWARDED_FOR).collect();
    let hops = fields.iter().rev().flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops.take(MAX_HOPS) {
        // What no proxy could have written ends the list: the client has.
        let Some(hop) = std::str::from_utf8(hop).ok().and_then(|hop| read(hop.trim())) else { break };
        client = hop;
        if !is_trusted(client, trusted) {
            break;
        }
    }
    Some(client)
}

/// With or without a port, as some proxies have it.
fn read(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<std::net::SocketAddr>().map(|address| address.ip());
    let bare = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    let address = hop.parse().ok().or_else(|| with_port().ok()).or_else(bare)?;
    Some(IpAddr::to_canonical(&address))
}

pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// What counts as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client(u128);

impl Client {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // Mapped, so that it is none of the other kind.
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => Self(address.to_bits() >> 64 << 64),
        }
    }
}

/// Who asks.
pub(super) fn of(head: &RequestHead, trusted: &[IpNet]) -> Option<Client> {
    address(head, trusted).map(Client::of)
}

/// Who is at work.
#[derive(Clone, Default)]
pub struct Clients(Arc<Mutex<HashMap<Client, u32>>>);

/// A place at work; given back when it is dropped.
pub(super) struct Place(Option<(Clients, Client)>);

impl Clients {
    /// A place for a client who has fewer than `limit`; zero is no limit.
    pub(super) fn take(&self, client: Option<Client>, limit: u32) -> Option<Place> {
        let Some(client) = client.filter(|_| limit > 0) else { return Some(Place(None)) };
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let places = clients.entry(client).or_default();
        if *places >= limit {
            return None;
        }
        *places += 1;
        drop(clients);
        Some(Place(Some((self.clone(), client))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((clients, client)) = self.0.take() else { return };
        let mut clients = clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = clients.get_mut(&client).map(|places| {
            *places -= 1;
            *places
        });
        if left == Some(0) {
            clients.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn head(peer: &str, fields: &[&str]) -> RequestHead {
        let mut request = TestRequest::default().peer_addr(format!("{peer}:9").parse().expect("an address"));
        for field in fields {
            request = request.append_header((FORWARDED_FOR, *field));
        }
        let mut request = request.to_request();
        std::mem::take(request.head_mut())
    }

    #[test]
    fn only_trusted_proxies_say_who_asks() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a network")).into();
        for (peer, fields, client) in [
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.7", "203.0.113.9, 10.9.9.9"], "203.0.113.9"),
            ("[::ffff:10.0.0.1]", &["203.0.113.9:4711"], "203.0.113.9"),
            ("[fd00::1]", &["[2001:db8::5]:80"], "2001:db8::5"),
            ("[fd00::1]", &["[2001:db8::5]"], "2001:db8::5"),
            ("10.0.0.1", &["203.0.113.9, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ] {
            let expected: IpAddr = client.parse().expect("an address");
            assert_eq!(address(&head(peer, fields), &trusted), Some(expected), "{peer} {fields:?}");
            let own: IpAddr = peer.trim_matches(['[', ']']).parse().expect("an address");
            assert_eq!(address(&head(peer, fields), &[]), Some(own.to_canonical()));
        }
    }

    #[test]
    fn a_network_of_version_6_is_one_client() {
        let of = |text: &str| Client::of(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn places_are_counted_for_each_client_and_given_back() {
        let clients = Clients::default();
        let [one, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|address| Some(Client::of(IpAddr::from(address))));
        let held = [clients.take(one, 2), clients.take(one, 2)];
        assert!(held.iter().all(Option::is_some) && clients.take(one, 2).is_none());
        assert!(clients.take(other, 2).is_some() && clients.take(one, 0).is_some() && clients.take(None, 1).is_some());
        drop(held);
        assert!(clients.take(one, 2).is_some());
        assert!(clients.0.lock().expect("not poisoned").is_empty(), "nobody is remembered");
    }
}
