//! A server, or somebody in its name, that means harm.

use super::*;

/// Req: 8489-9.2.5-b
#[test]
fn a_stale_nonce_is_followed_for_every_method_and_not_for_ever() {
    let wants: [fn(&mut Bench); 4] = [
        |_| {},
        |bench| bench.allocation.refresh_now(secs(60)),
        |bench| assert!(bench.allocation.permit(ip(1))),
        |bench| bench.allocation.bind(secs(60), SocketAddr::new(ip(1), 9)),
    ];
    for (case, want) in wants.iter().enumerate() {
        let mut bench = if case == 0 { Bench::new(Families::V4) } else { Bench::held() };
        if case == 0 {
            bench.challenge(secs(60));
        }
        want(&mut bench);
        bench.allocation.expire(secs(60));
        let first = bench.serve(secs(60), &Say::Challenge(438));
        let first = ServerMessage::read(&first).unwrap();
        for round in 1.. {
            assert!(round < 4, "it goes on for ever");
            let Some(request) = bench.start(secs(60)) else { break };
            let next = ServerMessage::read(&request).unwrap();
            assert_eq!((next.method, next.get(kinds::NONCE)), (first.method, Some(&bench.nonce.to_be_bytes()[..])));
            bench.answer(secs(60), &request, &Say::Challenge(438)).unwrap();
        }
        let events = bench.events();
        match case {
            0 => assert!(matches!(events.as_slice(), [TurnEvent::Failed { code: 438, .. }])),
            // Nobody knows whether it was the server: what is held serves on, and is asked for again some time later.
            _ => {
                assert!(matches!(events.as_slice(), [TurnEvent::Trouble { code: 438, .. }]), "{events:?}");
                assert_eq!(bench.allocation.relayed(), [relayed()]);
                let later = secs(if case == 1 { 65 } else { 61 });
                assert_eq!(bench.allocation.deadline(), Some(later));
                bench.allocation.expire(later);
                assert_eq!(ServerMessage::read(&bench.start(later).unwrap()).unwrap().method, first.method);
            }
        }
    }
}

/// Req: 8656-7.4-a
/// Req: 8489-9.2.5-a
#[test]
fn one_forged_error_is_one_more_request_and_ends_nothing() {
    let wants: [fn(&mut Bench); 3] = [
        |bench| bench.allocation.refresh_now(secs(60)),
        |bench| assert!(bench.allocation.permit(ip(1))),
        |bench| bench.allocation.bind(secs(60), SocketAddr::new(ip(1), 9)),
    ];
    for want in wants {
        for code in [401, 438] {
            for realm in [&b"realm"[..], b"forged"] {
                let mut bench = Bench::held();
                want(&mut bench);
                bench.allocation.expire(secs(60));
                let request = bench.start(secs(60)).unwrap();
                let request = ServerMessage::read(&request).unwrap();
                let mut out = ServerWriter::new(Class::Error, request.method, request.id);
                out.put_error(code, "no").put(kinds::REALM, realm).put(kinds::NONCE, b"made up");
                let forged = out.finish(None);
                bench.allocation.handle_answer(secs(60), &ServerMessage::read(&forged).unwrap()).unwrap();
                // The server does not know that nonce.
                let second = bench.serve(secs(60), &Say::Challenge(438));
                assert_eq!(ServerMessage::read(&second).unwrap().get(kinds::NONCE), Some(&b"made up"[..]));
                let third = bench.serve(secs(60), &Say::Ok(&|_| {}));
                let third = ServerMessage::read(&third).unwrap();
                assert_eq!((third.method, third.get(kinds::REALM)), (request.method, Some(&b"realm"[..])));
                let events = bench.events();
                let is_good = |event: &TurnEvent| matches!(event, TurnEvent::Permitted(_));
                assert!(events.iter().all(is_good) && bench.start(secs(60)).is_none(), "{events:?}");
            }
        }
        // Twice 401 is the end of a try, and not of the allocation.
        let mut bench = Bench::held();
        want(&mut bench);
        bench.allocation.expire(secs(60));
        bench.serve(secs(60), &Say::Challenge(401));
        bench.serve(secs(60), &Say::Challenge(401));
        assert!(bench.start(secs(60)).is_none());
        assert!(matches!(bench.events().as_slice(), [TurnEvent::Trouble { code: 401, .. }]));
        assert_eq!(bench.allocation.relayed(), [relayed()]);
    }
}

