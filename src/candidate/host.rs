//! Which addresses of a host make good candidates (RFC 8445 §5.1.1.1, RFC 8835 §3.3).

use crate::types::address::plain_ip;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Why an address cannot be that of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnusableAddress {
    /// 0.0.0.0 or `::`.
    #[error("it is unspecified")]
    Unspecified,
    /// Port 0.
    #[error("its port is 0")]
    PortZero,
    /// 127.0.0.0/8 or `::1`; see [`Config::with_loopback`](crate::Config::with_loopback).
    #[error("it is a loopback address")]
    Loopback,
    /// A multicast or broadcast address.
    #[error("it is not a unicast address")]
    NotUnicast,
    /// A link-local address, 169.254.0.0/16 or `fe80::/10`, named by somebody who is not on that link.
    #[error("it is a link-local address of elsewhere")]
    LinkLocal,
    /// A deprecated IPv4-compatible address, `::/96`.
    #[error("it is a deprecated IPv4-compatible address")]
    Ipv4Compatible,
    /// An IPv4-mapped address, `::ffff:0:0/96`. It does not occur: such an address counts as the IPv4 address in it.
    #[error("it is an IPv4-mapped address")]
    Ipv4Mapped,
    /// One that is left out by [`Config::with_address_filter`](crate::Config::with_address_filter).
    #[error("it is left out by the configuration")]
    Excluded,
    /// A deprecated site-local address, `fec0::/10`.
    #[error("it is a deprecated site-local address")]
    SiteLocal,
}

/// An address of an interface, as the operating system knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostAddress {
    /// The address.
    pub ip: IpAddr,
    /// Number of its interface, whatever the host counts by.
    pub interface: u32,
    /// Length of its network's prefix in bits.
    pub prefix_len: u8,
    /// It resists to be recognised elsewhere: a temporary (RFC 8981) or opaque (RFC 7217) IPv6 address.
    pub is_private: bool,
    /// It is deprecated: new sessions had better use another one (RFC 4862 §5.5.4).
    pub is_deprecated: bool,
    /// A session uses it.
    pub is_in_use: bool,
}

impl HostAddress {
    /// An address that is neither private, deprecated nor in use.
    #[must_use]
    pub const fn new(ip: IpAddr, interface: u32, prefix_len: u8) -> Self {
        Self { ip, interface, prefix_len, is_private: false, is_deprecated: false, is_in_use: false }
    }

    /// The same as a private one or not.
    #[must_use]
    pub const fn with_private(mut self, is_private: bool) -> Self {
        self.is_private = is_private;
        self
    }

    /// The same as a deprecated one or not.
    #[must_use]
    pub const fn with_deprecated(mut self, is_deprecated: bool) -> Self {
        self.is_deprecated = is_deprecated;
        self
    }

    /// The same as one in use or not.
    #[must_use]
    pub const fn with_in_use(mut self, is_in_use: bool) -> Self {
        self.is_in_use = is_in_use;
        self
    }

    /// The addresses on which to open sockets: those that [`Agent::add_socket`](crate::Agent::add_socket) takes, and of the
    /// IPv6 ones those that give the host away least.
    ///
    /// * Where a network has a private address on an interface, its others on that interface are left out.
    /// * With any private address, link-local ones are left out (both RFC 8445 §5.1.1.1).
    /// * Where there is a private address that is not deprecated, deprecated ones are left out, but for those in use
    ///   (RFC 8835 §3.3).
    ///
    /// ```
    /// use nilas::HostAddress;
    ///
    /// let stable = HostAddress::new("2001:db8::211:22ff:fe33:4455".parse()?, 2, 64);
    /// let temporary = HostAddress::new("2001:db8::a1b2:c3d4:e5f6:789".parse()?, 2, 64).with_private(true);
    /// let link_local = HostAddress::new("fe80::211:22ff:fe33:4455".parse()?, 2, 64);
    /// assert_eq!(HostAddress::select(&[stable, temporary, link_local]), [temporary]);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn select(addresses: &[Self]) -> Vec<Self> {
        let usable = || addresses.iter().filter(|one| is_candidate(one.ip));
        let private = || usable().filter(|one| one.is_private && one.ip.is_ipv6());
        let has_private = private().next().is_some();
        let has_fresh = private().any(|one| !one.is_deprecated);
        let is_exposed = |one: &Self| {
            let is_alike = |other: &Self| other.interface == one.interface && other.network() == one.network();
            !one.is_private && (private().any(is_alike) || has_private && is_link_local(one.ip))
        };
        let is_stale = |one: &Self| one.is_private && one.is_deprecated && has_fresh && !one.is_in_use;
        usable().filter(|one| one.ip.is_ipv4() || !is_exposed(one) && !is_stale(one)).copied().collect()
    }

    /// The network, if it is one of IPv6.
    fn network(&self) -> Option<(u128, u8)> {
        let IpAddr::V6(ip) = self.ip else { return None };
        let shift = 128_u32.saturating_sub(u32::from(self.prefix_len));
        Some((u128::from(ip).checked_shr(shift).unwrap_or_default(), self.prefix_len))
    }
}

