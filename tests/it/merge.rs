//! Candidates that the peer's checks show before they are signalled: one pair throughout.

use nilas::sim::{Link, SideName};
use nilas::{CandidateKind, CandidatePairState, Config, ConnectionState};

use crate::help::{at, ms, requests, secs, setup};
use crate::lone::component;

/// Req: 8838-11-c
#[test]
fn a_check_before_signalling_and_the_candidate_after_it_are_one_pair_that_both_sides_rate_alike() {
    for late in [SideName::L, SideName::R] {
        let mut setup = setup("in place").config(Config::default().with_nomination_policy(std::sync::Arc::new(Slow)));
        if late == SideName::L {
            setup.l.candidate_delay = ms(200)
        } else {
            setup.r.candidate_delay = ms(200)
        }
        let mut pair = setup.build();
        pair.run_to(at(150));
        let (early, other) = (late.other(), late);
        // The side that was told nothing has learned the other's address from its checks.
        let seen: Vec<_> =
            pair.peer(early).agent.pairs().map(|p| (p.id, p.remote.kind(), p.state, p.is_valid, p.stats)).collect();
        let [(id, CandidateKind::PeerReflexive, CandidatePairState::Succeeded, true, stats)] = seen[..] else {
            panic!("one valid pair with a peer-reflexive candidate, not {seen:?}")
        };
        pair.run_to(at(250));
        let signalled: Vec<_> =
            pair.peer(early).agent.pairs().map(|p| (p.id, p.remote.kind(), p.state, p.is_valid, p.stats)).collect();
        assert_eq!(signalled, [(id, CandidateKind::Host, CandidatePairState::Succeeded, true, stats)]);
        let of = |side| pair.peer(side).agent.pairs().map(|p| p.priority).collect::<Vec<_>>();
        assert_eq!(of(early), of(other));
        let foundation = pair.peer(other).agent.local_candidates(pair.stream()).next().unwrap().candidate.foundation();
        assert_eq!(pair.peer(early).agent.pair(id).unwrap().remote.foundation(), foundation);
        assert!(pair.run_until_selected(secs(2)));
        assert!(pair.agrees());
        assert_eq!(pair.peer(early).agent.selected_pair(pair.stream(), component(1)).unwrap().id, id);
    }
}

/// Nominates the best pair half a second after the first valid one.
#[derive(Debug)]
struct Slow;

impl nilas::NominationPolicy for Slow {
    fn decide(&self, view: &nilas::NominationView<'_>) -> nilas::NominationDecision {
        let until = view.first_valid_at + ms(500);
        if until <= view.now {
            nilas::NominationDecision::Nominate(view.valid[0].pair)
        } else {
            nilas::NominationDecision::WaitUntil(until)
        }
    }
}

/// Req: 8838-11-c
#[test]
fn a_candidate_that_is_signalled_while_its_pair_is_being_nominated_disturbs_nothing() {
    for delay in (0..300).step_by(7) {
        let mut setup = setup("meanwhile").link(Link::with_delay(ms(40)));
        setup.l.candidate_delay = ms(delay);
        let mut pair = setup.build();
        assert!(pair.run_until_selected(secs(2)), "signalled after {delay} ms");
        pair.run_for(secs(1));
        assert!(pair.agrees());
        for peer in [&pair.l, &pair.r] {
            assert_eq!((peer.agent.pairs().count(), peer.selections()), (1, 1));
            assert_eq!(peer.agent.state(), ConnectionState::Completed);
        }
        let nominating = requests(&pair.l.sent).into_iter().filter(|(_, request, _)| request.use_candidate).count();
        assert_eq!(nominating, 1);
    }
}
