//! Names that hide addresses: a random UUID in `.local` (draft-ietf-mmusic-mdns-ice-candidates).

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::Write;

use crate::types::Random;

/// A new name: a UUID of version 4 (RFC 9562 §5.4), and `.local`.
pub(crate) fn new_name(random: &mut Random) -> Box<str> {
    let mut bits = [0; 16];
    random.fill(&mut bits);
    let bits = u128::from_be_bytes(bits);
    // Version 4 in bits 48 to 51, variant 2 in bits 64 and 65, counted from the highest.
    let bits = bits & !(0xf << 76) | 0x4 << 76;
    let bits = bits & !(0x3 << 62) | 0x2 << 62;
    let digits = alloc::format!("{bits:032x}");
    let mut name = String::with_capacity(42);
    for (place, digit) in digits.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            name.push('-');
        }
        name.push(digit);
    }
    let _ = name.write_str(".local");
    name.into()
}

/// Whether a host is a name of mDNS: it ends in `.local`, and has no other dot (§3.2).
pub(crate) fn is_mdns(host: &str) -> bool {
    let (name, domain) = host.split_once('.').unwrap_or_default();
    !name.is_empty() && domain.eq_ignore_ascii_case("local")
}

/// Whether a host is a name of mDNS that is a UUID: others are not asked for, which would tell who listens (§3.2).
pub(crate) fn is_hidden_address(host: &str) -> bool {
    let Some((name, _)) = host.split_once('.').filter(|_| is_mdns(host)) else { return false };
    let is_place_right = |(place, byte): (usize, u8)| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    name.len() == 36 && name.bytes().enumerate().all(is_place_right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Seed;

    /// Req: mdns-3.1-a
    #[test]
    fn a_name_is_a_uuid_of_version_4_in_local() {
        let mut random = Random::new(&Seed::from_name("mdns"));
        for _ in 0..100 {
            let name = new_name(&mut random);
            assert!(is_hidden_address(&name), "{name}");
            let (version, variant) = (name.as_bytes()[14], name.as_bytes()[19]);
            assert!(version == b'4' && b"89ab".contains(&variant), "{name}");
        }
    }

    /// Req: mdns-3.2-a
    #[test]
    fn a_name_of_mdns_ends_in_local_and_has_one_dot() {
        let uuid = "1f4712db-ea17-4bcf-a596-105139dfd8bf";
        let cases = [
            ("x.local", true, false),
            ("a.b.local", false, false),
            ("host.example", false, false),
            ("local", false, false),
            (".local", false, false),
            ("x.local.", false, false),
            (&alloc::format!("{uuid}.local"), true, true),
            (&alloc::format!("{uuid}.LOCAL"), true, true),
            (&alloc::format!("{uuid}.example"), false, false),
            (&alloc::format!("a.{uuid}.local"), false, false),
            ("1f4712db-ea17-4bcf-a596_105139dfd8bf.local", true, false),
        ];
        for (host, is_name, is_uuid) in cases {
            assert_eq!((is_mdns(host), is_hidden_address(host)), (is_name, is_uuid), "{host}");
        }
    }
}
