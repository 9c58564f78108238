//! Which addresses may be dialled: the guard against a server made to fetch from its own network.
//!
//! Invariant: every address passes here, literal or resolved, and an IPv6 address that carries an IPv4 address is judged
//! by the address it carries, or refused. Ranges: IANA special-purpose registries (RFC 6890 and its updates).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Whether an address is public unicast, reachable by anyone: nothing of it is inside our own network.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    // A public address that is the host's own: Azure's platform services answer virtual machines there.
    const AZURE_HOST: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
    ip != AZURE_HOST
        && !matches!(
            (a, b, c),
            (0 | 10 | 127, _, _)              // this network, private, loopback
            | (100, 64..=127, _)          // shared by carriers, RFC 6598
            | (169, 254, _)               // link-local; cloud metadata lives here
            | (172, 16..=31, _)           // private
            | (192, 0, 0 | 2)             // protocol assignments, TEST-NET-1
            | (192, 88, 99)               // 6to4 relays, RFC 7526
            | (192, 168, _)               // private
            | (198, 18..=19, _)           // benchmarking
            | (198, 51, 100)              // TEST-NET-2
            | (203, 0, 113)               // TEST-NET-3
            | (224.., _, _) // multicast, reserved, broadcast
        )
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    if let Some(carried) = carried_v4(&segments) {
        return is_public_v4(carried);
    }
    match segments {
        // ISATAP (RFC 5214) can use any prefix and carries an IPv4 address in its interface identifier.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] if !is_public_v4(v4(high, low)) => false,
        [0x2001, 0..=0x1ff, ..]            // protocol assignments: Teredo, benchmarking, ORCHID
        | [0x2001, 0xdb8, ..]              // documentation
        | [0x2002, ..]                     // 6to4, deprecated: it carries an IPv4 address and has no honest use left
        | [0x3ffe, ..]                     // 6bone, returned
        | [0x3fff, 0..=0xfff, ..] => false, // documentation, RFC 9637
        // Everything handed out so far is in 2000::/3; loopback, unique local, link-local and multicast are not.
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

/// The IPv4 address that a connection to this IPv6 address would really go to: mapped (RFC 4291 §2.5.5.2), or the
/// well-known NAT64 prefix (RFC 6052), which resolvers of IPv6-only networks make for every IPv4 host.
///
/// Compatible addresses (`::a.b.c.d`) and the local NAT64 prefix 64:ff9b:1::/48 stay refused, being outside 2000::/3.
fn carried_v4(segments: &[u16; 8]) -> Option<Ipv4Addr> {
    match *segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        _ => None,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

/// [`is_public`] with the operator's exceptions.
#[derive(Clone, Debug, Default)]
pub struct AddressGuard {
    /// Any address at all may be dialled: for development.
    pub allow_local_ip: bool,
    /// Networks that may be dialled although they are not public.
    pub allow_cidrs: Vec<IpNet>,
}

impl AddressGuard {
    /// Whether this address may be dialled.
    pub fn admits(&self, ip: IpAddr) -> bool {
        // `::ffff:10.1.2.3` is dialled as 10.1.2.3, so an exception for the one is one for the other.
        let ip = ip.to_canonical();
        self.allow_local_ip || is_public(ip) || self.allow_cidrs.iter().any(|net| net.contains(&ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
    }

    #[test]
    fn special_ranges_are_refused_up_to_both_edges() {
        // Just outside, first inside, last inside, just outside; an empty text where there is no neighbour.
        let ranges = [
            ["", "0.0.0.0", "0.255.255.255", "1.0.0.0"],
            ["9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"],
            ["100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"],
            ["126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"],
            ["169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"],
            ["172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"],
            ["191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"],
            ["192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"],
            ["192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"],
            ["192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"],
            ["198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"],
            ["198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"],
            ["203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"],
            ["223.255.255.255", "224.0.0.0", "255.255.255.255", ""],
            ["", "239.255.255.255", "240.0.0.0", ""],
            ["", "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"],
            ["2000:ffff::", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"],
            ["2001:db7:ffff::", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"],
            ["2001:ffff::", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"],
            ["3ffd:ffff::", "3ffe::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"],
            ["3fff:ffff::", "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""],
        ];
        for [before, first, last, after] in ranges {
            for outside in [before, after].into_iter().filter(|text| !text.is_empty()) {
                assert!(is_public(ip(outside)), "{outside} is public");
            }
            for inside in [first, last] {
                assert!(!is_public(ip(inside)), "{inside} is not public");
            }
        }
    }

    #[test]
    fn an_ipv4_address_inside_an_ipv6_one_is_judged_or_refused() {
        let refused = [
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "::ffff:0:8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::8.8.8.8",
            "64:ff9b:0:1::8.8.8.8",
            "2002:7f00:1::",
            "2002:808:808::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2a00:1450::5efe:10.0.0.1",
            "2a00:1450::200:5efe:192.168.0.1",
            "fe80::5efe:8.8.8.8",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "5f00::1",
        ];
        for text in refused {
            assert!(!is_public(ip(text)), "{text} is not public");
        }
        for text in ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2a00:1450::5efe:8.8.8.8", "2606:4700::1111"] {
            assert!(is_public(ip(text)), "{text} is public");
        }
    }

    #[test]
    fn exceptions_open_their_network_and_no_other() {
        let nets = ["10.1.0.0/16", "fd00:1::/32"].map(|net| net.parse().expect("a network"));
        let guard = AddressGuard { allow_local_ip: false, allow_cidrs: nets.to_vec() };
        for (text, admitted) in [
            ("10.1.255.255", true),
            ("::ffff:10.1.0.1", true),
            ("10.2.0.0", false),
            ("fd00:1::9", true),
            ("fd00:2::9", false),
            ("127.0.0.1", false),
            ("8.8.8.8", true),
        ] {
            assert_eq!(guard.admits(ip(text)), admitted, "{text}");
        }
        assert!(AddressGuard { allow_local_ip: true, allow_cidrs: vec![] }.admits(ip("::1")));
        assert!(!AddressGuard::default().admits(ip("::1")));
    }
}
