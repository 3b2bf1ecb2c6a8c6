//! What an allocation is for: permissions, channels, data.

use super::*;

/// Req: 8656-7.4-g
#[test]
fn a_permission_that_a_server_has_no_room_for_is_asked_for_a_few_times() {
    let mut bench = Bench::held();
    assert!(bench.allocation.permit(ip(1)));
    let count = bench.badger(secs(1), secs(100), &Say::Error(508));
    assert_eq!(count, BTreeMap::from([(Method::CreatePermission.number(), 5)]));
    let events = bench.events();
    assert_eq!(events.iter().filter(|event| matches!(event, TurnEvent::Trouble { code: 508, .. })).count(), 5);
    assert!(events.contains(&TurnEvent::Refused { ip: ip(1), code: 508 }));
    // One that is installed holds until its end, whatever becomes of its renewal.
    let mut bench = Bench::held();
    assert!(bench.allocation.permit(ip(1)));
    bench.serve(secs(1), &Say::Ok(&|_| {}));
    bench.events();
    bench.allocation.expire(secs(241));
    bench.serve(secs(241), &Say::Error(500));
    assert!(bench.allocation.is_permitted(secs(300), ip(1)));
    bench.allocation.expire(secs(242));
    bench.serve(secs(242), &Say::Ok(&|_| {}));
    assert!(bench.allocation.is_permitted(secs(500), ip(1)));
}

/// Req: 8656-12.3-a
#[test]
fn a_channel_that_is_refused_carries_nothing_and_is_asked_for_again_after_a_quarter_of_an_hour() {
    let peer = SocketAddr::new(ip(1), 4000);
    let mut bench = Bench::new(Families::V4);
    bench.challenge(at(0));
    bench.grant(at(0), 3600);
    assert!(bench.allocation.permit(ip(1)));
    bench.serve(secs(1), &Say::Ok(&|_| {}));
    bench.allocation.bind(secs(1), peer);
    let request = bench.start(secs(1)).unwrap();
    let number = ServerMessage::read(&request).unwrap().number(kinds::CHANNEL_NUMBER).unwrap() >> 16;
    let number = u16::try_from(number).unwrap();
    assert_eq!(bench.allocation.peer_of(secs(1), number), Some(peer), "the answer may be overtaken");
    bench.answer(secs(1), &request, &Say::Error(508)).unwrap();
    assert_eq!((bench.allocation.peer_of(secs(1), number), bench.allocation.channel_to(secs(1), peer)), (None, None));
    for (at, is_asked) in [(900, false), (901, true)] {
        bench.allocation.expire(secs(at));
        bench.allocation.bind(secs(at), peer);
        let mut methods = Vec::new();
        while let Some(request) = bench.start(secs(at)) {
            methods.push(ServerMessage::read(&request).unwrap().method);
        }
        assert_eq!(methods.contains(&Method::ChannelBind), is_asked, "{at}");
    }
}

/// Req: 8656-12-b
/// Req: 8656-12-d
#[test]
fn a_peer_that_is_doubted_gets_indications_until_the_server_has_answered_for_its_channel() {
    let peer = SocketAddr::new(ip(1), 4000);
    let mut bench = Bench::held();
    assert!(bench.allocation.permit(ip(1)));
    bench.serve(secs(1), &Say::Ok(&|_| {}));
    bench.allocation.bind(secs(1), peer);
    bench.serve(secs(1), &Say::Ok(&|_| {}));
    assert!(bench.allocation.channel_to(secs(20), peer).is_some());
    bench.allocation.doubt(secs(20), peer);
    assert!(bench.allocation.channel_to(secs(20), peer).is_none() && bench.allocation.is_permitted(secs(20), ip(1)));
    bench.allocation.expire(secs(20));
    let methods: Vec<Method> = core::iter::from_fn(|| bench.start(secs(20)))
        .map(|request| ServerMessage::read(&request).unwrap().method)
        .collect();
    assert_eq!(methods, [Method::Refresh, Method::CreatePermission, Method::ChannelBind], "all of it is questioned");
    // Again and again, but ever more rarely; silence of the server would go by the schedule of the requests.
    let mut bench = Bench::held();
    bench.allocation.bind(secs(1), peer);
    bench.serve(secs(1), &Say::Ok(&|_| {}));
    let mut asked = 0;
    for second in 20..620 {
        bench.allocation.doubt(secs(second), peer);
        bench.allocation.expire(secs(second));
        while let Some(request) = bench.start(secs(second)) {
            asked += usize::from(ServerMessage::read(&request).unwrap().method == Method::ChannelBind);
            bench.answer(secs(second), &request, &Say::Ok(&|_| {})).unwrap();
        }
    }
    assert!((3..=12).contains(&asked), "{asked}");
}

