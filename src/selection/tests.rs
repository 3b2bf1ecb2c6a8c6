//! What is decided about the pairs in use, without agents: from pairs on a checklist, their consent, and the time.

use super::*;
use crate::candidate::Priority;
use crate::checklist::{ChecklistSet, Insert, NewPair, PairFoundation, PairPriority, Why};
use crate::types::{CandidateId, ComponentId, Path, Role, Schedule, Seed, StreamId, Transport, after};

const PLACE: (StreamId, ComponentId) = (StreamId(0), ComponentId::RTP);
const DETECTION: Duration = Duration::from_secs(7);

fn at(ms: u64) -> Instant {
    after(Instant::ZERO, Duration::from_millis(ms))
}

fn random() -> Random {
    Random::new(&Seed::from_name("selection"))
}

/// A checklist with valid pairs between these hosts, the first of which has the highest priority.
fn valid_pairs<const N: usize>(hosts: [(u8, u8); N]) -> (ChecklistSet, [PairId; N]) {
    let mut checks = ChecklistSet::new(100, Schedule { rc: 7, rm: 16, rto: Duration::from_millis(500) });
    checks.add_list(PLACE.0, 1);
    let mut n = 0;
    let pairs = hosts.map(|(ours, theirs)| {
        n += 1;
        let [local, remote] = [1_000_000 - n, 1000].map(|value| Priority::new(value).unwrap());
        let remote_address = ([203, 0, 113, theirs], u16::try_from(n).unwrap()).into();
        let new = NewPair {
            stream: PLACE.0,
            component: PLACE.1,
            generation: 0,
            local: CandidateId(0),
            remote: CandidateId(n.into()),
            path: Path::new(Transport::Udp, ([192, 0, 2, ours], 5000).into(), remote_address),
            priority: PairPriority::compute(Role::Controlling, local, remote),
            group: PairFoundation { local: 0, remote: n },
        };
        let (id, _) = checks.insert(&new, Insert::Formed, |_| false).unwrap();
        checks.validate(Instant::ZERO, id, id);
        id
    });
    (checks, pairs)
}

fn active() -> Cadence {
    Cadence::active(Duration::from_secs(5))
}

/// Watches these pairs from the beginning on, the first of which is in use; all have answered then.
fn watching(pairs: &[PairId]) -> Selection {
    let mut selection = Selection::default();
    let wanted = pairs.iter().map(|pair| (*pair, Some(active()))).collect();
    let watched = selection.watch(at(0), &wanted, |_| Some(at(0)), &mut random());
    assert!(watched.has_changed && watched.gone.is_empty() && watched.stale.is_empty());
    selection
}

/// Lets time pass while the peer answers on none of these pairs.
fn silent(selection: &mut Selection, pairs: &[PairId], until: u64) -> Vec<(u64, PairId, Advanced)> {
    let mut seen = Vec::new();
    let mut random = random();
    for ms in (0..=until).step_by(10) {
        for pair in pairs {
            if !selection.due(at(ms), DETECTION).any(|due| due == *pair) {
                continue;
            }
            let Some(advanced) = selection.advance(*pair, at(ms), DETECTION) else { continue };
            if advanced.demand == Demand::Check {
                let consent = selection.consent_mut(*pair).unwrap();
                consent.is_queued = false;
                consent.record_check(at(ms), Some(Duration::from_millis(50)), &mut random);
            }
            seen.push((ms, *pair, advanced));
        }
    }
    seen
}

