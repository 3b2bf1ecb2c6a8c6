//! Addresses in attributes (RFC 8489 §14.1, §14.2).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use stun_types::message::MAGIC_COOKIE;

use super::TransactionId;
use crate::types::address::plain;

/// Reads XOR-MAPPED-ADDRESS (RFC 8489 §14.2), in plain form: `a.b.c.d` for `::ffff:a.b.c.d`.
pub(super) fn xor_address(value: &[u8], id: TransactionId) -> Option<SocketAddr> {
    let (&[_, family, p1, p2], address) = value.split_first_chunk::<4>()?;
    let [c1, c2, c3, c4] = MAGIC_COOKIE.to_be_bytes();
    let port = u16::from_be_bytes([p1 ^ c1, p2 ^ c2]);
    let ip = match (family, address) {
        (1, &[a, b, c, d]) => IpAddr::V4(Ipv4Addr::new(a ^ c1, b ^ c2, c ^ c3, d ^ c4)),
        (2, _) => IpAddr::V6(xor_v6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?), id)),
        _ => return None,
    };
    Some(plain(SocketAddr::new(ip, port)))
}

/// Exchanges an IPv6 address for its XORed form, and back.
pub(super) fn xor_v6(ip: Ipv6Addr, id: TransactionId) -> Ipv6Addr {
    let mut mask = [0; 16];
    let (cookie, rest) = mask.split_at_mut(4);
    cookie.copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    rest.copy_from_slice(&id.0);
    Ipv6Addr::from(u128::from(ip) ^ u128::from_be_bytes(mask))
}

/// Reads MAPPED-ADDRESS (RFC 8489 §14.1), in plain form.
pub(super) fn address(value: &[u8]) -> Option<SocketAddr> {
    let (&[_, family, p1, p2], address) = value.split_first_chunk::<4>()?;
    let ip = match family {
        1 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        2 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        _ => return None,
    };
    Some(plain(SocketAddr::new(ip, u16::from_be_bytes([p1, p2]))))
}

/// Writes an address XORed with the header, and gives the part that it takes.
#[cfg(any(feature = "turn", feature = "sim"))]
pub(crate) fn write_xor_address(out: &mut [u8; 20], address: SocketAddr, id: TransactionId) -> &[u8] {
    let (front, tail) = out.split_at_mut(4);
    let [p1, p2] = (address.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes();
    let (family, length) = if address.is_ipv4() { (1, 8) } else { (2, 20) };
    front.copy_from_slice(&[0, family, p1, p2]);
    match address {
        SocketAddr::V4(v4) => {
            let ip = (u32::from(*v4.ip()) ^ MAGIC_COOKIE).to_be_bytes();
            tail.iter_mut().zip(ip).for_each(|(to, from)| *to = from);
        }
        SocketAddr::V6(v6) => tail.copy_from_slice(&xor_v6(*v6.ip(), id).octets()),
    }
    out.get(..length).unwrap_or_default()
}
