//! The forms in which an address comes: IPv4 as it is, or inside of IPv6 (RFC 4291 §2.5.5.2).
//!
//! A socket of IPv6 that is open for IPv4, too, names IPv4 hosts `::ffff:a.b.c.d`. That is the same address: all that is
//! compared is compared in the plain form (RFC 8445 §5.1.1.1), and only what leaves is given the form of its socket.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};

/// An IP address in plain form: `a.b.c.d` for `::ffff:a.b.c.d`.
pub(crate) const fn plain_ip(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => ip,
        },
    }
}

/// A network in plain form: 96 bits of the mapped form are the prefix of all IPv4 addresses.
pub(crate) const fn plain_network(network: IpAddr, prefix_len: u8) -> (IpAddr, u8) {
    match (plain_ip(network), prefix_len.checked_sub(96)) {
        (v4 @ IpAddr::V4(_), Some(rest)) if network.is_ipv6() => (v4, rest),
        _ => (network, prefix_len),
    }
}

/// An address in plain form.
pub(crate) const fn plain(address: SocketAddr) -> SocketAddr {
    match plain_ip(address.ip()) {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Whether an address is in the mapped form.
pub(crate) const fn is_mapped(address: SocketAddr) -> bool {
    address.is_ipv6() && plain(address).is_ipv4()
}

/// An IPv4 address in the mapped form; another one as it is.
pub(crate) const fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port()),
        SocketAddr::V6(_) => address,
    }
}

/// A link-local address in the scope of one of ours; any other as it is.
pub(crate) fn in_scope_of(base: SocketAddr, address: SocketAddr) -> SocketAddr {
    match (base, address) {
        (SocketAddr::V6(ours), SocketAddr::V6(theirs)) if is_ipv6_link_local(address) => {
            SocketAddr::V6(SocketAddrV6::new(*theirs.ip(), theirs.port(), 0, ours.scope_id()))
        }
        _ => address,
    }
}

pub(crate) const fn is_ipv6_link_local(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local())
}

/// The address without what does not tell two of them apart: the mapped form of IPv4, the flow label, and the scope of all but
/// link-local ones.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match plain(address) {
        SocketAddr::V4(v4) => SocketAddr::V4(v4),
        SocketAddr::V6(v6) => {
            let scope = if v6.ip().is_unicast_link_local() { v6.scope_id() } else { 0 };
            SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Req: 8445-5.1.1.1-d
    #[test]
    fn a_mapped_address_is_the_address_in_it_and_all_others_are_themselves() {
        let of = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (v4, in_v6) = (of("192.0.2.1:5000"), of("[::ffff:192.0.2.1]:5000"));
        assert_eq!((plain(in_v6), mapped(v4), is_mapped(in_v6)), (v4, in_v6, true));
        assert_eq!(plain_ip(in_v6.ip()), v4.ip());
        for other in ["192.0.2.1:5000", "[::192.0.2.1]:1", "[64:ff9b::192.0.2.1]:1", "[fe80::1%7]:1", "[::fffe:1:2]:1"]
        {
            assert_eq!((plain(of(other)), is_mapped(of(other))), (of(other), false), "{other}");
        }
        assert_eq!(mapped(of("[2001:db8::1]:1")), of("[2001:db8::1]:1"));
    }
}
