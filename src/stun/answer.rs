//! What a STUN server answers to a Binding request without credentials (RFC 8489 §6.3.3, §6.3.4).
//!
//! Such an answer is believed because it has the transaction ID of a request that went to where it comes from. Unlike a
//! check it may lack FINGERPRINT, and come from an RFC 3489 server, which knows MAPPED-ADDRESS only.

use core::net::SocketAddr;

use super::message::error_code;
use super::{TransactionId, attributes, writer};
use crate::stun::address::{address, xor_address};

/// An answer to a Binding request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerAnswer<'a> {
    /// The address from which the server has seen the request.
    Mapped(SocketAddr),
    /// An error, and what the server says of it.
    Refused(u16, &'a str),
    /// It is an answer, and says nothing that can be used.
    Unusable,
}

const SUCCESS: u16 = 0x0101;
const ERROR: u16 = 0x0111;

/// The transaction ID of what may be a response to a Binding request.
pub(crate) fn response_id(bytes: &[u8]) -> Option<TransactionId> {
    let &[k1, k2, _, _, _, _, _, _, ref id @ ..] = bytes.first_chunk::<20>()?;
    matches!(u16::from_be_bytes([k1, k2]), SUCCESS | ERROR).then_some(TransactionId(*id))
}

/// Reads bytes for which [`response_id`] gives an ID; `None` if they are not well formed.
pub(crate) fn read_answer(bytes: &[u8]) -> Option<ServerAnswer<'_>> {
    let (header, mut rest) = bytes.split_first_chunk::<20>()?;
    let &[k1, k2, high, low, _, _, _, _, ref id @ ..] = header;
    if usize::from(u16::from_be_bytes([high, low])) != rest.len() {
        return None;
    }
    let (mut mapped, mut legacy, mut error, mut is_unknown) = (None, None, None, false);
    while let Some((&[k1, k2, l1, l2], behind)) = rest.split_first_chunk::<4>() {
        let offset = bytes.len() - rest.len();
        let length = usize::from(u16::from_be_bytes([l1, l2]));
        let (value, behind) = behind.split_at_checked(length)?;
        rest = behind.get(length.wrapping_neg() % 4..)?;
        match u16::from_be_bytes([k1, k2]) {
            attributes::FINGERPRINT => {
                let is_right = value == writer::fingerprint(bytes.get(..offset)?).to_be_bytes().as_slice();
                if !is_right || !rest.is_empty() {
                    return None;
                }
            }
            attributes::XOR_MAPPED_ADDRESS => mapped = mapped.or(xor_address(value, TransactionId(*id))),
            attributes::MAPPED_ADDRESS => legacy = legacy.or(address(value)),
            attributes::ERROR_CODE => error = error.or(error_code(value).map(|code| (code, reason(value)))),
            // What an RFC 3489 server adds: RESPONSE-ADDRESS, CHANGE-REQUEST, SOURCE-ADDRESS, CHANGED-ADDRESS, REFLECTED-FROM.
            0x0002..=0x0005 | 0x000b => {}
            kind => is_unknown |= attributes::is_unknown(kind),
        }
    }
    if !rest.is_empty() {
        return None;
    }
    if u16::from_be_bytes([k1, k2]) == ERROR {
        return Some(error.map_or(ServerAnswer::Unusable, |(code, text)| ServerAnswer::Refused(code, text)));
    }
    let usable = mapped.or(legacy).filter(|_| !is_unknown);
    Some(usable.map_or(ServerAnswer::Unusable, ServerAnswer::Mapped))
}

/// The text in ERROR-CODE; an empty one if it is not text.
fn reason(value: &[u8]) -> &str {
    value.get(4..).and_then(|text| core::str::from_utf8(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::stun::{Scratch, write_binding};
    use crate::types::{Random, Seed};

    fn id() -> TransactionId {
        TransactionId::draw(&mut Random::new(&Seed::from_name("answer")))
    }

    /// A success response with this attribute.
    fn success(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut request = Scratch::new();
        write_binding(&mut request, id());
        let mut bytes = request[..20].to_vec();
        let length = u8::try_from(value.len()).unwrap();
        bytes[..4].copy_from_slice(&[1, 1, 0, 4 + length]);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, length]);
        bytes.extend_from_slice(value);
        bytes
    }

    #[test]
    fn only_responses_to_binding_requests_have_an_id() {
        let mut request = Scratch::new();
        write_binding(&mut request, id());
        assert_eq!(response_id(&request), None);
        assert_eq!(response_id(&success(0x0001, &[0, 1, 0, 1, 192, 0, 2, 1])), Some(id()));
        assert_eq!(response_id(&[1, 1, 0, 0]), None);
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        let v6 = [0, 2, 0, 7, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let read = |bytes: &[u8]| read_answer(bytes).map(|answer| alloc::format!("{answer:?}"));
        assert_eq!(read(&success(0x0001, &v6)).as_deref(), Some("Mapped([2001:db8::1]:7)"));
        assert_eq!(read(&success(0x0001, &[0, 1, 0, 7, 192, 0, 2, 1])).as_deref(), Some("Mapped(192.0.2.1:7)"));
        assert_eq!(read(&success(0x0001, &[0, 3, 0, 7, 192, 0, 2, 1])).as_deref(), Some("Unusable"));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (response_id(&bytes), read_answer(&bytes));
        }

        #[test]
        fn a_damaged_answer_is_read_without_harm(at in 0_usize..32, to in any::<u8>(), end in 0_usize..33) {
            let mut bytes = success(0x0020, &[0, 1, 0x21, 0x13, 0xe1, 0x12, 0xa6, 0x43]);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = to;
            }
            bytes.truncate(end);
            let _ = (response_id(&bytes), read_answer(&bytes));
        }
    }
}
