//! How an allocation is asked for, and which answers make one.

use super::*;

/// Req: 8656-7.1-a
/// Req: 8656-7.3-a
/// Req: 8656-5-a
/// Req: 8489-9.2.5-a
#[test]
fn an_allocation_takes_a_bare_request_a_challenge_and_one_with_credentials() {
    let mut bench = Bench::new(Families::V4);
    let first = bench.serve(at(0), &Say::Challenge(401));
    let second = bench.grant(at(50), 300);
    let (first, second) = (ServerMessage::read(&first).unwrap(), ServerMessage::read(&second).unwrap());
    assert!(!first.has_integrity() && first.get(kinds::USERNAME).is_none());
    assert_ne!(first.id, second.id);
    for message in [first, second] {
        assert_eq!(message.get(kinds::REQUESTED_TRANSPORT), Some(&[17, 0, 0, 0][..]));
        assert_eq!(message.get(kinds::SOFTWARE), Some(b"nilas".as_slice()));
        assert_eq!(message.get(kinds::REQUESTED_ADDRESS_FAMILY), None);
        assert_eq!(message.get(kinds::ADDITIONAL_ADDRESS_FAMILY), None);
    }
    let relayed = SmallVec::from_slice(&[relayed()]);
    assert_eq!(bench.events(), [TurnEvent::Allocated { relayed, mapped: mapped() }]);
    // A minute before the lifetime that was granted is over.
    assert_eq!(bench.allocation.deadline(), Some(at(240_050)));
}

/// Req: 8656-7.1-b
#[test]
fn families_are_asked_for_by_one_attribute_at_the_most() {
    for (families, requested, additional) in
        [(Families::V4, None, None), (Families::V6, Some(2), None), (Families::Both, None, Some(2))]
    {
        let request = Bench::new(families).start(at(0)).unwrap();
        let request = ServerMessage::read(&request).unwrap();
        let family = |kind| request.get(kind).map(|value| value[0]);
        assert_eq!(family(kinds::REQUESTED_ADDRESS_FAMILY), requested);
        assert_eq!(family(kinds::ADDITIONAL_ADDRESS_FAMILY), additional);
    }
}

/// Req: 8656-7.4-a
/// Req: 8656-7.4-c
/// Req: 8656-7.4-g
#[test]
fn final_errors_end_the_asking() {
    for code in [400, 403, 420, 437, 440, 441, 442, 486, 500, 508] {
        let mut bench = Bench::new(Families::V4);
        bench.challenge(at(0));
        bench.serve(at(0), &Say::Error(code));
        assert_eq!(bench.events(), [TurnEvent::Failed { code, text: "scripted".into() }]);
        assert!(bench.start(secs(1)).is_none() && bench.allocation.deadline().is_none());
    }
    let mut bench = Bench::new(Families::V4);
    bench.challenge(at(0));
    bench.serve(at(0), &Say::Challenge(401));
    assert_eq!(bench.events(), [TurnEvent::Failed { code: 401, text: "again".into() }]);
    assert!(bench.start(secs(1)).is_none());
}

/// Req: 8656-7.4-b
#[test]
fn a_redirection_counts_with_integrity_alone() {
    let alternate = "198.51.100.20:3478".parse().unwrap();
    let mut bench = Bench::new(Families::V4);
    bench.challenge(at(0));
    bench.serve(at(0), &Say::Redirect(alternate));
    assert_eq!(bench.events(), [TurnEvent::Redirected(alternate)]);

    let mut bench = Bench::new(Families::V4);
    let request = bench.start(at(0)).unwrap();
    let mut out = ServerWriter::new(Class::Error, Method::Allocate, ServerMessage::read(&request).unwrap().id);
    out.put_error(300, "there").put_alternate_server(alternate);
    let forged = out.finish(None);
    let result = bench.allocation.handle_answer(at(1), &ServerMessage::read(&forged).unwrap());
    assert_eq!((result, bench.events()), (Err(DropReason::BadIntegrity), Vec::new()));
}

