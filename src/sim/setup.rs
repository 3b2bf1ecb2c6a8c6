//! How a pair of agents is set up: roles, addresses, NATs, servers, and what signalling does.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use std::vec::Vec;

use super::link::Link;
use super::nat::NatConfig;
use super::pair::Pair;
use crate::types::Instant;
use crate::{Candidate, Config, IceServer, Renomination, Role, Seed, TcpType};

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there are two sides")]
pub enum SideName {
    /// The left one, controlling unless said otherwise.
    L,
    /// The right one, controlled unless said otherwise.
    R,
}

impl SideName {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::L => Self::R,
            Self::R => Self::L,
        }
    }
}

/// How one side is set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SideSetup {
    /// Its first role.
    pub role: Role,
    /// The configuration of its agent.
    pub config: Config,
    /// Its interfaces.
    pub addresses: Vec<IpAddr>,
    /// The NATs in front of it, the outermost first.
    pub nats: Vec<NatConfig>,
    /// How many components its streams have.
    pub components: u16,
    /// Whether its description declares `ice2`.
    pub ice2: bool,
    /// How its description says that it takes several nominations, if it does.
    pub renomination: Option<Renomination>,
    /// Whether its candidates reach the other side.
    pub signals_candidates: bool,
    /// Whether its end-of-candidates is said and reaches the other side.
    pub signals_end: bool,
    /// How long its description takes to the other side.
    pub description_delay: Duration,
    /// How long each of its candidates, and the end of them, takes to the other side.
    pub candidate_delay: Duration,
    /// Added to the delay for each further candidate: candidates trickle one by one.
    pub candidate_interval: Duration,
    /// Candidates that the other side is told of before the true ones.
    pub extra_candidates: Vec<Candidate>,
    /// Whether it has UDP sockets.
    pub udp: bool,
    /// Whether its sockets are of IPv6 and open for IPv4, too: they name IPv4 addresses `::ffff:a.b.c.d`, and refuse to send
    /// from or to plain ones.
    pub mapped_sockets: bool,
    /// The TCP candidates that it has at each address: passive ones from port 7000 on, simultaneous-open ones from port
    /// 8000 on.
    pub tcp: Vec<TcpType>,
    /// The server toward which each socket learns a server-reflexive candidate, without asking it.
    pub reflexive_toward: Option<SocketAddr>,
    /// The servers that it gathers from. If there are any, the end of its candidates is when gathering is complete.
    pub servers: Vec<IceServer>,
    /// The only host that its firewall lets it reach, if there is one.
    pub only_reaches: Option<IpAddr>,
    /// When its agent is given its sockets.
    pub start: Duration,
}

impl SideSetup {
    fn new(role: Role, address: &str) -> Self {
        Self {
            role,
            config: Config::default(),
            addresses: address.parse().into_iter().collect(),
            nats: Vec::new(),
            components: 1,
            ice2: true,
            renomination: None,
            signals_candidates: true,
            signals_end: true,
            description_delay: Duration::ZERO,
            candidate_delay: Duration::ZERO,
            candidate_interval: Duration::ZERO,
            extra_candidates: Vec::new(),
            udp: true,
            mapped_sockets: false,
            tcp: Vec::new(),
            reflexive_toward: None,
            servers: Vec::new(),
            only_reaches: None,
            start: Duration::ZERO,
        }
    }
}

/// How a [`Pair`] is set up. By default both sides have one public address, signalling takes no time, and the network
/// 25 ms each way.
///
/// ```
/// use nilas::Seed;
/// use nilas::sim::PairSetup;
/// use std::time::Duration;
///
/// let mut pair = PairSetup::new(Seed::from_name("example")).build();
/// assert!(pair.run_until_selected(Duration::from_secs(1)));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PairSetup {
    /// Where all randomness comes from.
    pub seed: Seed,
    /// The left side.
    pub l: SideSetup,
    /// The right side.
    pub r: SideSetup,
    /// How many streams there are.
    pub streams: usize,
    /// NATs in front of both sides and of their own NATs, the outermost first: that of a carrier, or of a common home.
    pub shared_nats: Vec<NatConfig>,
    /// STUN and TURN servers, each on a host of its own, port 3478: they relay for the user `user` with the password `pass`.
    pub servers: Vec<IpAddr>,
    /// The link between the two hosts.
    pub link: Link,
    /// What the clock shows at the start.
    pub epoch: Instant,
    /// Whether the sides are polled only when their timers say so, and not after each input: what an agent has to say has
    /// to show in [`poll_timeout`](crate::Agent::poll_timeout).
    pub follows_timer: bool,
    /// How often the sides are told the time and polled besides, when they have not asked for it; `None` for never. What an
    /// agent has to say before [`poll_timeout`](crate::Agent::poll_timeout) comes out then.
    pub wakes_every: Option<Duration>,
}

impl PairSetup {
    /// The default set-up.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            l: SideSetup::new(Role::Controlling, "198.51.100.1"),
            r: SideSetup::new(Role::Controlled, "203.0.113.1"),
            streams: 1,
            shared_nats: Vec::new(),
            servers: Vec::new(),
            link: Link::with_delay(Duration::from_millis(25)),
            epoch: Instant::ZERO,
            follows_timer: false,
            wakes_every: None,
        }
    }

    /// The same with other roles.
    #[must_use]
    pub fn roles(mut self, l: Role, r: Role) -> Self {
        (self.l.role, self.r.role) = (l, r);
        self
    }

    /// The same with another link between the hosts.
    #[must_use]
    pub fn link(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    /// The same with a server at this address, from which both sides gather.
    #[must_use]
    pub fn with_turn(mut self, ip: IpAddr) -> Self {
        self.servers.push(ip);
        let server = IceServer::turn(SocketAddr::new(ip, 3478), "user", "pass");
        self.l.servers.push(server.clone());
        self.r.servers.push(server);
        self
    }

    /// The same with so many IPv4 addresses on each side.
    #[must_use]
    pub fn addresses(mut self, l: u8, r: u8) -> Self {
        self.l.addresses = (1..=l).map(|last| IpAddr::from([198, 51, 100, last])).collect();
        self.r.addresses = (1..=r).map(|last| IpAddr::from([203, 0, 113, last])).collect();
        self
    }

    /// The same with another configuration of both agents.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.l.config = config.clone();
        self.r.config = config;
        self
    }

    /// The same with descriptions of both sides that say that they take several nominations.
    #[must_use]
    pub const fn renomination(mut self, draft: Renomination) -> Self {
        (self.l.renomination, self.r.renomination) = (Some(draft), Some(draft));
        self
    }

    /// The same with changes to the left side.
    #[must_use]
    pub fn left(mut self, change: impl FnOnce(&mut SideSetup)) -> Self {
        change(&mut self.l);
        self
    }

    /// The same with changes to the right side.
    #[must_use]
    pub fn right(mut self, change: impl FnOnce(&mut SideSetup)) -> Self {
        change(&mut self.r);
        self
    }

    /// Builds network and agents, and lets signalling begin.
    ///
    /// # Panics
    /// If the set-up makes no sense: a bad configuration, or addresses that cannot be used.
    #[must_use]
    pub fn build(self) -> Pair {
        Pair::new(self)
    }
}
