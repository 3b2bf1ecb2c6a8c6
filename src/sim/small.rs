//! The small worlds of which every order of events is walked.

use std::time::Duration;
use std::vec::Vec;

use super::call::Call;
use super::explore::{Budget, SmallWorld};
use super::nat::NatConfig;
use super::op::{Fault, Op};
use super::setup::PairSetup;
use super::setup::SideName::{L, R};
use crate::{Renomination, Role, Seed};

fn setup(name: &str) -> PairSetup {
    PairSetup::new(Seed::from_name(name))
}

const fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

const fn budget(steps: u8, losses: u8, copies: u8, ticks: u8) -> Budget {
    Budget { steps, losses, copies, ticks }
}

/// The small worlds, each with the budget of a thorough exploration.
#[must_use]
pub fn small_worlds() -> Vec<SmallWorld> {
    let both = |draft| move |setup: PairSetup| setup.renomination(draft);
    let with_values = both(Renomination::Draft2026);
    let with_values_of_2016 = both(Renomination::Draft2016);
    let connected = ms(1500);
    let restarts = [Op::Call(L, Call::Restart), Op::Call(R, Call::Restart)];
    let signalled = |setup: PairSetup| {
        let late =
            |side: &mut super::setup::SideSetup| (side.description_delay, side.candidate_delay) = (ms(30), ms(30));
        setup.left(late).right(late)
    };
    std::vec![
        SmallWorld::new("1x1", setup("1x1"), budget(14, 2, 1, 4)),
        SmallWorld::new("2x2", setup("2x2").addresses(2, 2), budget(9, 1, 1, 3)),
        SmallWorld::new("2x1", setup("2x1").addresses(2, 1), budget(11, 1, 1, 3)),
        SmallWorld::new(
            "both controlling",
            setup("c").roles(Role::Controlling, Role::Controlling),
            budget(12, 1, 1, 3)
        ),
        SmallWorld::new("both controlled", setup("d").roles(Role::Controlled, Role::Controlled), budget(12, 1, 1, 3)),
        SmallWorld::new(
            "checks before the description",
            setup("early").left(|side| side.description_delay = ms(120)).right(|side| side.candidate_delay = ms(60)),
            budget(12, 1, 1, 5),
        ),
        SmallWorld::new(
            "checks before any candidate",
            setup("prflx").right(|side| side.signals_candidates = false).addresses(1, 2),
            budget(11, 1, 1, 4),
        ),
        SmallWorld::new("a lost nomination", setup("nominate").addresses(1, 2), budget(12, 2, 0, 3)).after(ms(20)),
        SmallWorld::new("a lost renomination", with_values(setup("renominate").addresses(2, 1)), budget(10, 2, 1, 4))
            .after(connected)
            .with_actions(&[Op::Call(L, Call::Nominate(0)), Op::Call(L, Call::Nominate(1))]),
        SmallWorld::new(
            "a lost renomination of 2016",
            with_values_of_2016(setup("renominate").addresses(2, 1)),
            budget(10, 2, 1, 4)
        )
        .after(connected)
        .with_actions(&[Op::Call(L, Call::Nominate(0)), Op::Call(L, Call::Nominate(1))]),
        SmallWorld::new("glare of restarts", signalled(setup("glare")), budget(11, 1, 0, 7))
            .after(connected)
            .with_actions(&restarts),
        SmallWorld::new("a restart while checks run", signalled(setup("restart")), budget(11, 1, 0, 6))
            .with_actions(&[Op::Call(L, Call::Restart)]),
        SmallWorld::new("removal in mid-check", with_values(setup("remove").addresses(2, 1)), budget(9, 1, 0, 3))
            .with_actions(&[
                Op::Call(L, Call::RemoveLocal(0)),
                Op::Call(R, Call::RemoveRemote(1)),
                Op::Call(L, Call::RemovePair(0)),
            ])
            .which_may_disagree(),
        SmallWorld::new("removal without renomination", setup("remove 2").addresses(1, 2), budget(9, 1, 0, 3))
            .with_actions(&[Op::Call(L, Call::RemoveRemote(0)), Op::Call(R, Call::RemoveLocal(0))])
            .which_may_disagree(),
        SmallWorld::new(
            "a rebinding",
            setup("rebind").left(|side| side.nats.push(home([198, 51, 100, 9]))),
            budget(9, 1, 0, 5)
        )
        .after(connected)
        .with_actions(&[Op::Fault(Fault::Move(L, 0)), Op::Call(L, Call::NetworkChanged)])
        .which_may_fail(),
        SmallWorld::new(
            "a rebinding with renomination",
            with_values(setup("rebind 2")).left(|side| side.nats.push(home([198, 51, 100, 9]))),
            budget(9, 1, 0, 5),
        )
        .after(connected)
        .with_actions(&[Op::Fault(Fault::Move(L, 0)), Op::Call(L, Call::NetworkChanged)])
        .which_may_fail(),
        SmallWorld::new(
            "a lite agent",
            setup("lite").right(|side| side.config = side.config.clone().with_lite(true)),
            budget(12, 2, 1, 4)
        ),
        SmallWorld::new(
            "a lite agent with two addresses",
            setup("lite 2").addresses(1, 2).right(|side| side.config = side.config.clone().with_lite(true)),
            budget(11, 1, 1, 4),
        ),
        SmallWorld::new("a relay", relayed(setup("relay")), budget(11, 1, 0, 3)).after(ms(60)),
        SmallWorld::new(
            "a rebinding of a side with a public peer",
            setup("rebind 3").left(|side| side.nats.push(home([198, 51, 100, 9]))),
            budget(8, 0, 0, 6),
        )
        .after(connected)
        .with_actions(&[Op::Fault(Fault::Move(L, 0))]),
        SmallWorld::new("consent that is taken back", setup("take back"), budget(8, 1, 0, 4))
            .after(connected)
            .with_actions(&[Op::Call(L, Call::RemoveRemote(0))])
            .which_may_fail(),
        SmallWorld::new("the end of a session", setup("close"), budget(10, 1, 0, 3))
            .with_actions(&[Op::Call(L, Call::Close), Op::Call(R, Call::Restart)])
            .which_may_fail(),
    ]
}

fn home(public: [u8; 4]) -> NatConfig {
    NatConfig::port_restricted([public.into()])
}

/// The left side reaches nobody but its TURN server.
fn relayed(setup: PairSetup) -> PairSetup {
    let server = [192, 0, 2, 53].into();
    let mut setup = setup.with_turn(server).left(|side| side.only_reaches = Some(server));
    setup.r.servers.clear();
    setup
}
