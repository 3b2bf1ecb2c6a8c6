//! An allocation against scripted answers: every request, every error.

use super::*;
use crate::random::Seed;
use crate::stun::{Integrity, IntegrityKey};

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
}

impl Bench {
    fn new(families: Families) -> Self {
        Self::with(families, false)
    }

    fn with(families: Families, is_stream: bool) -> Self {
        let schedule = Schedule { rc: 7, rm: 16, rto: RTO };
        let terms = Terms { families, is_stream, schedule, software: "nilas".into() };
        Self {
            allocation: Allocation::new("user", "pass", terms),
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
        self.allocation.start(now, &mut self.random).map(<[u8]>::to_vec)
    }

    fn answer(&mut self, now: Instant, request: &[u8], say: &Say<'_>) -> Result<(), DropReason> {
        let request = ServerMessage::read(request).unwrap();
        let class = if matches!(say, Say::Ok(_)) { Class::Success } else { Class::Error };
        let mut out = ServerWriter::new(class, request.method, request.id);
        let mut protection = Some((&self.key, Integrity::Sha1));
        match say {
            Say::Ok(fill) => fill(&mut out),
            Say::Error(code) => {
                out.put_error(*code, "scripted");
            }
            Say::Redirect(alternate) => {
                out.put_error(300, "there").put_alternate_server(*alternate);
            }
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
        for round in 0.. {
            assert!(round < 10, "it goes on for ever");
            let Some(request) = bench.start(secs(60)) else { break };
            let next = ServerMessage::read(&request).unwrap();
            assert_eq!((next.method, next.get(kinds::NONCE)), (first.method, Some(&bench.nonce.to_be_bytes()[..])));
            bench.answer(secs(60), &request, &Say::Challenge(438)).unwrap();
        }
        let events = bench.events();
        match case {
            0 => assert!(matches!(events.as_slice(), [TurnEvent::Failed { code: 438, .. }])),
            1 => assert!(matches!(events.as_slice(), [TurnEvent::Lost { code: 438, .. }])),
            2 => assert_eq!(events, [TurnEvent::Refused { ip: ip(1), code: 438 }]),
            _ => assert_eq!(events, []),
        }
    }
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
    for code in [401, 437, 441] {
        let mut bench = Bench::held();
        bench.allocation.expire(secs(540));
        bench.serve(secs(540), &if code == 401 { Say::Challenge(401) } else { Say::Error(code) });
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
    bench.allocation.release();
    let sent = bench.run(secs(100));
    assert_eq!(sent, [(0, Method::Refresh, true), (500, Method::Refresh, false)]);
    assert_eq!((bench.events(), bench.allocation.deadline()), (Vec::from([TurnEvent::Released]), None));
    for say in [Say::Ok(&|_| {}), Say::Error(437), Say::Error(500)] {
        let mut bench = Bench::held();
        bench.allocation.release();
        bench.serve(secs(1), &say);
        assert_eq!((bench.events(), bench.allocation.deadline()), (Vec::from([TurnEvent::Released]), None));
    }
    let mut bench = Bench::new(Families::V4);
    bench.start(at(0)).unwrap();
    bench.allocation.release();
    assert_eq!((bench.events(), bench.start(at(1))), (Vec::from([TurnEvent::Released]), None));
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
