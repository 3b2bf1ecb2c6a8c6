//! Which addresses of the peer an application lets its agent talk to.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::{embedded, is_within};
use crate::types::address::plain_network;

/// Which addresses of the peer are used: whatever names them, nothing is sent to the others, and their checks have no effect.
///
/// The candidates of a peer say where the agent sends its checks, so a hostile one can aim them at the inside of the network
/// that the agent is in, or that its TURN server is in (RFC 8445 §19.5.1). The filter applies to candidates that are signalled,
/// to those whose name was resolved, to the sources of checks and of connections, to the permissions that TURN servers are
/// asked for, and to servers that another one redirects to. It comes on top of what is never used: loopback and link-local
/// addresses without a socket of that scope, unspecified, multicast and broadcast ones.
///
/// Of the networks that contain an address the most specific one decides, and of two like that the one named last.
///
/// ```
/// use nilas::{Config, RemoteFilter};
///
/// // A server in a data centre: nothing inside, but for the test bench.
/// let filter = RemoteFilter::public_only().with_network("10.1.2.0".parse()?, 24);
/// assert!(filter.allows("8.8.8.8".parse()?) && filter.allows("10.1.2.3".parse()?));
/// assert!(!filter.allows("10.0.0.1".parse()?) && !filter.allows("::ffff:10.0.0.1".parse()?));
/// let config = Config::default().with_remote_filter(filter);
/// # let _ = config;
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteFilter {
    preset: Preset,
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Preset {
    #[default]
    All,
    Public,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    network: IpAddr,
    prefix_len: u8,
    is_allowed: bool,
}

impl RemoteFilter {
    /// One that allows only addresses of the public Internet: none that is private (RFC 1918, RFC 4193), shared by a
    /// carrier's NAT (RFC 6598), for benchmarks, protocols or later (RFC 6890), be it written as it is or inside of an
    /// IPv6 address. The networks for documentation, which nobody has, are allowed.
    #[must_use]
    pub const fn public_only() -> Self {
        Self { preset: Preset::Public, rules: Vec::new() }
    }

    /// One that allows nothing but what [`with_network`](Self::with_network) adds.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { preset: Preset::Nothing, rules: Vec::new() }
    }

    /// The same with the addresses of a network, or a single one with the full prefix length.
    #[must_use]
    pub fn with_network(mut self, network: IpAddr, prefix_len: u8) -> Self {
        let (network, prefix_len) = plain_network(network, prefix_len);
        self.rules.push(Rule { network, prefix_len, is_allowed: true });
        self
    }

    /// The same without the addresses of a network, or a single one with the full prefix length.
    #[must_use]
    pub fn without_network(mut self, network: IpAddr, prefix_len: u8) -> Self {
        let (network, prefix_len) = plain_network(network, prefix_len);
        self.rules.push(Rule { network, prefix_len, is_allowed: false });
        self
    }

    /// Whether an address is used. An IPv6 address behind which there is an IPv4 address needs both to be allowed.
    #[must_use]
    pub fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let inner = match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => embedded(v6).map(IpAddr::V4),
        };
        match (self.decided(ip), inner.and_then(|inner| self.decided(inner))) {
            (Some(false), _) | (_, Some(false)) => false,
            (Some(true), _) | (_, Some(true)) => true,
            (None, None) => match self.preset {
                Preset::All => true,
                Preset::Public => is_public(ip),
                Preset::Nothing => false,
            },
        }
    }

    /// What the most specific network says.
    fn decided(&self, ip: IpAddr) -> Option<bool> {
        let rules = self.rules.iter().filter(|rule| is_within(ip, rule.network, rule.prefix_len));
        rules.max_by_key(|rule| rule.prefix_len).map(|rule| rule.is_allowed)
    }
}

/// Whether an address is one of the public Internet (the registries of RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|(network, prefix_len)| within_v4(v4, *network, *prefix_len)),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => is_public(IpAddr::V4(v4)),
            None => within_v6(v6, 0x2000, 3) && !within_v6(v6, 0x2001, 23),
        },
    }
}

const SPECIAL_V4: [(Ipv4Addr, u8); 12] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

fn within_v4(ip: Ipv4Addr, network: Ipv4Addr, prefix_len: u8) -> bool {
    is_within(IpAddr::V4(ip), IpAddr::V4(network), prefix_len)
}

/// Whether an address is in a network of which the first 16 bits are given, and the others are 0.
fn within_v6(ip: Ipv6Addr, first: u16, prefix_len: u8) -> bool {
    is_within(IpAddr::V6(ip), IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0)), prefix_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn public_only_is_what_the_registries_call_global() {
        let filter = RemoteFilter::public_only();
        let public =
            ["8.8.8.8", "100.63.0.1", "172.15.0.1", "172.32.0.1", "2a00:1450::1", "2001:200::1", "64:ff9b::808:808"];
        public.iter().for_each(|text| assert!(filter.allows(ip(text)), "{text}"));
        let documentation = ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"];
        documentation.iter().for_each(|text| assert!(filter.allows(ip(text)), "{text}"));
        let others = [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::808:808",
            "2002:a00:1::1",
            "2001::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        others.iter().for_each(|text| assert!(!filter.allows(ip(text)), "{text}"));
    }

    #[test]
    fn the_most_specific_network_decides_and_then_the_last() {
        let filter = RemoteFilter::default()
            .with_network(ip("10.1.0.0"), 16)
            .without_network(ip("10.0.0.0"), 8)
            .without_network(ip("10.1.2.3"), 32)
            .with_network(ip("10.1.2.3"), 32)
            .without_network(ip("10.1.2.4"), 32);
        let cases =
            [("10.0.0.1", false), ("10.1.0.1", true), ("10.1.2.3", true), ("10.1.2.4", false), ("11.0.0.1", true)];
        for (text, expected) in cases {
            assert_eq!(filter.allows(ip(text)), expected, "{text}");
        }
        assert!(!filter.allows(ip("64:ff9b::a00:1")) && filter.allows(ip("64:ff9b::b00:1")), "behind a NAT64");
        let few = RemoteFilter::nothing().with_network(ip("2001:db8::"), 32);
        assert!(few.allows(ip("2001:db8::1")) && !few.allows(ip("192.0.2.1")));
        assert!(!RemoteFilter::nothing().with_network(ip("10.0.0.0"), 8).allows(ip("11.0.0.1")));
    }
}