/// Req: 7675-5.1-a
#[test]
fn consent_ends_thirty_seconds_after_the_last_answer_and_health_tells_sooner() {
    let (_, [a]) = valid_pairs([(1, 1)]);
    let mut selection = watching(&[a]);
    assert_eq!((selection.health(), selection.is_lost()), (Some(PathHealth::Healthy), false));
    let seen = silent(&mut selection, &[a], 31_000);
    let first = |health| seen.iter().find(|(.., advanced)| advanced.health == health).map(|(ms, ..)| *ms).unwrap();
    let (suspect, lost) = (first(PathHealth::Suspect), first(PathHealth::Lost));
    assert!((4_000..7_000).contains(&suspect) && (7_000..=7_010).contains(&lost), "{suspect} {lost}");
    let expired: Vec<u64> =
        seen.iter().filter(|(.., advanced)| advanced.demand == Demand::Expired).map(|(ms, ..)| *ms).collect();
    assert_eq!(expired.first(), Some(&30_000));
    assert!(selection.is_lost());
}

#[test]
fn a_check_is_wanted_once_until_it_has_left() {
    let (_, [a]) = valid_pairs([(1, 1)]);
    let mut selection = watching(&[a]);
    let due = selection.consent_deadline(DETECTION).unwrap();
    assert_eq!(selection.advance(a, due, DETECTION).map(|one| one.demand), Some(Demand::Check));
    assert_eq!(selection.advance(a, due, DETECTION).map(|one| one.demand), Some(Demand::Nothing));
    let other = PairId { serial: 99, slot: 99 };
    assert_eq!(selection.advance(other, due, DETECTION), None);
}

#[test]
fn whoever_is_watched_still_keeps_its_consent_wherever_it_stands_and_others_lose_theirs() {
    let (_, [a, b, c]) = valid_pairs([(1, 1), (1, 2), (2, 1)]);
    let mut selection = watching(&[a, b]);
    let answered = selection.consent(b).unwrap().answered_at();
    let cadence = Some(active());
    let wanted = Wanted::from_slice(&[(b, cadence), (c, cadence)]);
    let watched = selection.watch(at(100), &wanted, |_| Some(at(100)), &mut random());
    assert_eq!((watched.gone.as_slice(), watched.has_changed), (&[a][..], true));
    assert_eq!(selection.watched().collect::<Vec<_>>(), [b, c]);
    assert_eq!(selection.consent(b).unwrap().answered_at(), answered);
    assert_eq!(selection.consent(c).unwrap().answered_at(), at(100));
    assert!(selection.consent(a).is_none() && selection.is_standby(c) && !selection.is_standby(b));
    let again = selection.watch(at(200), &wanted, |_| Some(at(200)), &mut random());
    assert!(!again.has_changed && again.gone.is_empty() && again.stale.is_empty() && !again.is_hurried);
    // Of nothing else than what is watched anything is wanted.
    let none = selection.watch(at(300), &Wanted::new(), |_| None, &mut random());
    assert_eq!((none.gone.len(), selection.watched().count(), selection.in_use()), (2, 0, None));
}

#[test]
fn a_pair_that_was_not_heard_of_lately_is_asked_at_once_and_one_without_an_answer_or_cadence_never() {
    let (_, [a, b, c]) = valid_pairs([(1, 1), (1, 2), (2, 1)]);
    let mut selection = Selection::default();
    let wanted = Wanted::from_slice(&[(a, Some(active())), (b, Some(active())), (c, None)]);
    let answered_at = |pair| (pair == a).then_some(at(0));
    let watched = selection.watch(at(60_000), &wanted, answered_at, &mut random());
    assert_eq!(watched.stale.as_slice(), [a]);
    assert!(selection.consent(a).unwrap().is_queued);
    assert!(selection.consent(b).is_none() && selection.consent(c).is_none());
    assert_eq!(selection.watched().count(), 3);
}

#[test]
fn another_cadence_hurries_only_where_a_check_is_due_by_it() {
    let (_, [a]) = valid_pairs([(1, 1)]);
    let mut selection = Selection::default();
    let slow = Wanted::from_slice(&[(a, Some(Cadence::idle(Duration::from_secs(15))))]);
    let _ = selection.watch(at(0), &slow, |_| Some(at(0)), &mut random());
    let fast = Wanted::from_slice(&[(a, Some(active()))]);
    let early = selection.clone().watch(at(1_000), &fast, |_| None, &mut random());
    assert!(!early.is_hurried);
    let late = selection.watch(at(10_000), &fast, |_| None, &mut random());
    assert!(late.is_hurried);
    assert!(!selection.watch(at(10_000), &fast, |_| None, &mut random()).is_hurried, "it is so already");
}

