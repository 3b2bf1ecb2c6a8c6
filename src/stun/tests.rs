use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use proptest::prelude::*;

use super::message::{Class, Message, Unreadable, looks_like_stun};
use super::*;
use crate::credentials::Password;
use crate::types::Role;

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

fn key() -> IntegrityKey {
    IntegrityKey::new(&PASSWORD.parse::<Password>().unwrap())
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The sample request of RFC 5769 §2.1.
fn sample_request() -> Vec<u8> {
    hex("000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74
         002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020
         000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf")
}

/// The sample IPv4 response of RFC 5769 §2.2.
fn sample_v4_response() -> Vec<u8> {
    hex("0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220
         002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7
         80280004c07d4c96")
}

/// The sample IPv6 response of RFC 5769 §2.3.
fn sample_v6_response() -> Vec<u8> {
    hex("010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220
         002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9
         00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c")
}

/// Req: 8489-14-a
/// Req: 8489-14.5-a
#[test]
fn the_sample_request_of_rfc_5769_is_read_and_verified() {
    let bytes = sample_request();
    let message = Message::read(&bytes).unwrap();
    assert_eq!(message.class, Class::Request);
    assert_eq!(message.username, Some(b"evtj:h6vY".as_slice()));
    assert_eq!(message.ufrags(), Some((b"evtj".as_slice(), b"h6vY".as_slice())));
    assert_eq!(message.priority, Some(0x6e00_01ff));
    assert_eq!(message.controlled, Some(0x932f_f9b1_5126_3b36));
    assert!(message.has_valid_fingerprint());
    assert!(message.clone().authenticate(&key()).is_some());
    let other = IntegrityKey::new(&"VOkJxbRl1RmTxUk/WvJxBu".parse().unwrap());
    assert!(message.authenticate(&other).is_none());
}

/// Req: 8489-14.2-a
#[test]
fn the_sample_responses_of_rfc_5769_are_read_and_verified() {
    let samples = [
        (sample_v4_response(), "192.0.2.1:32853"),
        (sample_v6_response(), "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ];
    for (bytes, address) in samples {
        let message = Message::read(&bytes).unwrap();
        assert_eq!((message.class, message.mapped), (Class::Success, Some(address.parse().unwrap())));
        assert!(message.has_valid_fingerprint() && message.authenticate(&key()).is_some());
    }
}

fn request<'a>(id: [u8; 12], to: &'a str, from: &'a str) -> Request<'a> {
    Request {
        id: TransactionId(id),
        to,
        from,
        priority: 0x6eff_ffff,
        role: Role::Controlling,
        tiebreaker: crate::types::Tiebreaker::new(7),
        use_candidate: true,
        nomination: None,
    }
}

/// Req: 8489-7-a
/// Req: 8445-7.2.2-a
/// Req: 8445-7.1.3-a
#[test]
fn a_check_is_what_the_reference_reads_in_it_with_fingerprint_last() {
    let mut out = Scratch::new();
    write_request(&mut out, &request([9; 12], "RFRAG", "LFRAG"), &key());
    let read = reference::read(&out).unwrap();
    assert_eq!(read.username.as_deref(), Some(b"RFRAG:LFRAG".as_slice()));
    assert_eq!((read.priority, read.controlling, read.controlled), (Some(0x6eff_ffff), Some(7), None));
    assert!(read.use_candidate && reference::is_genuine(&out, PASSWORD));
    assert_eq!(read.kinds, [0x0006, 0x0024, 0x802a, 0x0025, 0x0008, 0x8028]);
}

/// Req: 8489-6.1-a
#[test]
fn the_largest_check_is_smaller_than_548_bytes() {
    let (to, from): (String, String) = ("r".repeat(256), "l".repeat(32));
    let mut out = Scratch::new();
    write_request(&mut out, &request([1; 12], &to, &from), &key());
    assert!(out.len() < 548);
    assert_eq!(Message::read(&out).unwrap().ufrags(), Some((to.as_bytes(), from.as_bytes())));
}

/// Req: 8489-6.3.1-a
/// Req: 8489-9.1.3-b
#[test]
fn error_responses_are_what_the_reference_reads_in_them() {
    let mut list = UnknownAttributes::default();
    list.push(0x7fff);
    let cases = [
        (ErrorReply::BadRequest, 400),
        (ErrorReply::Unauthenticated, 401),
        (ErrorReply::Forbidden, 403),
        (ErrorReply::UnknownAttributes(list), 420),
        (ErrorReply::RoleConflict, 487),
    ];
    for (error, code) in cases {
        for integrity in [None, Some(Integrity::Sha1), Some(Integrity::Sha256)] {
            let mut out = Scratch::new();
            let key = key();
            write_error(&mut out, TransactionId([3; 12]), &error, integrity.map(|integrity| (&key, integrity)));
            let read = reference::read(&out).unwrap();
            assert_eq!((read.class, read.error), (Class::Error, Some(code)));
            assert_eq!(read.kinds.last(), Some(&0x8028));
            assert_eq!(integrity.is_some(), reference::is_genuine(&out, PASSWORD));
            assert_eq!(code == 420, read.kinds.contains(&0x000a));
        }
    }
}

/// Req: 8489-9.1.2-a
#[test]
fn a_message_protected_with_sha256_is_verified_with_it() {
    let mut out = Scratch::new();
    let mapped: SocketAddr = "192.0.2.1:1".parse().unwrap();
    write_success(&mut out, TransactionId([3; 12]), mapped, &key(), Integrity::Sha256);
    let read = reference::read(&out).unwrap();
    assert!(!read.kinds.contains(&0x0008) && reference::is_genuine(&out, PASSWORD));
    let genuine = Message::read(&out).unwrap().authenticate(&key()).unwrap();
    assert_eq!(genuine.integrity(), Integrity::Sha256);
}

/// A request of these attributes, with its length field set and nothing appended.
fn raw(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = hex("000100002112a442010101010101010101010101");
    for (kind, value) in attributes {
        bytes.extend(kind.to_be_bytes());
        bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        bytes.extend(*value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    set_length(&mut bytes, 0);
    bytes
}

fn set_length(bytes: &mut [u8], more: usize) {
    let length = u16::try_from(bytes.len() - 20 + more).unwrap();
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}

fn with_fingerprint(mut bytes: Vec<u8>) -> Vec<u8> {
    set_length(&mut bytes, 8);
    let tag = writer::fingerprint(&bytes);
    bytes.extend([0x80, 0x28, 0, 4]);
    bytes.extend(tag.to_be_bytes());
    bytes
}

fn with_integrity(mut bytes: Vec<u8>) -> Vec<u8> {
    set_length(&mut bytes, 24);
    let tag = key().sha1([&bytes, &[], &[]]);
    bytes.extend([0, 8, 0, 20]);
    bytes.extend(tag);
    bytes
}

/// Req: 8489-9-a
#[test]
fn what_follows_the_integrity_attribute_does_not_count() {
    let mut bytes = with_integrity(raw(&[(0x0006, b"abcd:efgh")]));
    bytes.extend([0, 0x25, 0, 0]);
    bytes.extend([0, 0x24, 0, 4, 0, 0, 0, 9]);
    let bytes = with_fingerprint(bytes);
    let message = Message::read(&bytes).unwrap();
    assert!(!message.use_candidate && message.priority.is_none());
    assert!(message.has_valid_fingerprint() && message.authenticate(&key()).is_some());
}

/// Req: 8489-14-a
#[test]
fn of_repeated_attributes_the_first_counts() {
    let bytes = with_fingerprint(raw(&[
        (0x0006, b"abcd:efgh"),
        (0x0006, b"wxyz:efgh"),
        (0x0024, &[0, 0, 0, 1]),
        (0x0024, &[0, 0, 0, 2]),
    ]));
    let message = Message::read(&bytes).unwrap();
    assert_eq!((message.username, message.priority), (Some(b"abcd:efgh".as_slice()), Some(1)));

    let mut bytes = raw(&[(0x0020, &[0, 9]), (0x0020, &[0, 1, 0, 0, 1, 2, 3, 4])]);
    bytes[..2].copy_from_slice(&[1, 1]);
    assert_eq!(Message::read(&with_fingerprint(bytes)).unwrap().mapped, None);
}

/// Req: 8489-6.3-a
/// Req: 8489-6.3.1-a
#[test]
fn only_attributes_that_have_to_be_understood_are_unknown() {
    let bytes = with_fingerprint(raw(&[
        (0xc057, &[1, 2, 3, 4]),
        (0x7fff, &[]),
        (0x7fff, &[]),
        (0x0014, b"realm"),
        (0x0031, &[0; 4]),
    ]));
    assert_eq!(Message::read(&bytes).unwrap().unknown.as_slice(), [0x7fff, 0x0031]);
}

/// Req: 8489-5-a
/// Req: 8489-7-a
#[test]
fn what_is_not_stun_is_told_apart() {
    let good = sample_request();
    assert!(looks_like_stun(&good));
    let change = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    assert!(
        !looks_like_stun(&change(0, 0x80)) && !looks_like_stun(&change(0, 0x40)) && !looks_like_stun(&change(4, 0))
    );
    assert!(!looks_like_stun(&good[..19]) && !looks_like_stun(&[]));
    assert_eq!(Message::read(&change(3, 0x57)).map(|_| ()), Err(Unreadable::Malformed));
    assert_eq!(Message::read(&good[..good.len() - 4]).map(|_| ()), Err(Unreadable::Malformed));
    assert_eq!(Message::read(&change(1, 3)).map(|_| ()), Err(Unreadable::Method));
    assert_eq!(Message::read(&raw(&[])).map(|_| ()), Err(Unreadable::NoFingerprint));
    let mut behind = with_fingerprint(raw(&[]));
    behind.extend([0x80, 0x22, 0, 0]);
    set_length(&mut behind, 0);
    assert_eq!(Message::read(&behind).map(|_| ()), Err(Unreadable::Malformed));
    assert!(!Message::read(&change(20 + 5, b'x')).unwrap().has_valid_fingerprint());
}

/// Req: 8489-6.3-a
#[test]
fn broken_values_are_noted_in_messages_where_ice_needs_them_and_ignored_in_others() {
    const CLASSES: [(u8, u8); 3] = [(0, 0x01), (1, 0x01), (1, 0x11)];
    for (kind, value, class) in [
        (0x0024, [0; 3].as_slice(), CLASSES[0]),
        (0x0025, &[1], CLASSES[0]),
        (0x802a, &[0; 7], CLASSES[0]),
        (0x0020, &[0, 3, 0, 0, 1, 2, 3, 4], CLASSES[1]),
        (0x0009, &[0, 0, 2, 0], CLASSES[2]),
    ] {
        for (high, low) in CLASSES {
            let mut bytes = raw(&[(kind, value)]);
            bytes[..2].copy_from_slice(&[high, low]);
            let bytes = with_fingerprint(bytes);
            let is_broken = Message::read(&bytes).unwrap().has_broken_attribute;
            assert_eq!(is_broken, (high, low) == class, "{kind:#06x} in {high}, {low}");
        }
    }
}

/// What the reader found, in the form of the reference.
fn found(message: &Message<'_>) -> (Class, [u8; 12], Option<Vec<u8>>, Option<SocketAddr>) {
    (message.class, message.id.0, message.username.map(<[u8]>::to_vec), message.mapped)
}

fn attribute() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let kinds = [0x0006, 0x0009, 0x000a, 0x0020, 0x0024, 0x0025, 0x8022, 0x8029, 0x802a, 0x7fff, 0x0014];
    (proptest::sample::select(Vec::from(kinds)), proptest::collection::vec(any::<u8>(), 0..24))
}

proptest! {
    /// Req: 8489-5-a
    #[test]
    fn reading_agrees_with_the_reference(
        attributes in proptest::collection::vec(attribute(), 0..6),
        is_protected in any::<bool>(),
        kind in 0_u8..0x20,
    ) {
        let list: Vec<(u16, &[u8])> = attributes.iter().map(|(kind, value)| (*kind, value.as_slice())).collect();
        let mut bytes = raw(&list);
        bytes[..2].copy_from_slice(&[kind >> 1 & 1, kind & 0x11]);
        if is_protected {
            bytes = with_integrity(bytes);
        }
        let bytes = with_fingerprint(bytes);
        let (ours, theirs) = (Message::read(&bytes), reference::read(&bytes));
        match (ours, theirs) {
            (Ok(_) | Err(Unreadable::Method), None) => prop_assert!(false, "the reference refuses what we read"),
            (Ok(ours), Some(theirs)) => {
                let mapped = theirs.mapped.filter(|_| theirs.class == Class::Success);
                prop_assert_eq!(found(&ours), (theirs.class, theirs.id, theirs.username, mapped));
                // The reference wants the reason phrase to be text; only the number matters here.
                let error = theirs.error.filter(|_| theirs.class == Class::Error);
                prop_assert!(error.is_none_or(|error| ours.error == Some(error)));
                prop_assert_eq!(is_protected, reference::is_genuine(&bytes, PASSWORD));
                prop_assert_eq!(is_protected, ours.authenticate(&key()).is_some());
            }
            (Err(Unreadable::Method), Some(theirs)) => prop_assert!(theirs.method != 1),
            (Err(_), _) => {}
        }
    }

    /// Req: 8489-5-a
    /// Req: proj-unauth-c
    #[test]
    fn flipped_bits_are_never_authentic(position in 0_usize..108 * 8) {
        let mut bytes = sample_request();
        bytes[position / 8] ^= 1 << (position % 8);
        let authentic = looks_like_stun(&bytes)
            && Message::read(&bytes).is_ok_and(|m| m.has_valid_fingerprint() && m.authenticate(&key()).is_some());
        prop_assert!(!authentic);
    }

    /// Req: proj-unauth-c
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), is_stun in any::<bool>()) {
        let mut bytes = bytes;
        if is_stun && bytes.len() >= 20 {
            bytes[0] &= 0x3f;
            bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
            set_length(&mut bytes, 0);
        }
        if let Ok(message) = Message::read(&bytes) {
            let _ = (message.has_valid_fingerprint(), message.ufrags(), message.authenticate(&key()));
        }
    }
}
