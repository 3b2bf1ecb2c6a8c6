//! How an allocation is kept, and given back.

use super::*;

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