#[test]
fn the_fallback_comes_before_the_selected_pair_and_all_others_behind_it() {
    let (_, [a, b, c]) = valid_pairs([(1, 1), (1, 2), (2, 1)]);
    let mut selection = Selection::default();
    assert_eq!(selection.choices(Some(c)).collect::<Vec<_>>(), [c]);
    assert_eq!(selection.select(Some(a), false), (true, None));
    assert_eq!(selection.choices(Some(a)).collect::<Vec<_>>(), [a, a]);
    selection.suspect_move(at(1), a, b, true);
    assert_eq!(selection.choices(Some(c)).collect::<Vec<_>>(), [b, a, c]);
    assert!(selection.uses(a) && selection.uses(b) && !selection.uses(c));
}

/// Req: 8445-9-b
#[test]
fn the_pair_from_before_a_restart_is_selected_until_there_is_another_one() {
    let (_, [old, new]) = valid_pairs([(1, 1), (1, 2)]);
    let mut selection = watching(&[old]);
    assert_eq!(selection.select(Some(old), false), (true, None));
    selection.lose_consent();
    selection.wait_until(Some(at(5)));
    selection.restart(Some(old));
    assert_eq!((selection.previous(), selection.selected(), selection.in_use()), (Some(old), Some(old), Some(old)));
    assert!(selection.consent(old).is_some() && !selection.has_lost_consent() && selection.deadline().is_none());
    assert_eq!(selection.select(None, false), (false, None));
    assert_eq!(selection.select(Some(new), false), (true, Some(old)));
    assert_eq!((selection.previous(), selection.selected()), (None, Some(new)));
    assert_eq!(selection.select(Some(new), true), (true, None), "a closed agent has none");
    assert_eq!(selection.selected(), None);
}

#[test]
fn whoever_is_lost_is_used_for_nothing_but_is_selected_until_that_is_told() {
    let (_, [a, b]) = valid_pairs([(1, 1), (1, 2)]);
    let mut selection = watching(&[a, b]);
    let _ = selection.select(Some(a), false);
    selection.restart(Some(a));
    selection.suspect_move(at(1), b, a, true);
    selection.lose(a);
    assert_eq!((selection.in_use(), selection.previous(), selection.fallback()), (None, None, None));
    assert!(!selection.knows_move(a, false));
    assert_eq!(selection.selected(), Some(a));
    assert_eq!(selection.select(None, false), (true, None));
}

/// Which pair data goes on is decided by how the nominated one is doing, and by who answers.
#[test]
fn data_goes_around_a_nominated_pair_that_is_lost_on_one_that_stands_by_and_answers() {
    let (mut checks, [a, b, c]) = valid_pairs([(1, 1), (1, 2), (2, 1)]);
    let mut selection = watching(&[a, b, c]);
    let choose = |selection: &mut Selection, checks: &ChecklistSet, ms| {
        selection.choose_fallback(at(ms), checks, Some(a), |_| false);
        selection.fallback().map(|fallback| fallback.pair)
    };
    assert_eq!(choose(&mut selection, &checks, 0), None);
    silent(&mut selection, &[a], 6_900);
    selection.consent_mut(b).unwrap().record_answer(at(6_900));
    assert_eq!(selection.consent(a).unwrap().health(), PathHealth::Suspect);
    assert_eq!(choose(&mut selection, &checks, 6_900), None, "that is too early");
    let mut later = selection.clone();
    silent(&mut selection, &[a], 7_100);
    assert!(selection.is_lost());
    let mut unanswered = selection.clone();
    unanswered.lose(b);
    assert_eq!(choose(&mut unanswered, &checks, 7_100), None, "the other one has not answered since");
    assert_eq!(choose(&mut selection, &checks, 7_100), Some(b));
    assert!(!selection.is_peer_move(b));
    // It stays until the nominated one answers, or it is not valid any more itself.
    assert_eq!(choose(&mut selection, &checks, 9_000), Some(b));
    let mut recovered = selection.clone();
    recovered.consent_mut(a).unwrap().record_answer(at(9_001));
    assert_eq!(choose(&mut recovered, &checks, 9_001), None);
    checks.invalidate(b);
    assert_eq!(choose(&mut selection, &checks, 9_002), None);
    // As long as the pair of a restart is used there is no other.
    silent(&mut later, &[a], 7_100);
    later.restart(Some(a));
    assert_eq!(choose(&mut later, &checks, 7_100), None);
}