#[test]
fn data_that_comes_by_indications_or_not_at_all_is_reason_to_ask_for_the_channel() {
    let peer = SocketAddr::new(ip(1), 4000);
    let bound = || {
        let mut bench = Bench::held();
        bench.allocation.bind(secs(1), peer);
        bench.serve(secs(1), &Say::Ok(&|_| {}));
        bench
    };
    let asks = |bench: &mut Bench, now| {
        bench.allocation.expire(now);
        bench.start(now).map(|request| ServerMessage::read(&request).unwrap().method)
    };
    let mut bench = bound();
    assert!(!bench.allocation.note_heard(at(1100), peer, false), "it may have left before the channel was bound");
    assert!(!bench.allocation.note_heard(secs(10), peer, true));
    assert!(bench.allocation.note_heard(secs(10), peer, false));
    assert_eq!(asks(&mut bench, secs(10)), Some(Method::ChannelBind));
    assert!(bench.allocation.channel_to(secs(10), peer).is_some(), "whoever forges one changes nothing");
    // A server that does so although it has bound the channel.
    let mut bench = bound();
    let mut asked = 0;
    for second in 10..610 {
        bench.allocation.note_heard(secs(second), peer, false);
        bench.allocation.expire(secs(second));
        while let Some(request) = bench.start(secs(second)) {
            asked += usize::from(ServerMessage::read(&request).unwrap().method == Method::ChannelBind);
            bench.answer(secs(second), &request, &Say::Ok(&|_| {})).unwrap();
        }
    }
    assert!((3..=12).contains(&asked), "{asked}");
    // Silence while data is sent.
    let mut bench = bound();
    assert_eq!(bench.allocation.note_sent(secs(10), peer), Some(secs(14)));
    assert_eq!(bench.allocation.note_sent(secs(11), peer), None);
    assert_eq!(asks(&mut bench, at(13_999)), None);
    assert_eq!(asks(&mut bench, secs(14)), Some(Method::ChannelBind));
    let mut bench = bound();
    let _ = bench.allocation.note_sent(secs(10), peer);
    bench.allocation.note_heard(secs(12), peer, true);
    assert_eq!(asks(&mut bench, secs(14)), None);
}

/// Req: 8656-10.1-a
/// Req: proj-perm-a
#[test]
fn permissions_share_a_request_and_one_that_is_refused_hurts_no_other() {
    let mut bench = Bench::held();
    for last in 1..=5 {
        assert!(bench.allocation.permit(ip(last)));
    }
    assert!(!bench.allocation.permit("2001:db8::1".parse().unwrap()), "of a family that it has not");
    let request = bench.serve(secs(1), &Say::Error(403));
    assert_eq!(ServerMessage::read(&request).unwrap().xor_addresses(kinds::XOR_PEER_ADDRESS).count(), 5);
    for last in 1..=5 {
        let say = if last == 3 { Say::Error(403) } else { Say::Ok(&|_| {}) };
        let request = bench.serve(secs(1), &say);
        let request = ServerMessage::read(&request).unwrap();
        assert_eq!(request.method, Method::CreatePermission);
        assert_eq!(request.xor_address(kinds::XOR_PEER_ADDRESS).map(|peer| peer.ip()), Some(ip(last)));
    }
    let refused = TurnEvent::Refused { ip: ip(3), code: 403 };
    let permitted = |last| TurnEvent::Permitted(ip(last));
    assert_eq!(bench.events(), [permitted(1), permitted(2), refused, permitted(4), permitted(5)]);
    assert!(bench.allocation.is_permitted(secs(300), ip(1)) && !bench.allocation.is_permitted(secs(301), ip(1)));
    assert!(!bench.allocation.is_permitted(secs(1), ip(3)) && !bench.allocation.permit(ip(3)));
}

