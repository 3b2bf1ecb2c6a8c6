//! An allocation against scripted answers: every request, every error.

use alloc::collections::BTreeMap;

use super::*;
use crate::stats::DropReason;
use crate::stun::server::ServerMessage;
use crate::stun::{Class, Integrity, IntegrityKey};
use crate::types::Seed;

const RTO: Duration = Duration::from_millis(500);

fn at(ms: u64) -> Instant {
    after(Instant::ZERO, Duration::from_millis(ms))
}

fn secs(secs: u64) -> Instant {
    at(1000 * secs)
}

fn relayed() -> SocketAddr {
    "198.51.100.9:49152".parse().unwrap()
}

fn mapped() -> SocketAddr {
    "203.0.113.7:5000".parse().unwrap()
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// An allocation, and the part of its server.
#[derive(Clone)]
struct Bench {
    allocation: Allocation,
    random: Random,
    nonce: u32,
    key: IntegrityKey,
}

/// What the server says.
enum Say<'a> {
    Ok(&'a dyn Fn(&mut ServerWriter)),
    Error(u16),
    /// 401 and 438, with another nonce.
    Challenge(u16),
    Redirect(SocketAddr),
    /// What is signed with another key.
    Forged,
}

impl Bench {
    fn new(families: Families) -> Self {
        Self::with(families, false)
    }

    fn with(families: Families, is_stream: bool) -> Self {
        let schedule = Schedule { rc: 7, rm: 16, rto: RTO };
        let server = IpAddr::from([198, 51, 100, 9]);
        let terms = Terms { families, is_stream, server, schedule, software: "nilas".into() };
        Self {
            allocation: Allocation::new(Some(("user", "pass")), terms),
            random: Random::new(&Seed::from_name("turn")),
            nonce: 0,
            key: IntegrityKey::long_term(b"user", b"realm", b"pass", Integrity::Sha1),
        }
    }

    /// One that holds an allocation for 600 s since the beginning of time.
    fn held() -> Self {
        let mut bench = Self::new(Families::V4);
        bench.challenge(at(0));
        bench.grant(at(0), 600);
        bench.events();
        bench
    }

    fn start(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.allocation.start(now, &mut self.random, 1500).map(<[u8]>::to_vec)
    }

    fn answer(&mut self, now: Instant, request: &[u8], say: &Say<'_>) -> Result<(), DropReason> {
        let request = ServerMessage::read(request).unwrap();
        let class = if matches!(say, Say::Ok(_)) { Class::Success } else { Class::Error };
        let mut out = ServerWriter::new(class, request.method, request.id);
        let mut protection = Some((&self.key, Integrity::Sha1));
        let forged = IntegrityKey::long_term(b"user", b"realm", b"guess", Integrity::Sha1);
        match say {
            Say::Ok(fill) => fill(&mut out),
            Say::Error(code) => {
                out.put_error(*code, "scripted");
            }
            Say::Redirect(alternate) => {
                out.put_error(300, "there").put_alternate_server(*alternate);
            }
            Say::Forged => protection = Some((&forged, Integrity::Sha1)),
            Say::Challenge(code) => {
                self.nonce += 1;
                out.put_error(*code, "again").put(kinds::REALM, b"realm").put(kinds::NONCE, &self.nonce.to_be_bytes());
                protection = None;
            }
        }
        let bytes = out.finish(protection);
        self.allocation.handle_answer(now, &ServerMessage::read(&bytes).unwrap())
    }

    /// Lets the next request be answered.
    fn serve(&mut self, now: Instant, say: &Say<'_>) -> Vec<u8> {
        let request = self.start(now).expect("there is a request");
        self.answer(now, &request, say).unwrap();
        request
    }

    fn challenge(&mut self, now: Instant) {
        self.serve(now, &Say::Challenge(401));
    }

    fn grant(&mut self, now: Instant, lifetime: u32) -> Vec<u8> {
        self.serve(
            now,
            &Say::Ok(&|out| {
                out.put_xor_address(kinds::XOR_RELAYED_ADDRESS, relayed())
                    .put_xor_address(kinds::XOR_MAPPED_ADDRESS, mapped())
                    .put(kinds::LIFETIME, &lifetime.to_be_bytes());
            }),
        )
    }

    fn events(&mut self) -> Vec<TurnEvent> {
        core::iter::from_fn(|| self.allocation.poll_event()).collect()
    }

    /// Lets the server answer whatever it is asked in the same way until this instant, over a way without delay; gives how
    /// often it was asked by each method.
    fn badger(&mut self, from: Instant, until: Instant, say: &Say<'_>) -> BTreeMap<u16, usize> {
        let mut count = BTreeMap::new();
        let mut now = from;
        loop {
            for _ in 0..100 {
                let Some(request) = self.start(now) else { break };
                *count.entry(ServerMessage::read(&request).unwrap().method.number()).or_default() += 1;
                let _ = self.answer(now, &request, say);
            }
            match self.allocation.deadline().filter(|at| *at <= until) {
                Some(at) => now = now.max(at),
                None => return count,
            }
            self.allocation.expire(now);
        }
    }

    /// Runs by the deadlines until this instant; gives what is started and repeated, with the seconds.
    fn run(&mut self, until: Instant) -> Vec<(i64, Method, bool)> {
        let mut sent = Vec::new();
        let mut now = Instant::ZERO;
        loop {
            while let Some(bytes) = self.start(now) {
                sent.push((now.as_nanos() / 1_000_000, ServerMessage::read(&bytes).unwrap().method, true));
            }
            while let Some(bytes) = self.allocation.repeat(now).map(<[u8]>::to_vec) {
                sent.push((now.as_nanos() / 1_000_000, ServerMessage::read(&bytes).unwrap().method, false));
            }
            match self.allocation.deadline().filter(|at| *at <= until) {
                Some(at) => now = at,
                None => return sent,
            }
            self.allocation.expire(now);
        }
    }
}

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

/// Req: 8656-7.3-a
#[test]
fn whatever_lifetime_the_server_tells_or_does_not_there_is_a_next_refresh() {
    let day = 24 * 3600;
    for (told, refresh, end) in [
        (Some(&600_u32.to_be_bytes()[..]), 540, 600),
        (None, 540, 600),
        (Some(&[0, 0, 2]), 540, 600),
        (Some(&u32::MAX.to_be_bytes()), 3540, 3600),
        (Some(&(7_u32 * day).to_be_bytes()), 3540, 3600),
        (Some(&3600_u32.to_be_bytes()), 3540, 3600),
        (Some(&10_u32.to_be_bytes()), 5, 10),
        // It ends before it would be refreshed.
        (Some(&2_u32.to_be_bytes()), 2, 2),
        (Some(&[0; 4]), 0, 0),
    ] {
        for is_refresh in [false, true] {
            let mut bench = Bench::new(Families::V4);
            bench.challenge(at(0));
            let fill = |out: &mut ServerWriter| {
                out.put_xor_address(kinds::XOR_RELAYED_ADDRESS, relayed())
                    .put_xor_address(kinds::XOR_MAPPED_ADDRESS, mapped());
                if let Some(told) = told {
                    out.put(kinds::LIFETIME, told);
                }
            };
            if is_refresh {
                bench.grant(at(0), 600);
                bench.allocation.refresh_now(secs(10));
                bench.allocation.expire(secs(10));
                bench.serve(secs(10), &Say::Ok(&fill));
            } else {
                bench.serve(secs(10), &Say::Ok(&fill));
            }
            bench.events();
            assert_eq!(bench.allocation.deadline(), Some(secs(10 + refresh)), "{told:?}");
            bench.allocation.expire(secs(10 + refresh));
            assert_eq!(bench.start(secs(10 + refresh)).is_some(), refresh < end);
            bench.allocation.expire(secs(10 + end));
            assert!(matches!(bench.events().as_slice(), [TurnEvent::Lost { code: 701, .. }]));
        }
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

/// Req: 8656-8-a
/// Req: 8656-8.1-a
#[test]
fn a_refresh_comes_a_minute_early_or_at_half_of_a_short_life() {
    for (lifetime, expected) in [(600, 540), (120, 60), (119, 59), (60, 30), (10, 5)] {
        let mut bench = Bench::new(Families::V4);
        bench.challenge(at(0));
        bench.grant(at(0), lifetime);
        let due = bench.allocation.deadline().unwrap();
        assert_eq!(due.as_nanos() / 1_000_000_000, expected, "{lifetime}");
        bench.allocation.expire(due);
        let refresh = bench.serve(
            due,
            &Say::Ok(&|out| {
                out.put(kinds::LIFETIME, &600_u32.to_be_bytes());
            }),
        );
        let refresh = ServerMessage::read(&refresh).unwrap();
        assert_eq!((refresh.method, refresh.get(kinds::LIFETIME)), (Method::Refresh, None));
        assert_eq!(refresh.get(kinds::REQUESTED_ADDRESS_FAMILY), None);
        assert_eq!(bench.allocation.deadline(), Some(after(due, Duration::from_secs(540))));
    }
}

/// Req: 8656-8.3-a
#[test]
fn what_becomes_of_a_refresh_that_is_refused() {
    for code in [437, 441] {
        let mut bench = Bench::held();
        bench.allocation.expire(secs(540));
        bench.serve(secs(540), &Say::Error(code));
        assert!(matches!(bench.events().as_slice(), [TurnEvent::Lost { code: found, .. }] if *found == code));
    }
    for code in [400, 500, 508] {
        let mut bench = Bench::held();
        bench.allocation.expire(secs(540));
        bench.serve(secs(540), &Say::Error(code));
        assert_eq!((bench.events(), bench.allocation.deadline()), (Vec::new(), Some(secs(545))));
        bench.allocation.expire(secs(545));
        assert!(bench.start(secs(545)).is_some());
    }
}

#[test]
fn an_allocation_whose_server_is_silent_is_lost_when_it_expires() {
    let mut bench = Bench::held();
    let sent = bench.run(secs(700));
    let starts: Vec<i64> = sent.iter().filter(|(.., is_new)| *is_new).map(|(at, ..)| *at).collect();
    assert_eq!(starts, [540_000, 584_500], "a request, its schedule, and five seconds later another");
    assert!(matches!(bench.events().as_slice(), [TurnEvent::Lost { code: 701, .. }]));
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

/// Req: 8656-8-b
#[test]
fn a_release_is_tried_twice_and_a_mismatch_is_success() {
    let mut bench = Bench::held();
    bench.allocation.release(at(0));
    let sent = bench.run(secs(100));
    assert_eq!(sent, [(0, Method::Refresh, true), (500, Method::Refresh, false)]);
    assert_eq!((bench.events(), bench.allocation.deadline()), (Vec::from([TurnEvent::Released]), None));
    for say in [Say::Ok(&|_| {}), Say::Error(437), Say::Error(500)] {
        let mut bench = Bench::held();
        bench.allocation.release(at(0));
        bench.serve(secs(1), &say);
        assert_eq!((bench.events(), bench.allocation.deadline()), (Vec::from([TurnEvent::Released]), None));
    }
    let mut bench = Bench::new(Families::V4);
    bench.start(at(0)).unwrap();
    bench.allocation.release(at(0));
    assert_eq!((bench.events(), bench.start(at(1))), (Vec::from([TurnEvent::Released]), None));
}

/// Req: 8656-8-b
#[test]
fn an_allocation_that_is_granted_after_its_release_is_released_again() {
    let granted = |bench: &mut Bench, now, request: &[u8]| {
        let fill = |out: &mut ServerWriter| {
            out.put_xor_address(kinds::XOR_RELAYED_ADDRESS, relayed())
                .put_xor_address(kinds::XOR_MAPPED_ADDRESS, mapped())
                .put(kinds::LIFETIME, &600_u32.to_be_bytes());
        };
        bench.answer(now, request, &Say::Ok(&fill)).unwrap();
    };
    let mut bench = Bench::new(Families::V4);
    bench.challenge(at(0));
    let allocate = bench.start(at(50)).unwrap();
    bench.allocation.release(at(60));
    let release = bench.start(at(100)).unwrap();
    // The release has overtaken the request that it is about.
    let mut overtaken = bench.clone();
    overtaken.answer(at(150), &release, &Say::Error(437)).unwrap();
    assert_eq!(overtaken.events(), []);
    let mut refused = overtaken.clone();
    granted(&mut overtaken, at(160), &allocate);
    let again = overtaken.start(at(200)).unwrap();
    assert_eq!(ServerMessage::read(&again).unwrap().get(kinds::LIFETIME), Some(&[0; 4][..]));
    overtaken.answer(at(250), &again, &Say::Ok(&|_| {})).unwrap();
    assert_eq!((overtaken.events(), overtaken.allocation.deadline()), (Vec::from([TurnEvent::Released]), None));
    // Nothing was granted at all, in whatever way that is said; a challenge is not answered.
    for say in [Say::Error(486), Say::Challenge(438), Say::Redirect(relayed())] {
        let mut refused = refused.clone();
        refused.answer(at(160), &allocate, &say).unwrap();
        assert_eq!((refused.events(), refused.start(at(200))), (Vec::from([TurnEvent::Released]), None));
    }
    assert_eq!(refused.run(at(100_000)), []);
    assert_eq!(refused.events(), [TurnEvent::Released], "the answer is not waited for without end");
    // In order, one release is enough, whichever answer comes first.
    for is_first in [true, false] {
        let mut bench = bench.clone();
        if is_first {
            granted(&mut bench, at(150), &allocate);
            assert_eq!(bench.start(at(160)), None);
        }
        bench.answer(at(160), &release, &Say::Ok(&|_| {})).unwrap();
        assert_eq!((bench.events(), bench.start(at(200))), (Vec::from([TurnEvent::Released]), None));
    }
}

/// Req: 8656-8-b
#[test]
fn a_release_that_finds_no_room_ends_after_ten_seconds() {
    let mut bench = Bench::held();
    bench.allocation.release(at(1_000));
    assert_eq!(bench.allocation.deadline(), Some(at(11_000)));
    bench.allocation.expire(at(10_999));
    assert!(bench.allocation.has_start());
    bench.allocation.expire(at(11_000));
    assert_eq!((bench.events(), bench.allocation.deadline()), (Vec::from([TurnEvent::Released]), None));
    assert!(!bench.allocation.has_start());
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
