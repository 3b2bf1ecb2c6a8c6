//! Worlds that are played the same way each time and recorded: what a change of the code must not change.
//!
//! A scene has no verdict. Its number gives its set-up and its scenario, and its [transcript](Transcript) is compared with the
//! one that is kept.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use std::vec::Vec;

use super::call::Call;
use super::dice::Dice;
use super::link::{BurstLoss, Link};
use super::op::{Fault, Op};
use super::saying::Saying;
use super::server::ServerMethod;
use super::setup::{PairSetup, SideName};
use super::transcript::Transcript;
use super::world::random_nat;
use crate::{Config, Renomination, Role, Seed, TcpType};

/// A world that is recorded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scene {
    /// Its number.
    pub number: u64,
    /// What it is about, in a word or two.
    pub kinds: Vec<&'static str>,
    setup: PairSetup,
    ops: Vec<Op>,
    /// How long it goes on after its scenario.
    rest: Duration,
}

/// How many scenes are recorded, those of the numbers from 0 on.
pub const SCENES: u64 = 360;

/// Makes a scene of a kind out of what all have in common.
type Build = fn(&mut Scene, &mut Dice);

const KINDS: [(&str, Build); 9] = [
    ("plain", plain),
    ("nat", nat),
    ("turn", turn),
    ("tcp", tcp),
    ("loss", loss),
    ("restart", restart),
    ("roaming", roaming),
    ("lite", lite),
    ("hostile", hostile),
];

const SERVER: [u8; 4] = [203, 0, 113, 53];

const fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

impl Scene {
    /// The scene of a number. Scenes of all kinds take turns.
    #[must_use]
    pub fn new(number: u64) -> Self {
        let mut dice = Dice::new(number ^ 0x5ce_e000);
        let setup = base(number, &mut dice);
        let mut scene = Self { number, kinds: Vec::new(), setup, ops: Vec::new(), rest: ms(12_000) };
        let place = usize::try_from(number).unwrap_or(0) % KINDS.len();
        if let Some((kind, build)) = KINDS.get(place) {
            scene.kinds.push(kind);
            build(&mut scene, &mut dice);
        }
        if dice.one_in(5) && !scene.kinds.contains(&"loss") {
            scene.kinds.push("loss");
            scene.setup.link.loss = 0.1;
        }
        if dice.one_in(8) {
            scene.ops.push(Op::Call(side(&mut dice), Call::Close));
        }
        scene
    }

    /// Its scenario.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Its set-up.
    #[must_use]
    pub const fn setup(&self) -> &PairSetup {
        &self.setup
    }

    /// Plays it.
    ///
    /// # Panics
    /// If an invariant does not hold.
    #[must_use]
    pub fn run(&self) -> Transcript {
        self.play(self.setup.clone())
    }

    /// Plays it with agents that are called every so often besides, when they have not asked for it. That gives the same
    /// transcript, unless an agent has something to say before the time at which it wants to be called.
    ///
    /// # Panics
    /// If an invariant does not hold.
    #[must_use]
    pub fn run_awake(&self, interval: Duration) -> Transcript {
        let mut setup = self.setup.clone();
        setup.wakes_every = Some(interval);
        self.play(setup)
    }

    fn play(&self, setup: PairSetup) -> Transcript {
        let mut pair = setup.build();
        for op in &self.ops {
            pair.perform(op);
        }
        // Whoever has nothing to send on has nothing sent.
        for side in [SideName::L, SideName::R] {
            let _ = pair.send(side, &[0x80; 20]);
        }
        pair.perform(&Op::Advance(u32::try_from(self.rest.as_millis()).unwrap_or(u32::MAX)));
        Transcript::of(&pair)
    }

    /// Lets some time pass, so that things happen at odd moments.
    fn pause(&mut self, dice: &mut Dice, most: u64) {
        self.ops.push(Op::Advance(u32::try_from(1 + dice.below(most)).unwrap_or(1)));
    }

    fn push(&mut self, dice: &mut Dice, pause: u64, op: Op) {
        self.pause(dice, pause);
        self.ops.push(op);
    }
}

fn side(dice: &mut Dice) -> SideName {
    dice.of(&[SideName::L, SideName::R])
}

fn byte(dice: &mut Dice) -> u8 {
    u8::try_from(dice.below(256)).unwrap_or(0)
}

