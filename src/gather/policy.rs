//! What of the host may be shown to others: types of candidates, addresses, and addresses that stand for others.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::candidate::is_within;
use crate::types::address::{plain_ip, plain_network};

/// Which types of candidates are gathered, signalled and used (RFC 9429 §3.5.3, RFC 8828 §5.2).
///
/// What is left out leaves the host in no way: not as a candidate, not as the related address of one (that is 0.0.0.0 or
/// `::` with port 9 then, RFC 8839 §5.1), and not as the source of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "the types that an agent gathers are these")]
pub struct CandidateTypes {
    /// Addresses of the host itself.
    pub host: bool,
    /// Addresses that a NAT gave to the host.
    pub server_reflexive: bool,
    /// Addresses on a TURN server.
    pub relayed: bool,
}

impl CandidateTypes {
    /// All types: modes 1 and 2 of RFC 8828, by the choice of sockets.
    pub const ALL: Self = Self { host: true, server_reflexive: true, relayed: true };
    /// No addresses of the host: mode 3 of RFC 8828. Its sockets are where reflexive candidates are checked from.
    pub const NO_HOST: Self = Self { host: false, server_reflexive: true, relayed: true };
    /// Relayed ones only: `iceTransportPolicy` `relay` of the W3C. The host talks to nobody but TURN servers.
    pub const RELAY_ONLY: Self = Self { host: false, server_reflexive: false, relayed: true };

    /// Whether checks may leave from an address of the host.
    pub(crate) const fn are_direct(self) -> bool {
        self.host || self.server_reflexive
    }
}

impl Default for CandidateTypes {
    fn default() -> Self {
        Self::ALL
    }
}

/// Which addresses of the host are used. Sockets at others are refused.
///
/// ```
/// use nilas::AddressFilter;
///
/// // Neither IPv6 nor what a container runtime has made up.
/// let filter = AddressFilter::default().without_ipv6().without_network("172.17.0.0".parse()?, 16);
/// assert!(filter.allows("192.168.1.7".parse()?) && !filter.allows("172.17.0.1".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressFilter {
    has_no_ipv4: bool,
    has_no_ipv6: bool,
    networks: Vec<(IpAddr, u8)>,
}

impl AddressFilter {
    /// The same without IPv4 addresses.
    #[must_use]
    pub const fn without_ipv4(mut self) -> Self {
        self.has_no_ipv4 = true;
        self
    }

    /// The same without IPv6 addresses.
    #[must_use]
    pub const fn without_ipv6(mut self) -> Self {
        self.has_no_ipv6 = true;
        self
    }

    /// The same without the addresses of a network: those of an interface, or a single one with the full prefix length.
    #[must_use]
    pub fn without_network(mut self, network: IpAddr, prefix_len: u8) -> Self {
        self.networks.push(plain_network(network, prefix_len));
        self
    }

    /// Whether an address is used.
    #[must_use]
    pub fn allows(&self, ip: IpAddr) -> bool {
        let ip = plain_ip(ip);
        let is_excluded = match ip {
            IpAddr::V4(_) => self.has_no_ipv4,
            IpAddr::V6(_) => self.has_no_ipv6,
        };
        !is_excluded && !self.networks.iter().any(|(network, prefix_len)| is_within(ip, *network, *prefix_len))
    }
}

/// How an address is shown that stands for one of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MappingMode {
    /// The host candidate has the public address, and the private one is not shown.
    Replace,
    /// The public address is a server-reflexive candidate next to the host candidate.
    Add,
}

/// Public addresses of a host behind a NAT that gives each of its addresses one of its own and keeps the ports, as clouds do:
/// they are known without asking a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressMapping {
    rules: Vec<(IpAddr, IpAddr, MappingMode)>,
}

impl AddressMapping {
    /// The same with a rule: `public` stands for `local`. A local address has one rule, the first; both are of one family.
    #[must_use]
    pub fn with_rule(mut self, local: IpAddr, public: IpAddr, mode: MappingMode) -> Self {
        self.rules.push((plain_ip(local), plain_ip(public), mode));
        self
    }

    /// What stands for this address.
    pub(crate) fn of(&self, local: SocketAddr) -> Option<(SocketAddr, MappingMode)> {
        let is_it =
            |(of, public, _): &&(IpAddr, IpAddr, MappingMode)| *of == local.ip() && of.is_ipv4() == public.is_ipv4();
        let (_, public, mode) = self.rules.iter().find(is_it)?;
        Some((SocketAddr::new(*public, local.port()), *mode))
    }
}

/// What is told instead of a related address that is not to be shown (RFC 8839 §5.1).
pub(crate) const fn masked(address: SocketAddr) -> SocketAddr {
    const PORT: u16 = 9;
    match address {
        SocketAddr::V4(_) => SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT)),
        SocketAddr::V6(_) => SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_left_out_by_their_prefix() {
        let filter = AddressFilter::default()
            .without_network(ip("10.0.0.0"), 8)
            .without_network(ip("192.0.2.7"), 32)
            .without_network(ip("2001:db8::"), 33);
        let cases = [
            ("10.255.0.1", false),
            ("11.0.0.1", true),
            ("192.0.2.7", false),
            ("192.0.2.6", true),
            ("2001:db8:7fff::1", false),
            ("2001:db8:8000::1", true),
        ];
        for (text, is_allowed) in cases {
            assert_eq!(filter.allows(ip(text)), is_allowed, "{text}");
        }
        let nothing = AddressFilter::default().without_network(ip("0.0.0.0"), 0).without_network(ip("::"), 0);
        assert!(!nothing.allows(ip("1.2.3.4")) && !nothing.allows(ip("::1")));
        assert!(!AddressFilter::default().without_ipv4().allows(ip("1.2.3.4")));
        assert!(AddressFilter::default().without_ipv4().allows(ip("::1")));
    }

    #[test]
    fn the_first_rule_of_an_address_counts_and_the_port_stays() {
        let mapping = AddressMapping::default()
            .with_rule(ip("10.0.0.1"), ip("2001:db8::1"), MappingMode::Add)
            .with_rule(ip("10.0.0.1"), ip("192.0.2.1"), MappingMode::Replace)
            .with_rule(ip("10.0.0.1"), ip("192.0.2.2"), MappingMode::Add);
        let found = mapping.of("10.0.0.1:5000".parse().unwrap());
        assert_eq!(found, Some(("192.0.2.1:5000".parse().unwrap(), MappingMode::Replace)));
        assert_eq!(mapping.of("10.0.0.2:5000".parse().unwrap()), None);
    }
}
