//! Input that is malformed, forged, or not for us: nothing changes but counters.

use std::net::SocketAddr;

use nilas::sim::{MessageBuilder, Wire};
use nilas::{ConnectionState, DropReason, Role};
use proptest::prelude::*;

use crate::help::secs;
use crate::solo::{Outcome, Solo, address, host};

/// Agents in every phase of a session: before the description, checking, connected, selected, and failed.
fn phases() -> Vec<(&'static str, Solo)> {
    let mut phases = vec![("new", Solo::new(Role::Controlled)), ("checking", Solo::checking(Role::Controlled))];
    let mut controlling = Solo::checking(Role::Controlling);
    controlling.add_socket("198.51.100.9:5009");
    phases.push(("controlling", controlling));
    let mut connected = Solo::checking(Role::Controlled);
    connected.answer();
    assert_eq!(connected.agent.state(), ConnectionState::Connected);
    phases.push(("connected", connected.clone()));
    let check = connected.check().use_candidate();
    let bytes = connected.seal(check);
    connected.receive(&bytes);
    assert!(connected.agent.selected_pair(connected.stream, nilas::ComponentId::RTP).is_some());
    phases.push(("selected", connected));
    let mut failed = Solo::checking(Role::Controlled);
    failed.agent.end_of_local_candidates(failed.now, failed.stream).unwrap();
    failed.agent.end_of_remote_candidates(failed.now, failed.stream).unwrap();
    failed.drain();
    failed.run_for(secs(60));
    assert_eq!(failed.agent.state(), ConnectionState::Failed);
    phases.push(("failed", failed));
    phases
}

/// What an agent with the packet does in the next minute is what it does without.
fn assert_unmoved(name: &str, before: &Solo, after: &Solo) {
    assert_eq!(after.digest(), before.digest(), "{name}");
    assert_eq!(after.future(), before.future(), "{name}");
}