/// Req: 8656-7.3-c
/// Req: 8656-7.4-c
#[test]
fn a_server_of_one_family_gives_that_one_when_both_are_asked_for() {
    for code in [440, 420] {
        let mut bench = Bench::new(Families::Both);
        bench.challenge(at(0));
        bench.serve(at(0), &Say::Error(code));
        let next = bench.grant(at(0), 600);
        assert_eq!(ServerMessage::read(&next).unwrap().get(kinds::ADDITIONAL_ADDRESS_FAMILY), None);
        let events = bench.events();
        assert_eq!(events[0], TurnEvent::FamilyRefused { family: 2, code });
        assert!(matches!(events[1], TurnEvent::Allocated { .. }));
    }
    let mut bench = Bench::new(Families::Both);
    bench.challenge(at(0));
    bench.serve(
        at(0),
        &Say::Ok(&|out| {
            out.put_xor_address(kinds::XOR_RELAYED_ADDRESS, relayed())
                .put_xor_address(kinds::XOR_MAPPED_ADDRESS, mapped())
                .put(kinds::ADDRESS_ERROR_CODE, &[2, 0, 5, 8])
                .put(kinds::LIFETIME, &600_u32.to_be_bytes());
        }),
    );
    assert_eq!(bench.events()[0], TurnEvent::FamilyRefused { family: 2, code: 508 });
}

/// Req: 8656-7.3-b
#[test]
fn an_allocation_that_cannot_be_used_is_given_back() {
    let mut bench = Bench::new(Families::V6);
    bench.challenge(at(0));
    bench.grant(at(0), 600);
    let release = bench.serve(at(0), &Say::Ok(&|_| {}));
    let release = ServerMessage::read(&release).unwrap();
    assert_eq!((release.method, release.number(kinds::LIFETIME)), (Method::Refresh, Some(0)));
    assert!(matches!(bench.events().as_slice(), [TurnEvent::Lost { code: 0, .. }]));
    assert!(bench.allocation.is_over());
}

#[test]
fn the_length_of_each_request_is_known_before_it_is_written() {
    let six: IpAddr = "2001:db8::7".parse().unwrap();
    let wants: [fn(&mut Bench); 8] = [
        |_| {},
        |bench| bench.allocation.release(secs(60)),
        |bench| bench.allocation.refresh_now(secs(60)),
        |bench| assert!(bench.allocation.permit(ip(1))),
        |bench| assert!(bench.allocation.permit("2001:db8::7".parse().unwrap())),
        |bench| bench.allocation.bind(secs(60), SocketAddr::new(ip(1), 9)),
        |bench| bench.allocation.bind(secs(60), "[2001:db8::7]:9".parse().unwrap()),
        |bench| assert!((1..=8).all(|last| bench.allocation.permit(ip(last)))),
    ];
    for families in [Families::V4, Families::V6, Families::Both] {
        for is_signed in [false, true] {
            let mut bench = Bench::new(families);
            if is_signed {
                bench.challenge(at(0));
            }
            let length = bench.allocation.start_len().unwrap();
            assert!(bench.allocation.start(at(0), &mut bench.random, length - 1).is_none());
            assert_eq!(bench.allocation.start(at(0), &mut bench.random, length).map(<[u8]>::len), Some(length));
        }
    }
    for (case, want) in wants.iter().enumerate() {
        let mut bench = Bench::new(Families::Both);
        bench.challenge(at(0));
        bench.serve(
            at(0),
            &Say::Ok(&|out| {
                out.put_xor_address(kinds::XOR_RELAYED_ADDRESS, relayed())
                    .put_xor_address(kinds::XOR_RELAYED_ADDRESS, SocketAddr::new(six, 9))
                    .put_xor_address(kinds::XOR_MAPPED_ADDRESS, mapped());
            }),
        );
        want(&mut bench);
        bench.allocation.expire(secs(60));
        assert_eq!(bench.allocation.start_len().is_some(), case != 0);
        let Some(length) = bench.allocation.start_len() else { continue };
        assert!(bench.allocation.start(secs(60), &mut bench.random, length - 1).is_none(), "{case}");
        let request = bench.allocation.start(secs(60), &mut bench.random, length).unwrap().to_vec();
        assert_eq!(request.len(), length, "{case}");
        let read = ServerMessage::read(&request).unwrap();
        if case == 1 {
            assert_eq!(read.get(kinds::SOFTWARE), Some(&b"nilas"[..]), "also in the last one");
        }
        if case == 7 {
            // What one request has no room for is in the next.
            assert_eq!(read.xor_addresses(kinds::XOR_PEER_ADDRESS).count(), 1);
            let rest = bench.start(secs(60)).unwrap();
            assert_eq!(ServerMessage::read(&rest).unwrap().xor_addresses(kinds::XOR_PEER_ADDRESS).count(), 7);
        }
        // One that is sent again has the length that it has.
        let due = bench.allocation.deadline().unwrap();
        bench.allocation.expire(due);
        let repeated = bench.allocation.repeat_len().unwrap();
        assert_eq!(bench.allocation.repeat(due).map(<[u8]>::len), Some(repeated));
    }
}