#[test]
fn where_the_host_cannot_send_a_pair_that_leaves_from_another_address_need_not_have_answered() {
    let (checks, [a, b, c]) = valid_pairs([(1, 1), (1, 2), (2, 1)]);
    for (elsewhere, expected) in [(None, None), (Some(c), Some(c)), (Some(b), Some(b))] {
        let mut selection = watching(&[a, b, c]);
        let consent = selection.consent_mut(a).unwrap();
        consent.record_check(at(10), None, &mut random());
        assert!(consent.cut(at(20)));
        selection.choose_fallback(at(20), &checks, Some(a), |id| Some(id) == elsewhere);
        assert_eq!(selection.fallback().map(|fallback| fallback.pair), expected);
    }
}

#[test]
fn a_suspected_move_is_believed_while_the_nominated_pair_is_silent_and_not_once_it_has_answered() {
    let (checks, [a, b]) = valid_pairs([(1, 1), (1, 2)]);
    for has_answered in [false, true] {
        let mut selection = watching(&[a]);
        selection.suspect_move(at(1_000), a, b, false);
        assert!(selection.knows_move(b, false) && !selection.knows_move(b, true) && selection.fallback().is_none());
        if has_answered {
            selection.consent_mut(a).unwrap().record_answer(at(1_100));
        }
        let seen = silent(&mut selection, &[a], 6_900);
        assert!(seen.iter().any(|(.., advanced)| advanced.is_other_health));
        selection.choose_fallback(at(6_900), &checks, Some(a), |_| false);
        let found =
            selection.fallback().map(|fallback| (fallback.pair, fallback.is_peer_move, fallback.is_readdressed));
        assert_eq!(found, (!has_answered).then_some((b, true, false)), "answered {has_answered}");
    }
}

#[test]
fn the_doubted_pair_is_asked_at_once() {
    let (_, [a, b]) = valid_pairs([(1, 1), (1, 2)]);
    let mut selection = watching(&[a]);
    assert!(selection.due(at(1_000), DETECTION).next().is_none());
    selection.suspect_move(at(1_000), a, b, false);
    assert_eq!(selection.due(at(1_000), DETECTION).collect::<Vec<_>>(), [a]);
    selection.forget_suspicion();
    assert!(!selection.knows_move(b, false));
}