fn flip(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// S018
/// Req: 8489-7-a
/// Req: 8489-5-a
/// Req: proj-unauth-a
#[test]
fn messages_with_a_bad_fingerprint_or_form_are_dropped_without_an_answer() {
    for (phase, mut solo) in phases() {
        let password = solo.ours().password;
        let sealed = |solo: &mut Solo| solo.check().use_candidate().integrity(&password);
        let whole = sealed(&mut solo).fingerprint().build();
        let mut odd = whole.clone();
        odd.extend([0; 2]);
        odd[3] += 2;
        let cut = sealed(&mut solo).attribute(0x8022, b"abcd").fingerprint().build();
        let cases = [
            ("no fingerprint", sealed(&mut solo).build(), DropReason::BadFingerprint),
            (
                "wrong fingerprint",
                sealed(&mut solo).attribute(0x8028, &[1, 2, 3, 4]).build(),
                DropReason::BadFingerprint,
            ),
            (
                "fingerprint not last",
                sealed(&mut solo).fingerprint().attribute(0x8022, b"").build(),
                DropReason::Malformed,
            ),
            ("two fingerprints", sealed(&mut solo).fingerprint().fingerprint().build(), DropReason::Malformed),
            ("short fingerprint", sealed(&mut solo).attribute(0x8028, &[1, 2, 3]).build(), DropReason::Malformed),
            ("cut off", whole[..whole.len() - 4].to_vec(), DropReason::Malformed),
            ("cut in the header", whole[..10].to_vec(), DropReason::Unclassified),
            ("longer than it says", [whole.as_slice(), &[0; 4]].concat(), DropReason::Malformed),
            ("length no multiple of four", odd, DropReason::Malformed),
            ("an attribute ends behind the end", flip(&cut, 8 * (cut.len() - 13)), DropReason::Malformed),
            ("cookie of RFC 3489", flip(&whole, 8 * 4), DropReason::Unclassified),
            ("empty", Vec::new(), DropReason::Unclassified),
        ];
        for (name, bytes, reason) in cases {
            let name = format!("{name}, {phase}");
            let before = solo.clone();
            let dropped = solo.dropped(reason);
            assert_eq!(solo.receive(&bytes), Outcome::Dropped(reason), "{name}");
            assert_eq!(solo.dropped(reason), dropped + 1);
            assert_eq!(solo.out.len(), before.out.len(), "{name}");
            assert_unmoved(&name, &before, &solo);
        }
        assert_eq!(solo.receive(&whole), Outcome::Handled, "the original is good");
    }
}

/// Req: 8489-5-a
/// Req: 8489-6.3.3-a
/// Req: 8445-11-e
/// S020
/// S021
#[test]
fn other_methods_and_indications_change_nothing_and_are_never_answered() {
    let mut solo = Solo::checking(Role::Controlled);
    let (ours, before) = (solo.ours(), solo.clone());
    // Binding is method 1, TURN has 3, 4 and 6 to 9; the class is in bits 4 and 8.
    for method in [0_u16, 2, 3, 4, 6, 7, 8, 9, 0xa, 0xb, 0xfff] {
        for class in [0x000, 0x010, 0x100, 0x110] {
            let kind = method & 0xf | (method & 0x70) << 1 | (method & 0xf80) << 2 | class;
            let builder = MessageBuilder::new(kind, solo.id()).username(ours.ufrag.as_str(), "peer").priority(1);
            let bytes = builder.controlling(1).use_candidate().integrity(&ours.password).fingerprint().build();
            assert_eq!(solo.receive(&bytes), Outcome::Dropped(DropReason::UnknownMethod), "{kind:#x}");
        }
    }
    let indication = |id| MessageBuilder::new(0x0011, id);
    for builder in [
        indication([1; 12]),
        indication([2; 12]).username(ours.ufrag.as_str(), "peer").priority(1).controlling(1).use_candidate(),
        indication([3; 12]).attribute(0x7fff, b"unknown"),
    ] {
        assert_eq!(solo.receive(&builder.clone().fingerprint().build()), Outcome::Handled);
        assert_eq!(solo.receive(&solo.seal(builder)), Outcome::Handled);
    }
    let naked = indication([4; 12]).build();
    assert_eq!(solo.receive(&naked), Outcome::Dropped(DropReason::BadFingerprint));
    assert_eq!(solo.out.len(), before.out.len());
    assert_unmoved("indications and other methods", &before, &solo);
}

/// Req: proj-unauth-a
/// Req: 8489-14.5-a
#[test]
fn every_flipped_bit_of_a_genuine_check_makes_it_worthless() {
    let mut solo = Solo::checking(Role::Controlled);
    let check = solo.check().use_candidate();
    let bytes = solo.seal(check);
    let (digest, future) = (solo.digest(), solo.future());
    for bit in 0..bytes.len() * 8 {
        let outcome = solo.receive_from(address("192.0.2.66:6"), &flip(&bytes, bit));
        assert!(matches!(outcome, Outcome::Dropped(_)), "bit {bit}: {outcome:?}");
        assert_eq!(solo.digest(), digest, "bit {bit}");
    }
    assert_eq!(solo.future(), future);
    // With a fingerprint that is right again, the integrity has to tell.
    let end = bytes.len() - 8;
    for bit in 0..end * 8 {
        let mut forged = flip(&bytes[..end], bit);
        let crc = fingerprint(&mut forged);
        forged.extend(crc);
        let outcome = solo.receive_from(address("192.0.2.66:6"), &forged);
        let is_dropped = matches!(outcome, Outcome::Dropped(_));
        // The bit that makes an indication of it is harmless.
        assert!(is_dropped || forged[1] == 0x11, "bit {bit}: {outcome:?}");
        assert_eq!(solo.digest(), digest, "bit {bit}");
    }
    assert_eq!(solo.future(), future);
}

/// FINGERPRINT for these bytes, which do not have it yet.
fn fingerprint(bytes: &mut [u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in &*bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    [&[0x80, 0x28, 0, 4], (!crc ^ 0x5354_554e).to_be_bytes().as_slice()].concat()
}

/// Req: proj-unauth-a
/// Req: 8445-19.2-a
#[test]
fn forged_requests_and_responses_change_nothing_in_any_phase() {
    for (phase, mut solo) in phases() {
        let before = solo.clone();
        let (wrong, ours) = (nilas::Credentials::new("evil", "wrongPasswordOfNobody01").unwrap(), solo.ours());
        let role = solo.agent.role();
        let asked: Vec<_> = solo.out.iter().filter_map(|out| out.wire().request().map(|request| request.id)).collect();
        let mut forged = vec![
            solo.check().use_candidate().integrity(&wrong.password).fingerprint().build(),
            solo.check().use_candidate().integrity_sha256(&wrong.password).fingerprint().build(),
            solo.check()
                .use_candidate()
                .integrity(&ours.password)
                .integrity_sha256(&wrong.password)
                .fingerprint()
                .build(),
            solo.check_as(role, u64::MAX).integrity(&wrong.password).fingerprint().build(),
            solo.check_as(role, 0).fingerprint().build(),
            solo.check().use_candidate().integrity(&solo.theirs.password).fingerprint().build(),
        ];
        for id in asked {
            let success = MessageBuilder::binding_success(id).mapped_v4("192.0.2.5:5".parse().unwrap());
            let errors = [400, 401, 403, 487, 500].map(|code| MessageBuilder::binding_error(id, code));
            for builder in std::iter::once(success).chain(errors) {
                forged.push(builder.clone().fingerprint().build());
                forged.push(builder.clone().integrity(&wrong.password).fingerprint().build());
                forged.push(builder.integrity(&ours.password).fingerprint().build());
            }
        }
        for (count, bytes) in forged.iter().enumerate() {
            for source in [solo.remote, address("192.0.2.66:6")] {
                let outcome = solo.receive_from(source, bytes);
                assert!(matches!(outcome, Outcome::Dropped(_)), "{phase} {count}: {outcome:?}");
                assert_unmoved(&format!("{phase}, packet {count}"), &before, &solo);
            }
        }
        let sent = &solo.out[before.out.len()..];
        let is_harmless = |out: &crate::solo::Out| matches!(out.wire(), Wire::Error { code: Some(400 | 401), .. });
        assert!(sent.len() <= 10 && sent.iter().all(is_harmless), "{phase}");
    }
}

/// Req: 8489-9-a
#[test]
fn what_stands_behind_the_integrity_has_no_effect() {
    let mut solo = Solo::checking(Role::Controlled);
    solo.answer();
    let password = solo.ours().password;
    let appended = |solo: &mut Solo, kind: u16, value: &[u8]| {
        solo.check().integrity(&password).attribute(kind, value).fingerprint().build()
    };
    let nominating = appended(&mut solo, 0x0025, &[]);
    assert_eq!(solo.receive(&nominating), Outcome::Handled);
    solo.run_for(secs(1));
    assert!(!solo.agent.pairs().any(|pair| pair.is_nominated), "USE-CANDIDATE was not protected");
    let unknown = appended(&mut solo, 0x7fff, &[]);
    assert_eq!(solo.receive(&unknown), Outcome::Handled);
    let roles = appended(&mut solo, 0x8029, &[0xff; 8]);
    assert_eq!(solo.receive(&roles), Outcome::Handled);
    assert_eq!(solo.agent.role(), Role::Controlled);
    // Behind SHA-256, even another MESSAGE-INTEGRITY is nothing.
    let check = solo.check().integrity_sha256(&password).integrity(&solo.theirs.password).use_candidate();
    assert_eq!(solo.receive(&check.fingerprint().build()), Outcome::Handled);
    assert!(!solo.agent.pairs().any(|pair| pair.is_nominated));
    let check = solo.check().use_candidate();
    let genuine = solo.seal(check);
    solo.receive(&genuine);
    assert!(solo.agent.pairs().all(|pair| pair.is_nominated));
}

/// S025
/// Req: 8445-7.1.2-a
#[test]
fn a_nomination_by_a_controlled_peer_is_not_honoured() {
    // Whichever way the conflict is solved.
    for tiebreaker in [0, u64::MAX] {
        for role in [Role::Controlling, Role::Controlled] {
            let mut solo = Solo::checking(role);
            solo.answer();
            solo.take();
            let check = solo.check_as(Role::Controlled, tiebreaker).use_candidate();
            let bytes = solo.seal(check);
            solo.receive(&bytes);
            assert!(!solo.agent.pairs().any(|pair| pair.is_nominated), "{role} {tiebreaker}");
        }
    }
}

/// S030
/// Req: proj-rx-a
#[test]
fn data_is_delivered_from_where_an_authentic_check_came_and_from_nowhere_else() {
    let mut solo = Solo::checking(Role::Controlled);
    let data = [0x80, 1, 2, 3];
    let elsewhere = address("192.0.2.66:6");
    for source in [solo.remote, elsewhere] {
        assert_eq!(solo.receive_from(source, &data), Outcome::Dropped(DropReason::UnvalidatedSource));
    }
    let check = solo.check();
    let bytes = solo.seal(check);
    solo.receive(&bytes);
    assert_eq!(solo.receive(&data), Outcome::Data);
    assert_eq!(solo.receive_from(elsewhere, &data), Outcome::Dropped(DropReason::UnvalidatedSource));
    assert_eq!(solo.receive(&[2, 1, 2, 3]), Outcome::Dropped(DropReason::Unclassified));
}

/// S031
/// Req: proj-ct-a
#[test]
fn an_agent_that_is_printed_tells_no_password() {
    for (phase, solo) in phases() {
        let text = format!("{:?} {:#?} {:?}", solo.agent, solo.agent, solo.events);
        for secret in [solo.ours().password.expose(), solo.theirs.password.expose()] {
            assert!(!text.contains(secret), "{phase}");
        }
        assert!(text.contains("Password(..)"));
    }
}

/// S014
#[test]
fn credentials_that_are_too_short_too_long_or_of_other_characters_are_typed_errors() {
    use nilas::{Credentials, ParseCredentialError as E};
    let password = "x".repeat(22);
    assert!(Credentials::new("abcd", &password).is_ok());
    assert_eq!(Credentials::new("abc", &password), Err(E::TooShort { length: 3, least: 4 }));
    assert_eq!(Credentials::new("abcd", &password[1..]), Err(E::TooShort { length: 21, least: 22 }));
    assert_eq!(Credentials::new(&"u".repeat(257), &password), Err(E::TooLong(257)));
    assert_eq!(Credentials::new("ab:cd", &password), Err(E::Character(2)));
}

#[test]
fn a_password_that_contradicts_what_is_known_is_refused_and_changes_nothing() {
    let mut solo = Solo::checking(Role::Controlled);
    let before = solo.clone();
    let other = nilas::Credentials::new("peer", "anotherPasswordOfPeer012").unwrap();
    let description = nilas::RemoteDescription::new(other.clone()).with_candidates(vec![host("192.0.2.1:1")]);
    assert!(solo.agent.set_remote_description(solo.now, solo.stream, &description).is_err());
    assert!(solo.agent.add_forked_credentials(solo.now, solo.stream, &other).is_err());
    solo.drain();
    assert_unmoved("another password", &before, &solo);
}

/// A packet that a stranger can make: random, or one that was seen and changed.
fn stray(seen: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    let changed = (prop::sample::select(seen), changes, any::<prop::sample::Index>(), 0..5_u8).prop_map(
        |(mut bytes, changes, cut, how)| {
            match how {
                0 => bytes.truncate(cut.index(bytes.len())),
                1 => {
                    let at = cut.index(bytes.len());
                    bytes.splice(at..at, changes.iter().map(|(_, byte)| *byte));
                }
                _ => {
                    for (at, byte) in changes {
                        let at = at.index(bytes.len());
                        bytes[at] ^= byte.max(1);
                    }
                }
            }
            bytes
        },
    );
    let random = proptest::collection::vec(any::<u8>(), 0..200);
    let headed = proptest::collection::vec(any::<u8>(), 0..100).prop_map(|rest| {
        let length = u16::try_from(rest.len() + 12).unwrap().saturating_sub(12).to_be_bytes();
        [&[0, 1], length.as_slice(), &[0x21, 0x12, 0xa4, 0x42], &[5; 12], &rest].concat()
    });
    prop_oneof![3 => changed, 1 => random, 1 => headed]
}

/// The packets of a whole session, and one with all kinds of attributes.
fn seen() -> Vec<Vec<u8>> {
    let mut solo = Solo::checking(Role::Controlled);
    let check = solo.check().use_candidate();
    let password = solo.ours().password;
    let mut packets = vec![solo.seal(check), solo.check().integrity_sha256(&password).fingerprint().build()];
    let id = solo.last().request().id;
    packets.push(solo.success(id, solo.local));
    packets.push(solo.error(id, 487));
    packets.extend(solo.take().into_iter().map(|out| out.bytes));
    packets
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Req: proj-unauth-a
    /// Req: proj-unauth-c
    /// Req: 8489-5-a
    #[test]
    fn packets_of_strangers_change_nothing_but_counters(
        phase in 0_usize..6,
        strays in proptest::collection::vec((stray(seen()), any::<bool>()), 1..12),
    ) {
        let (name, mut solo) = phases().swap_remove(phase);
        let untouched = seen();
        let before = solo.clone();
        for (bytes, is_elsewhere) in strays {
            if untouched.contains(&bytes) {
                continue;
            }
            let source = if is_elsewhere { address("192.0.2.66:6") } else { solo.remote };
            let sent = solo.out.len();
            let outcome = solo.receive_from(source, &bytes);
            // Data of a trusted source is data, whatever it says.
            let is_stun = bytes.first().is_some_and(|first| *first < 4);
            prop_assert!(matches!(outcome, Outcome::Dropped(_)) || !is_stun || bytes[..2] == [0, 0x11], "{name}");
            let answers = &solo.out[sent..];
            prop_assert!(answers.len() <= 1);
            prop_assert!(answers.iter().all(|answer| answer.bytes.len() <= 548 && answer.destination == source));
            if outcome != Outcome::Data {
                prop_assert_eq!(solo.digest(), before.digest());
            }
        }
        prop_assert_eq!(solo.future(), before.future());
    }
}

/// Req: proj-unauth-b
#[test]
fn no_answer_is_larger_than_twice_its_request() {
    let mut solo = Solo::checking(Role::Controlled);
    let ours = solo.ours();
    let request = || MessageBuilder::binding_request([1; 12]);
    let many = (0x7f00..0x7f40)
        .fold(request().username(ours.ufrag.as_str(), "peer"), |builder, kind| builder.attribute(kind, &[]));
    for bytes in [
        request().fingerprint().build(),
        request().username("x", "y").attribute(0x0008, &[0; 20]).fingerprint().build(),
        solo.seal(many),
        solo.seal(request().username(ours.ufrag.as_str(), "peer")),
    ] {
        let sent = solo.out.len();
        solo.receive(&bytes);
        let answers = &solo.out[sent..];
        assert_eq!(answers.len(), 1);
        assert!(answers[0].bytes.len() <= 2 * bytes.len() && answers[0].bytes.len() < 548);
    }
}

/// Req: proj-unauth-c
#[test]
fn the_highest_signalled_priorities_are_survived() {
    let mut solo = Solo::new(Role::Controlling);
    let most = nilas::Priority::new(u32::MAX).unwrap();
    let to = SocketAddr::new(solo.remote.ip(), 1);
    let candidate = |to| {
        let kind = nilas::CandidateKind::Host;
        nilas::Candidate::new(kind, nilas::ComponentId::RTP, "1".parse().unwrap(), most, to)
    };
    solo.describe(vec![candidate(solo.remote), candidate(to)]);
    let id = solo.id();
    let ufrag = solo.ours().ufrag;
    let check = MessageBuilder::binding_request(id).username(ufrag.as_str(), "peer").priority(u32::MAX).controlled(1);
    let bytes = solo.seal(check);
    assert_eq!(solo.receive_from(address("192.0.2.7:7"), &bytes), Outcome::Handled);
    solo.run_for(secs(1));
    solo.answer();
    assert!(solo.agent.state().is_connected());
}