#[test]
fn a_guest_is_served_without_credentials() {
    let mut bench = Bench::new(Families::V4);
    bench.allocation = Allocation::new(None, bench.allocation.terms.clone());
    let request = bench.grant(at(0), 600);
    assert!(!ServerMessage::read(&request).unwrap().has_integrity());
    assert!(matches!(bench.events().as_slice(), [TurnEvent::Allocated { .. }]));
    bench.allocation.release(at(0));
    bench.serve(secs(1), &Say::Ok(&|_| {}));
    assert_eq!(bench.events(), [TurnEvent::Released]);
    let mut bench = Bench::new(Families::V4);
    bench.allocation = Allocation::new(None, bench.allocation.terms.clone());
    bench.challenge(at(0));
    assert!(matches!(bench.events().as_slice(), [TurnEvent::Failed { code: 401, .. }]));
}

/// Req: 8656-7.3-b
#[test]
fn relayed_addresses_that_are_nobodys_or_of_another_scope_are_given_back() {
    for address in [
        "0.0.0.0:9",
        "255.255.255.255:9",
        "224.0.0.1:9",
        "127.0.0.1:9",
        "169.254.169.254:9",
        "[::ffff:127.0.0.1]:9",
        "198.51.100.9:0",
    ] {
        let mut bench = Bench::new(Families::V4);
        bench.challenge(at(0));
        let address: SocketAddr = address.parse().unwrap();
        let fill = |out: &mut ServerWriter| {
            out.put_xor_address(kinds::XOR_RELAYED_ADDRESS, address)
                .put_xor_address(kinds::XOR_MAPPED_ADDRESS, mapped());
        };
        bench.serve(at(0), &Say::Ok(&fill));
        assert_eq!(bench.events(), [], "{address}");
        let release = bench.serve(at(0), &Say::Ok(&|_| {}));
        assert_eq!(ServerMessage::read(&release).unwrap().number(kinds::LIFETIME), Some(0));
        assert!(matches!(bench.events().as_slice(), [TurnEvent::Lost { code: 0, .. }]));
    }
    // One of IPv4 in the form of IPv6 is one of IPv4.
    let mut bench = Bench::new(Families::V4);
    bench.challenge(at(0));
    bench.serve(
        at(0),
        &Say::Ok(&|out| {
            out.put_xor_address(kinds::XOR_RELAYED_ADDRESS, "[::ffff:198.51.100.9]:49152".parse().unwrap())
                .put_xor_address(kinds::XOR_MAPPED_ADDRESS, mapped());
        }),
    );
    assert_eq!(bench.allocation.relayed(), [relayed()]);
    // A server on this host relays on this host.
    let mut bench = Bench::new(Families::V4);
    bench.allocation.terms.server = "127.0.0.1".parse().unwrap();
    bench.challenge(at(0));
    bench.serve(
        at(0),
        &Say::Ok(&|out| {
            out.put_xor_address(kinds::XOR_RELAYED_ADDRESS, "127.0.0.1:49152".parse().unwrap())
                .put_xor_address(kinds::XOR_MAPPED_ADDRESS, "127.0.0.1:5000".parse().unwrap());
        }),
    );
    assert!(matches!(bench.events().as_slice(), [TurnEvent::Allocated { .. }]));
}

/// Req: 8656-7.4-h
#[test]
fn a_request_follows_the_schedule_over_udp_and_is_sent_once_over_a_stream() {
    let mut bench = Bench::new(Families::V4);
    let times: Vec<i64> = bench.run(secs(100)).iter().map(|(at, ..)| *at).collect();
    assert_eq!(times, [0, 500, 1500, 3500, 7500, 15500, 31500]);
    assert!(matches!(bench.events().as_slice(), [TurnEvent::Failed { code: 701, .. }]));
    let mut bench = Bench::with(Families::V4, true);
    assert_eq!(bench.run(secs(100)).len(), 1);
    assert!(matches!(bench.events().as_slice(), [TurnEvent::Failed { code: 701, .. }]));
}