/// Who takes the place of a silent pair depends on whether it is lost, may be nominated again, and is the same candidate.
#[test]
fn a_fallback_takes_the_place_of_the_nominated_pair_as_the_table_says() {
    #[derive(Debug, PartialEq)]
    enum Found {
        None,
        Later,
        Now,
    }
    // Until when it is silent, whether pairs can be nominated again, and whether the address was seen on its behalf.
    let table = [
        (0, false, true, Found::None),
        (6_900, false, true, Found::Later),
        (6_900, false, false, Found::None),
        (6_900, true, true, Found::None),
        (7_100, false, true, Found::Now),
        (7_100, false, false, Found::Now),
        (7_100, true, true, Found::Now),
        (7_100, true, false, Found::None),
    ];
    for (until, can_renominate, is_readdressed, expected) in table {
        let (checks, [a, b]) = valid_pairs([(1, 1), (1, 2)]);
        let mut selection = watching(&[a]);
        silent(&mut selection, &[a], until);
        selection.suspect_move(at(until), a, b, is_readdressed);
        if !is_readdressed {
            selection.choose_fallback(at(until), &checks, Some(a), |_| false);
        }
        let found = match selection.successor(at(until), Some(a), can_renominate) {
            Successor::None => Found::None,
            Successor::At(later) => {
                let silent_since = selection.consent(a).unwrap().unanswered_since().unwrap();
                assert_eq!(later, after(silent_since, Duration::from_secs(2)));
                Found::Later
            }
            Successor::Now(pair) => {
                assert_eq!(pair, b);
                Found::Now
            }
        };
        assert_eq!(found, expected, "silent until {until}, again {can_renominate}, readdressed {is_readdressed}");
        assert_eq!(selection.successor(at(until), None, can_renominate), Successor::None);
    }
}

const fn standby(most: usize, is_always: bool, is_alone: bool, active: Option<Cadence>, standby: Cadence) -> Standby {
    Standby { active, standby, most, is_always, is_alone }
}

#[test]
fn those_stand_by_that_share_least_with_the_pair_in_use() {
    // Shares: both addresses, the remote one, ours, none; and one without consent.
    let (mut checks, [a, both, theirs, ours, none, barred]) =
        valid_pairs([(1, 1), (1, 1), (2, 1), (1, 2), (2, 2), (3, 3)]);
    let _ = checks.drop(barred, Why::ConsentLost);
    let spare = Cadence::spare(Duration::from_secs(15));
    let how = |most| standby(most, true, false, Some(active()), spare);
    let selection = watching(&[a]);
    let found = |most| {
        let wanted = selection.wanted(&checks, PLACE, (a, Some(a)), how(most));
        assert_eq!(wanted[0], (a, Some(active())));
        assert!(wanted[1..].iter().all(|(_, cadence)| *cadence == Some(spare)));
        wanted[1..].iter().map(|(pair, _)| *pair).collect::<Vec<_>>()
    };
    assert_eq!(found(0), []);
    assert_eq!(found(2), [none, theirs]);
    assert_eq!(found(9), [none, theirs, ours, both]);
}

#[test]
fn others_are_watched_all_the_time_or_once_the_pair_in_use_is_given_up_or_never() {
    let (checks, [a, b, c]) = valid_pairs([(1, 1), (1, 2), (2, 1)]);
    let spare = Cadence::spare(Duration::from_secs(15));
    let count = |selection: &Selection, (in_use, nominated), is_always, is_alone| {
        let how = standby(2, is_always, is_alone, Some(active()), spare);
        selection.wanted(&checks, PLACE, (in_use, nominated), how).len()
    };
    let healthy = watching(&[a]);
    let mut lost = watching(&[a]);
    silent(&mut lost, &[a], 7_100);
    let mut restarted = watching(&[a]);
    restarted.restart(Some(a));
    assert_eq!(count(&healthy, (a, Some(a)), true, false), 3);
    assert_eq!(count(&healthy, (a, Some(a)), false, false), 1);
    assert_eq!(count(&lost, (a, Some(a)), false, false), 3);
    assert_eq!(count(&healthy, (a, Some(a)), true, true), 1);
    assert_eq!(count(&restarted, (a, Some(a)), true, false), 1);
    assert_eq!(count(&healthy, (a, None), true, false), 1, "nothing was agreed yet");
    // The nominated pair is watched beside the one in use, as often.
    let wanted = healthy.wanted(&checks, PLACE, (b, Some(c)), standby(0, false, false, Some(active()), spare));
    assert_eq!(wanted.as_slice(), [(b, Some(active())), (c, Some(active()))]);
}

