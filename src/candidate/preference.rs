//! Local preferences: in which order the addresses of one host are tried (RFC 8445 §5.1.2.1, RFC 8421 §4).

use alloc::vec::Vec;
use core::net::IpAddr;

/// What decides about the local preference of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traits {
    pub(crate) is_ipv6: bool,
    /// The interface is known to be slow, costly or flaky (RFC 8421 §3).
    pub(crate) is_unreliable: bool,
}

/// The order of the addresses, as indexes: IPv6 and IPv4 interleaved after a head start of IPv6, unreliable ones last.
///
/// Before the first IPv4 address stand `(N4 + N6) / N4` IPv6 ones (RFC 8421 §4), behind it one of each in turn. Within a
/// family the given order stays.
pub(crate) fn order(addresses: &[Traits]) -> Vec<usize> {
    let mut result = Vec::with_capacity(addresses.len());
    for is_unreliable in [false, true] {
        let of = |is_ipv6| {
            let wanted = Traits { is_ipv6, is_unreliable };
            addresses.iter().enumerate().filter(move |(_, traits)| **traits == wanted).map(|(index, _)| index)
        };
        let (n4, n6) = (of(false).count(), of(true).count());
        let (mut v4, mut v6) = (of(false), of(true));
        let head_start = (n4 + n6).checked_div(n4).unwrap_or(n6);
        result.extend(v6.by_ref().take(head_start));
        while result.len() < addresses.len() {
            let before = result.len();
            result.extend(v4.next());
            result.extend(v6.next());
            if result.len() == before {
                break;
            }
        }
    }
    result
}

/// The precedence of an address in the default policy table of RFC 6724 §2.1: the local preference that a lite agent with IPv6 gives it (RFC 8445 §5.2).
pub(crate) fn precedence(ip: IpAddr) -> u16 {
    let IpAddr::V6(v6) = ip else { return 35 };
    let [first, second, ..] = v6.segments();
    match (first, second) {
        _ if v6.is_loopback() => 50,
        (0x2002, _) => 30,
        (0x2001, 0) => 5,
        (0xfc00..=0xfdff, _) => 3,
        (0x3ffe, _) => 1,
        _ => 40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    const V4: Traits = Traits { is_ipv6: false, is_unreliable: false };
    const V6: Traits = Traits { is_ipv6: true, is_unreliable: false };

    fn families(addresses: &[Traits]) -> String {
        order(addresses).iter().map(|index| if addresses[*index].is_ipv6 { '6' } else { '4' }).collect()
    }

    /// Req: 8421-4-b
    #[test]
    fn ipv4_follows_after_the_head_start_of_ipv6() {
        assert_eq!(families(&[V4, V4, V6, V6, V6, V6, V6, V6]), "66664646");
        assert_eq!(families(&[V4, V6]), "64");
        assert_eq!(families(&[V4, V4]), "44");
        assert_eq!(families(&[V6]), "6");
        assert_eq!(families(&[]), "");
    }

    /// Req: 8421-3-a
    #[test]
    fn addresses_of_unreliable_interfaces_come_last() {
        let flaky = Traits { is_unreliable: true, ..V6 };
        assert_eq!(order(&[flaky, V4, V6]), [2, 1, 0]);
    }
}