/// What all kinds have in common: two sides, each with some public addresses, and signalling.
fn base(number: u64, dice: &mut Dice) -> PairSetup {
    let addresses = |dice: &mut Dice| u8::try_from(1 + dice.below(3)).unwrap_or(1);
    let (l, r) = (addresses(dice), addresses(dice));
    let mut setup = PairSetup::new(Seed::from_number(number).derive("scene")).addresses(l, r);
    setup.link = Link { jitter: ms(dice.of(&[0, 0, 7])), ..Link::with_delay(ms(1 + dice.below(90))) };
    let roles = [Role::Controlling, Role::Controlled];
    if dice.one_in(3) {
        setup = setup.roles(dice.of(&roles), dice.of(&roles));
    }
    setup.streams = dice.of(&[1, 1, 1, 2]);
    let components = dice.of(&[1, 1, 2]);
    let draft = dice.of(&[None, Some(Renomination::Draft2016), Some(Renomination::Draft2026)]);
    let config =
        Config::default().with_ta(ms(dice.of(&[50, 50, 20, 5]))).with_pair_events(dice.one_in(3)).with_consent(true);
    let has_v6 = dice.one_in(4);
    for (number, side) in [(1_u16, &mut setup.l), (2, &mut setup.r)] {
        side.config = config.clone();
        side.components = components;
        side.renomination = draft;
        side.ice2 = !dice.one_in(4);
        side.signals_candidates = !dice.one_in(10);
        side.description_delay = ms(dice.of(&[0, 0, 30, 250]));
        side.candidate_delay = ms(dice.of(&[0, 0, 60, 300]));
        side.candidate_interval = ms(dice.of(&[0, 0, 40]));
        if has_v6 {
            side.addresses.push(IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, 1)));
        }
    }
    setup.follows_timer = dice.one_in(5);
    setup
}

fn plain(scene: &mut Scene, dice: &mut Dice) {
    for setup in [&mut scene.setup.l, &mut scene.setup.r] {
        setup.mapped_sockets = dice.one_in(6);
        setup.start = ms(dice.of(&[0, 0, 400, 3000]));
        if dice.one_in(10) {
            setup.config = setup.config.clone().with_consent(false);
        }
    }
    scene.pause(dice, 3000);
    for _ in 0..dice.below(4) {
        let call = match dice.below(7) {
            0 => Call::Nominate(byte(dice)),
            1 => Call::RemovePair(byte(dice)),
            2 => Call::Idle(true),
            3 => Call::Withhold(true),
            4 => Call::ToggleStream,
            5 => Call::KeepComponents(byte(dice)),
            _ => Call::EndOfRemotes,
        };
        let side = side(dice);
        scene.push(dice, 3000, Op::Call(side, call));
    }
    if dice.one_in(8) {
        // A minute of consent, and what it costs.
        scene.rest = ms(70_000);
    }
}

/// Puts the sides behind NATs.
fn behind(scene: &mut Scene, dice: &mut Dice) {
    for (number, side) in [(1, &mut scene.setup.l), (2, &mut scene.setup.r)] {
        for depth in 0..dice.of(&[0, 1, 1, 2]) {
            let public = if depth == 0 { [198, 51, 101, number] } else { [100, 64, depth, number] };
            side.nats.push(random_nat(dice, public.into()));
        }
        if !side.nats.is_empty() {
            let count = u8::try_from(side.addresses.len().min(2)).unwrap_or(1);
            side.addresses = (0..count).map(|last| IpAddr::from([10, 0, number, 10 + last])).collect();
        }
        side.reflexive_toward = (!dice.one_in(4)).then_some(SocketAddr::from((SERVER, 3478)));
    }
}

fn nat(scene: &mut Scene, dice: &mut Dice) {
    behind(scene, dice);
    if dice.one_in(4) {
        let side = side(dice);
        scene.push(dice, 9000, Op::Fault(Fault::Rebind(side, 0)));
        scene.rest = ms(40_000);
    }
}

fn turn(scene: &mut Scene, dice: &mut Dice) {
    if dice.one_in(2) {
        behind(scene, dice);
    }
    let mut setup = scene.setup.clone().with_turn(SERVER.into());
    if dice.one_in(4) {
        setup = setup.with_turn([203, 0, 113, 54].into());
    }
    for side in [&mut setup.l, &mut setup.r] {
        side.reflexive_toward = None;
        side.only_reaches = dice.one_in(2).then_some(IpAddr::from(SERVER));
    }
    scene.setup = setup;
    scene.pause(dice, 4000);
    for _ in 0..dice.below(4) {
        let methods =
            [ServerMethod::Allocate, ServerMethod::Refresh, ServerMethod::CreatePermission, ServerMethod::ChannelBind];
        let (which, method) = (byte(dice), dice.of(&methods));
        let code = dice.of(&[401, 403, 437, 438, 486, 500, 508]);
        let fault = match dice.below(8) {
            0 => Fault::ServerDies(which),
            1 => Fault::ServersRevive,
            2 => Fault::ServerForgets(which),
            3 => Fault::ServerForgetsChannels(which),
            4 | 5 => Fault::ServerRotatesNonce(which),
            6 => Fault::ServerRefuses(which, method, code, 1),
            _ => Fault::ServerLies(which, method, code, 1),
        };
        scene.push(dice, 6000, Op::Fault(fault));
    }
    // Permissions last 300 s, channels and allocations 600 s.
    let is_small = scene.setup.l.addresses.len() + scene.setup.r.addresses.len() < 4;
    scene.rest =
        ms(dice.of(if is_small { &[10_000, 30_000, 330_000, 650_000] } else { &[10_000, 10_000, 10_000, 40_000] }));
}