#[test]
fn the_pair_in_use_is_doubted_when_the_peer_asks_one_that_stands_by_out_of_turn() {
    let (_, [a, b, c]) = valid_pairs([(1, 1), (1, 2), (2, 1)]);
    let short = Some(Duration::from_millis(200));
    // On which pair, how long after the check before, and whether the one in use was heard right now: whether it is asked.
    let table = [
        (b, short, false, true),
        (b, short, true, false),
        (b, Some(Duration::from_secs(5)), false, false),
        (b, None, false, false),
        (a, short, false, false),
        (c, short, false, false),
    ];
    for (asked, gap, is_heard, expected) in table {
        let mut selection = watching(&[a, b]);
        if is_heard {
            selection.heard_data(at(900));
        }
        selection.notice_alarm(at(1_000), asked, gap);
        assert_eq!(selection.due(at(1_000), DETECTION).any(|due| due == a), expected, "{asked:?} {gap:?} {is_heard}");
    }
}

#[test]
fn all_are_asked_or_those_that_stand_by_or_the_one_in_use_if_it_is_not_asked_already() {
    let (_, [a, b]) = valid_pairs([(1, 1), (1, 2)]);
    let due = |selection: &Selection| selection.due(at(500), DETECTION).collect::<Vec<_>>();
    let base = watching(&[a, b]);
    assert_eq!(due(&base), []);
    let mut all = base.clone();
    all.ask_all(at(500));
    assert_eq!(due(&all), [a, b]);
    let mut standby = base.clone();
    standby.urge_standby(at(500));
    assert_eq!(due(&standby), [b]);
    let mut regained = base.clone();
    regained.regain(at(500));
    assert_eq!(due(&regained), [a]);
    let mut asked = base;
    asked.consent_mut(a).unwrap().record_check(at(400), None, &mut random());
    asked.regain(at(500));
    assert_eq!(due(&asked), []);
}

#[test]
fn data_of_the_peer_puts_off_the_suspicion_and_no_more() {
    let (_, [a]) = valid_pairs([(1, 1)]);
    let mut selection = watching(&[a]);
    for second in 1..30 {
        selection.heard_data(at(second * 1_000));
    }
    let consent = selection.consent(a).unwrap();
    assert_eq!((consent.heard_at(), consent.answered_at()), (at(29_000), at(0)));
    Selection::default().heard_data(at(1));
}

#[test]
fn the_health_is_told_when_it_has_changed_with_what_was_known_before() {
    let (_, [a]) = valid_pairs([(1, 1)]);
    let mut selection = watching(&[a]);
    assert_eq!(selection.tell_health(), Some(None));
    assert_eq!(selection.tell_health(), None);
    silent(&mut selection, &[a], 7_100);
    assert_eq!(selection.tell_health(), Some(Some(PathHealth::Healthy)));
    assert_eq!(selection.told_health(), Some(PathHealth::Lost));
    selection.lose(a);
    assert_eq!(selection.tell_health(), Some(Some(PathHealth::Lost)));
    assert_eq!(selection.told_health(), None);
}

#[test]
fn the_earliest_wish_to_be_looked_at_counts() {
    let mut selection = Selection::default();
    selection.wait_no_longer_than(at(50));
    selection.wait_no_longer_than(at(70));
    assert_eq!((selection.deadline(), selection.expire(at(49))), (Some(at(50)), false));
    assert_eq!((selection.expire(at(50)), selection.expire(at(50))), (true, false));
    selection.wait_until(Some(at(90)));
    selection.wait_until(None);
    assert_eq!(selection.deadline(), None);
}

#[test]
fn rounds_of_failed_pairs_are_part_of_it() {
    let mut selection = Selection::default();
    assert_eq!(selection.retry_at(), None);
    selection.retries().want(true, Retry { at: at(5), gap: Duration::from_millis(10) });
    assert_eq!(selection.retry_at(), Some(at(5)));
}
