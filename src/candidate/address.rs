//! Addresses that somebody else names: candidates of the peer, sources of its checks, what STUN and TURN servers tell. All are
//! judged by one rule before anything goes there (RFC 8445 §6.1.2.2, §19.5.1).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far a unicast address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The host itself: 127.0.0.0/8 and `::1`.
    Host,
    /// One link: 169.254.0.0/16 and `fe80::/10`.
    Link,
    /// Beyond, be it a private network or the Internet.
    Wide,
}

/// Why nothing is sent to an address that somebody named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It can be nobody's: unspecified, multicast, broadcast.
    Nobody,
    /// It is one of a host or of a link, and was named from elsewhere: whoever is there did not ask for it.
    OutOfScope,
}

/// Judges an address that was named by somebody who is reached from, or at, another one: host and link are for those who
/// share them.
pub(crate) fn judge(named: IpAddr, beside: IpAddr) -> Result<(), Unfit> {
    match scope(named) {
        None => Err(Unfit::Nobody),
        Some(Scope::Wide) => Ok(()),
        Some(narrow) if scope(beside) == Some(narrow) => Ok(()),
        Some(Scope::Host | Scope::Link) => Err(Unfit::OutOfScope),
    }
}

/// How far an address reaches; `None` for one that is no host's. One that stands for an IPv4 address reaches as far as that.
pub(crate) fn scope(ip: IpAddr) -> Option<Scope> {
    match ip {
        IpAddr::V4(v4) => {
            let is_nobodys = v4.octets().first() == Some(&0) || v4.is_multicast() || v4.is_broadcast();
            (!is_nobodys).then_some(match v4 {
                _ if v4.is_loopback() => Scope::Host,
                _ if v4.is_link_local() => Scope::Link,
                _ => Scope::Wide,
            })
        }
        IpAddr::V6(v6) if v6.is_unspecified() || v6.is_multicast() => None,
        IpAddr::V6(v6) if v6.is_loopback() => Some(Scope::Host),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(Scope::Link),
        IpAddr::V6(v6) => embedded(v6).map_or(Some(Scope::Wide), |v4| scope(IpAddr::V4(v4))),
    }
}

/// The IPv4 address to which packets to an IPv6 address go in the end: IPv4-mapped (RFC 4291 §2.5.5.2) and IPv4-compatible ones,
/// those of a NAT64 with the well-known prefix (RFC 6052 §2.1), and 6to4 (RFC 3056 §2).
pub(crate) fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    match v6.segments() {
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

/// Whether an address is in a network.
pub(crate) fn is_within(ip: IpAddr, network: IpAddr, prefix_len: u8) -> bool {
    let shift = |bits: u32| bits.saturating_sub(u32::from(prefix_len));
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            (u32::from(ip) ^ u32::from(network)).checked_shr(shift(32)).is_none_or(|rest| rest == 0)
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            (u128::from(ip) ^ u128::from(network)).checked_shr(shift(128)).is_none_or(|rest| rest == 0)
        }
        _ => false,
    }
}

/// The network of one site, for counting what comes from it: an IPv4 address, or the /64 of an IPv6 one, within which a host
/// takes as many addresses as it likes.
pub(crate) const fn site(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !(u64::MAX as u128))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_reaches_as_far_as_the_ipv4_address_that_it_stands_for() {
        let cases: [(Option<Scope>, &[&str]); 4] = [
            (
                Some(Scope::Host),
                &["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1"],
            ),
            (Some(Scope::Host), &["2002:7f00:1::1"]),
            (Some(Scope::Link), &["169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.1.1", "64:ff9b::a9fe:101"]),
            (
                None,
                &[
                    "0.0.0.0",
                    "0.1.2.3",
                    "::",
                    "224.0.0.1",
                    "239.1.2.3",
                    "255.255.255.255",
                    "ff02::1",
                    "::ffff:0.0.0.0",
                    "::ffff:224.0.0.1",
                    "64:ff9b::ffff:ffff",
                ],
            ),
        ];
        for (expected, addresses) in cases {
            addresses.iter().for_each(|text| assert_eq!(scope(ip(text)), expected, "{text}"));
        }
        let wide = ["10.0.0.1", "192.0.2.1", "100.64.0.1", "240.0.0.1", "2001:db8::1", "fd00::1", "64:ff9b::c000:201"];
        wide.iter().for_each(|text| assert_eq!(scope(ip(text)), Some(Scope::Wide), "{text}"));
    }

    #[test]
    fn host_and_link_are_for_those_who_share_them() {
        let cases = [
            ("127.0.0.1", "127.0.0.2", Ok(())),
            ("127.0.0.1", "::1", Ok(())),
            ("127.0.0.1", "192.0.2.1", Err(Unfit::OutOfScope)),
            ("127.0.0.1", "169.254.1.1", Err(Unfit::OutOfScope)),
            ("fe80::2", "fe80::1", Ok(())),
            ("fe80::2", "2001:db8::1", Err(Unfit::OutOfScope)),
            ("169.254.169.254", "10.0.0.1", Err(Unfit::OutOfScope)),
            ("169.254.169.254", "169.254.1.1", Ok(())),
            ("192.0.2.1", "127.0.0.1", Ok(())),
            ("224.0.0.1", "224.0.0.1", Err(Unfit::Nobody)),
            ("0.0.0.0", "127.0.0.1", Err(Unfit::Nobody)),
        ];
        for (named, beside, expected) in cases {
            assert_eq!(judge(ip(named), ip(beside)), expected, "{named} beside {beside}");
        }
    }

    #[test]
    fn a_site_is_an_ipv4_address_or_a_64() {
        assert_eq!(site(ip("192.0.2.7")), ip("192.0.2.7"));
        assert_eq!(site(ip("::ffff:192.0.2.7")), ip("192.0.2.7"));
        assert_eq!(site(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
    }
}