#[test]
fn what_a_server_can_make_us_repeat_is_repeated_ever_more_rarely() {
    let peer = SocketAddr::new(ip(1), 4000);
    type Want = fn(&mut Bench);
    let wants: [(Method, Want); 3] = [
        (Method::Refresh, |bench| bench.allocation.refresh_now(secs(20))),
        (Method::CreatePermission, |bench| assert!(bench.allocation.permit(ip(1)))),
        (Method::ChannelBind, |bench| bench.allocation.bind(secs(20), SocketAddr::new(ip(1), 4000))),
    ];
    let says = [Say::Challenge(401), Say::Challenge(438), Say::Error(500), Say::Error(508), Say::Forged];
    for is_stream in [false, true] {
        for (method, want) in wants {
            for say in &says {
                if matches!(say, Say::Forged) && !is_stream {
                    continue;
                }
                let mut bench = Bench::with(Families::V4, is_stream);
                bench.challenge(at(0));
                bench.grant(at(0), 3600);
                bench.events();
                want(&mut bench);
                bench.allocation.expire(secs(20));
                let count = bench.badger(secs(20), secs(620), say);
                let asked = count.get(&method.number()).copied().unwrap_or_default();
                // At most three requests for a try, and so many tries as there are powers of two.
                assert!((1..=33).contains(&asked), "{method:?}: {asked}");
                assert_eq!(count.len(), 1);
                assert_eq!(bench.allocation.relayed(), [relayed()], "it serves on");
                assert!(bench.allocation.channel_to(secs(620), peer).is_none());
            }
        }
    }
}

/// Req: 8489-9.2.5-e
#[test]
fn what_is_forged_or_belongs_to_nothing_changes_nothing() {
    let mut bench = Bench::new(Families::V4);
    bench.challenge(at(0));
    let request = bench.start(at(0)).unwrap();
    let id = ServerMessage::read(&request).unwrap().id;
    let wrong = IntegrityKey::long_term(b"user", b"realm", b"guess", Integrity::Sha1);
    let right = IntegrityKey::long_term(b"user", b"realm", b"pass", Integrity::Sha1);
    let success = |id, method, key: Option<&IntegrityKey>| {
        let mut out = ServerWriter::new(Class::Success, method, id);
        out.put_xor_address(kinds::XOR_RELAYED_ADDRESS, relayed())
            .put_xor_address(kinds::XOR_MAPPED_ADDRESS, mapped())
            .put(kinds::LIFETIME, &600_u32.to_be_bytes());
        out.finish(key.map(|key| (key, Integrity::Sha1)))
    };
    for (bytes, reason) in [
        (success(id, Method::Allocate, None), DropReason::BadIntegrity),
        (success(id, Method::Allocate, Some(&wrong)), DropReason::BadIntegrity),
        (success(id, Method::Refresh, Some(&right)), DropReason::UnknownTransaction),
        (success(TransactionId([1; 12]), Method::Allocate, Some(&right)), DropReason::UnknownTransaction),
    ] {
        let result = bench.allocation.handle_answer(at(1), &ServerMessage::read(&bytes).unwrap());
        assert_eq!((result, bench.events()), (Err(reason), Vec::new()));
    }
    let bytes = success(id, Method::Allocate, Some(&right));
    assert_eq!(bench.allocation.handle_answer(at(1), &ServerMessage::read(&bytes).unwrap()), Ok(()));
    assert_eq!(bench.events().len(), 1);
    // Over a stream, no other answer will come.
    let mut bench = Bench::with(Families::V4, true);
    bench.challenge(at(0));
    let request = bench.start(at(0)).unwrap();
    let forged = success(ServerMessage::read(&request).unwrap().id, Method::Allocate, Some(&wrong));
    assert!(bench.allocation.handle_answer(at(1), &ServerMessage::read(&forged).unwrap()).is_err());
    assert!(matches!(bench.events().as_slice(), [TurnEvent::Failed { code: 701, .. }]));
}