/// Req: 8656-12.3-a
#[test]
fn errors_of_a_channel() {
    let peer = SocketAddr::new(ip(1), 4000);
    for code in [400, 403, 437, 486, 508] {
        let mut bench = Bench::held();
        assert!(bench.allocation.permit(ip(1)));
        bench.serve(secs(1), &Say::Ok(&|_| {}));
        bench.events();
        bench.allocation.bind(secs(1), peer);
        bench.serve(secs(1), &Say::Error(code));
        match code {
            // Both sides have lost each other: given back, and lost.
            400 => {
                let release = bench.serve(secs(1), &Say::Ok(&|_| {}));
                assert_eq!(ServerMessage::read(&release).unwrap().number(kinds::LIFETIME), Some(0));
                assert!(matches!(bench.events().as_slice(), [TurnEvent::Lost { code: 400, .. }]));
            }
            403 => assert_eq!(bench.events(), [TurnEvent::Refused { ip: ip(1), code }]),
            437 => assert!(matches!(bench.events().as_slice(), [TurnEvent::Lost { code: 437, .. }])),
            // Data goes by indications.
            _ => {
                assert_eq!(bench.events(), []);
                assert!(bench.allocation.channel_to(secs(1), peer).is_none());
                assert!(bench.allocation.is_permitted(secs(1), ip(1)) && bench.start(secs(1)).is_none());
            }
        }
    }
}

/// Req: 8656-11.6-a
/// Req: 8656-11.4-a
#[test]
fn icmp_is_told_of_peers_that_may_send() {
    let mut bench = Bench::held();
    assert!(bench.allocation.permit(ip(1)));
    bench.serve(secs(1), &Say::Ok(&|_| {}));
    bench.events();
    let (known, stranger) = (SocketAddr::new(ip(1), 9), SocketAddr::new(ip(2), 9));
    assert!(bench.allocation.handle_icmp(secs(2), known, 3, 1).is_ok());
    assert_eq!(bench.allocation.handle_icmp(secs(2), stranger, 3, 1), Err(DropReason::UnvalidatedSource));
    assert_eq!(bench.events(), [TurnEvent::Icmp { peer: known, kind: 3, code: 1 }]);
    for _ in 0..1000 {
        let _ = bench.allocation.handle_icmp(secs(2), known, 3, 1);
    }
    assert_eq!(bench.events().len(), Allocation::MAX_EVENTS);
}

#[test]
fn a_permission_that_is_not_answered_may_be_asked_for_again() {
    let mut bench = Bench::held();
    assert!(bench.allocation.permit(ip(1)));
    let sent = bench.run(secs(100));
    assert_eq!(sent.len(), 7);
    assert_eq!(bench.events(), [TurnEvent::Refused { ip: ip(1), code: 701 }]);
    assert!(bench.allocation.permit(ip(1)));
    bench.serve(secs(100), &Say::Ok(&|_| {}));
    assert_eq!(bench.events(), [TurnEvent::Permitted(ip(1))]);
    // A renewal that is lost is tried again while the permission lasts.
    bench.allocation.expire(secs(340));
    let request = bench.start(secs(340)).unwrap();
    assert_eq!(ServerMessage::read(&request).unwrap().method, Method::CreatePermission);
    let schedule = Schedule { rc: 7, rm: 16, rto: RTO }.patience();
    for _ in 0..7 {
        let due = bench.allocation.deadline().unwrap();
        bench.allocation.expire(due);
        let _ = bench.allocation.repeat(due);
    }
    let over = after(secs(340), schedule);
    bench.allocation.expire(over);
    assert_eq!(bench.events(), []);
    bench.serve(over, &Say::Ok(&|_| {}));
    assert!(bench.allocation.is_permitted(secs(600), ip(1)));
}