/// Whether an address can be that of a candidate of this host (RFC 8445 §5.1.1.1).
pub(crate) fn check_host_address(address: SocketAddr, loopback: bool) -> Result<(), UnusableAddress> {
    if address.port() == 0 {
        return Err(UnusableAddress::PortZero);
    }
    check_host_ip(address.ip(), loopback)
}

fn check_host_ip(ip: IpAddr, loopback: bool) -> Result<(), UnusableAddress> {
    if ip.is_unspecified() {
        return Err(UnusableAddress::Unspecified);
    }
    if ip.is_loopback() {
        return if loopback { Ok(()) } else { Err(UnusableAddress::Loopback) };
    }
    if ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast()) {
        return Err(UnusableAddress::NotUnicast);
    }
    match ip {
        IpAddr::V4(_) => Ok(()),
        IpAddr::V6(v6) if is_ipv4_compatible(v6) => Err(UnusableAddress::Ipv4Compatible),
        IpAddr::V6(v6) if v6.segments().first().is_some_and(|first| first & 0xffc0 == 0xfec0) => {
            Err(UnusableAddress::SiteLocal)
        }
        IpAddr::V6(_) => Ok(()),
    }
}

fn is_ipv4_compatible(ip: Ipv6Addr) -> bool {
    ip.octets().starts_with(&[0; 12])
}

/// Whether an address, in its plain form, can be that of a candidate; loopback is for tests.
fn is_candidate(ip: IpAddr) -> bool {
    plain_ip(ip) == ip && check_host_ip(ip, false).is_ok()
}

const fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(ip: &str, interface: u32) -> HostAddress {
        HostAddress::new(ip.parse().unwrap(), interface, 64)
    }

    /// Req: 8445-5.1.1.1-e
    #[test]
    fn a_private_address_stands_for_the_others_of_its_network_and_interface() {
        let stable = one("2001:db8:1::211:22ff:fe33:4455", 1);
        let private = one("2001:db8:1::a1b2", 1).with_private(true);
        let other_network = one("2001:db8:2::211:22ff:fe33:4455", 1);
        let other_interface = one("2001:db8:1::211:22ff:fe33:6677", 2);
        let v4 = HostAddress::new("192.0.2.1".parse().unwrap(), 1, 24);
        let all = [stable, private, other_network, other_interface, v4];
        assert_eq!(HostAddress::select(&all), [private, other_network, other_interface, v4]);
    }

    /// Req: 8445-5.1.1.1-f
    #[test]
    fn link_local_addresses_are_taken_only_without_a_private_one() {
        let (link_local, private) = (one("fe80::1", 1), one("2001:db8::1", 2).with_private(true));
        assert_eq!(HostAddress::select(&[link_local, private]), [private]);
        assert_eq!(HostAddress::select(&[link_local]), [link_local]);
    }

    /// Req: 8835-3.3-a
    #[test]
    fn of_temporary_addresses_deprecated_ones_go_unless_they_are_in_use() {
        let fresh = one("2001:db8::1", 1).with_private(true);
        let old = one("2001:db8::2", 1).with_private(true).with_deprecated(true);
        assert_eq!(HostAddress::select(&[fresh, old]), [fresh]);
        assert_eq!(HostAddress::select(&[fresh, old.with_in_use(true)]), [fresh, old.with_in_use(true)]);
        assert_eq!(HostAddress::select(&[old]), [old]);
    }

    /// Req: 8445-5.1.1.1-b
    /// Req: 8445-5.1.1.1-c
    #[test]
    fn addresses_that_are_no_candidates_are_left_out() {
        let bad = [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "fec0::1",
            "::192.0.2.1",
            "::ffff:192.0.2.1",
            "ff02::1",
            "255.255.255.255",
        ];
        let bad: Vec<_> = bad.iter().map(|ip| one(ip, 1)).collect();
        assert_eq!(HostAddress::select(&bad), []);
    }
}