fn tcp(scene: &mut Scene, dice: &mut Dice) {
    let types = [TcpType::Active, TcpType::Passive, TcpType::SimultaneousOpen];
    let has_udp = dice.one_in(2);
    for side in [&mut scene.setup.l, &mut scene.setup.r] {
        side.udp = has_udp;
        side.tcp = types.into_iter().filter(|_| !dice.one_in(3)).collect();
    }
    scene.pause(dice, 3000);
    for _ in 0..dice.below(3) {
        let side = side(dice);
        let fault = dice.of(&[Fault::FreezeStreams(side), Fault::ResetStreams(side)]);
        scene.push(dice, 5000, Op::Fault(fault));
    }
    scene.rest = ms(dice.of(&[12_000, 20_000, 45_000]));
}

fn loss(scene: &mut Scene, dice: &mut Dice) {
    if dice.one_in(2) {
        behind(scene, dice);
    }
    let burst = dice.one_in(3).then_some(BurstLoss { enter: 0.02, leave: 0.3, loss: 1.0 });
    scene.setup.link = Link {
        loss: dice.of(&[0.05, 0.2, 0.4]),
        burst,
        duplicate: dice.of(&[0.0, 0.1]),
        reorder: dice.of(&[0.0, 0.1]),
        reorder_delay: ms(80),
        ..scene.setup.link
    };
    if dice.one_in(4) {
        let cut = side(dice);
        scene.push(dice, 8000, Op::Fault(Fault::Cut(cut)));
        scene.pause(dice, 40_000);
        scene.push(dice, 1, Op::Fault(Fault::Mend));
    }
}

fn restart(scene: &mut Scene, dice: &mut Dice) {
    if dice.one_in(3) {
        behind(scene, dice);
    }
    for _ in 0..1 + dice.below(3) {
        let (side, pause) = (side(dice), dice.of(&[100, 1000, 6000]));
        scene.push(dice, pause, Op::Call(side, Call::Restart));
        if dice.one_in(3) {
            scene.push(dice, 60, Op::Call(side.other(), Call::Restart));
        }
        if dice.one_in(4) {
            scene.push(dice, 60, Op::Call(side, Call::Rollback));
        }
    }
}

fn roaming(scene: &mut Scene, dice: &mut Dice) {
    if dice.one_in(2) {
        behind(scene, dice);
    }
    scene.pause(dice, 3000);
    for _ in 0..1 + dice.below(5) {
        let (side, which) = (side(dice), byte(dice));
        let op = match dice.below(12) {
            0 | 1 => Op::Fault(Fault::InterfaceDown(side, which)),
            2 => Op::Fault(Fault::InterfacesUp(side)),
            3 | 4 => Op::Fault(Fault::Move(side, which)),
            5 | 6 => Op::Call(side, Call::AddSocket(which)),
            7 => Op::Call(side, Call::RemoveLocal(which)),
            8 => Op::Call(side, Call::RemoveRemote(which)),
            9 => Op::Call(side, Call::SendFails(which)),
            10 => Op::Call(side, Call::Revoke),
            _ => Op::Sleep(20_000 + u32::from(which) * 100),
        };
        scene.push(dice, 9000, op);
        if dice.one_in(2) {
            scene.push(dice, 50, Op::Call(side, Call::NetworkChanged));
        }
    }
    scene.rest = ms(dice.of(&[12_000, 40_000, 90_000]));
}

fn lite(scene: &mut Scene, dice: &mut Dice) {
    // A lite agent has public addresses, and controls nobody but another one.
    scene.setup.r.config = scene.setup.r.config.clone().with_lite(true);
    scene.setup = scene.setup.clone().roles(Role::Controlling, Role::Controlled);
    if dice.one_in(6) {
        scene.setup.l.config = scene.setup.l.config.clone().with_lite(true);
    } else if dice.one_in(2) {
        let public = [198, 51, 101, 1].into();
        scene.setup.l.nats.push(random_nat(dice, public));
        scene.setup.l.addresses = std::vec![IpAddr::from([10, 0, 1, 10])];
    }
    scene.pause(dice, 4000);
    for _ in 0..dice.below(3) {
        let op = match dice.below(4) {
            0 => Op::Call(side(dice), Call::Restart),
            1 => Op::Fault(Fault::Move(SideName::L, 0)),
            2 => Op::Call(SideName::L, Call::AddSocket(byte(dice))),
            _ => Op::Fault(Fault::Cut(SideName::L)),
        };
        scene.push(dice, 6000, op);
    }
    scene.rest = ms(dice.of(&[12_000, 45_000]));
}

fn hostile(scene: &mut Scene, dice: &mut Dice) {
    if dice.one_in(3) {
        behind(scene, dice);
    }
    for _ in 0..4 + dice.below(30) {
        let bytes = dice.bytes();
        let saying = Saying::decode(&mut super::op::Bytes(&mut bytes.as_slice()));
        let (side, pause) = (side(dice), dice.of(&[10, 100, 1000]));
        scene.push(dice, pause, Op::Say(side, saying));
    }
}
