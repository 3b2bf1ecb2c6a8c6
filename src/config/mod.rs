//! Knobs of an agent, each with its default and the reason for it.

mod check;
pub(crate) mod limits;

pub use check::ConfigError;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::Ipv6Addr;
use core::time::Duration;

use crate::candidate::{Preferences, RemoteFilter, TransportOrder, TypePreferences};
use crate::demux::DataFilter;
use crate::gather::{AddressFilter, AddressMapping, CandidateTypes};
use crate::nomination::{NominationChoice, NominationPolicy, SettleWindow};
use crate::selection::{SelectionPolicy, SteadySelection};
use crate::types::{CONSENT_EXPIRY, Schedule};

/// How an agent behaves. The default suits WebRTC; setters chain, and [`Agent::new`](crate::Agent::new) checks the whole.
///
/// ```
/// use core::time::Duration;
/// use nilas::Config;
///
/// let config = Config::default().with_ta(Duration::from_millis(20)).with_max_pairs(50);
/// # let _ = config;
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) ta: Duration,
    pub(crate) rto: Duration,
    pub(crate) max_rto: Duration,
    pub(crate) rto_formula: RtoFormula,
    pub(crate) rc: u8,
    pub(crate) rm: u32,
    pub(crate) pac: Option<Duration>,
    pub(crate) max_pairs: usize,
    pub(crate) max_remote_candidates: usize,
    pub(crate) max_peer_reflexive: usize,
    pub(crate) max_early_checks: usize,
    pub(crate) max_events: usize,
    pub(crate) type_preferences: TypePreferences,
    pub(crate) transport_order: TransportOrder,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: usize,
    pub(crate) loopback: bool,
    pub(crate) unauthenticated_replies: u32,
    pub(crate) data_filter: DataFilter,
    pub(crate) prohibited_ports: Arc<[u16]>,
    pub(crate) nomination: Arc<dyn NominationPolicy>,
    pub(crate) strict_nomination: bool,
    pub(crate) repeated_use_candidate: bool,
    pub(crate) nomination_choice: NominationChoice,
    pub(crate) renomination: bool,
    pub(crate) selection: Arc<dyn SelectionPolicy>,
    pub(crate) standby_pairs: usize,
    pub(crate) standby_interval: Duration,
    pub(crate) idle_interval: Duration,
    pub(crate) retry_interval: Duration,
    pub(crate) pair_events: bool,
    pub(crate) lite: bool,
    pub(crate) consent: bool,
    pub(crate) keepalive_interval: Duration,
    pub(crate) consent_interval: Duration,
    pub(crate) detection: Duration,
    pub(crate) gathering_timeout: Duration,
    pub(crate) continual_gathering: bool,
    pub(crate) nat64_prefix: Option<Ipv6Addr>,
    pub(crate) candidate_types: CandidateTypes,
    pub(crate) address_filter: AddressFilter,
    pub(crate) address_mapping: AddressMapping,
    pub(crate) remote_filter: RemoteFilter,
    pub(crate) mdns: bool,
    pub(crate) relay_families: RelayFamilies,
    pub(crate) software: Box<str>,
}

/// How the retransmission timeout of a check grows with the number of checks (RFC 8445 §14.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RtoFormula {
    /// `Ta * (Waiting + In-Progress)`: the first transmission of every check precedes the repetition of any.
    #[default]
    Checks,
    /// `Ta * N * (Waiting + In-Progress)` with N the number of pairs, as RFC 8445 prints it. It reaches minutes.
    Literal,
}

/// Which relayed addresses a TURN server is asked for (RFC 8656 §7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayFamilies {
    /// One of the family in which the server is reached.
    #[default]
    OfServer,
    /// One of each family, in one allocation. A server that has but one of them gives that one.
    Both,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ta: Duration::from_millis(50),
            rto: Duration::from_millis(500),
            max_rto: Duration::from_secs(2),
            rto_formula: RtoFormula::Checks,
            rc: 7,
            rm: 16,
            pac: None,
            max_pairs: limits::PAIRS,
            max_remote_candidates: limits::REMOTE_CANDIDATES,
            max_peer_reflexive: limits::PEER_REFLEXIVE,
            max_early_checks: limits::EARLY_CHECKS,
            max_events: limits::EVENTS,
            type_preferences: TypePreferences::default(),
            transport_order: TransportOrder::UdpFirst,
            max_connections: limits::CONNECTIONS,
            max_connections_per_address: limits::CONNECTIONS_PER_ADDRESS,
            loopback: false,
            unauthenticated_replies: limits::UNAUTHENTICATED_REPLIES,
            data_filter: DataFilter::Rfc9443,
            prohibited_ports: Arc::default(),
            nomination: Arc::new(SettleWindow::default()),
            strict_nomination: false,
            repeated_use_candidate: true,
            nomination_choice: NominationChoice::Auto,
            renomination: true,
            selection: Arc::new(SteadySelection::default()),
            standby_pairs: limits::STANDBY_PAIRS,
            standby_interval: Duration::from_secs(25),
            idle_interval: Duration::from_secs(25),
            retry_interval: Duration::from_secs(5),
            pair_events: false,
            lite: false,
            consent: true,
            keepalive_interval: Duration::from_secs(15),
            consent_interval: Duration::from_secs(5),
            detection: Duration::from_secs(10),
            gathering_timeout: Duration::from_secs(10),
            continual_gathering: false,
            nat64_prefix: None,
            candidate_types: CandidateTypes::ALL,
            address_filter: AddressFilter::default(),
            address_mapping: AddressMapping::default(),
            remote_filter: RemoteFilter::default(),
            mdns: false,
            relay_families: RelayFamilies::OfServer,
            software: Box::default(),
        }
    }
}

impl Config {
    /// Ta, the time between two new checks. 5 ms to 10 s, default 50 ms (RFC 8445 §14.2).
    ///
    /// The larger of the two sides' values counts, so another value has to be announced to the peer. Of the peer's a second at
    /// the most counts.
    #[must_use]
    pub const fn with_ta(mut self, ta: Duration) -> Self {
        self.ta = ta;
        self
    }

    /// The least retransmission timeout. 500 ms to 60 s, default 500 ms (RFC 8445 §14.3).
    #[must_use]
    pub const fn with_rto(mut self, rto: Duration) -> Self {
        self.rto = rto;
        self
    }

    /// Up to where the interval between two transmissions of a check doubles: this, or Ta for each pair that waits or is
    /// checked, or the first interval, if one of them is longer. 500 ms to 60 s, default 2 s.
    ///
    /// So a network that comes late is noticed within this time. A check lasts as long as without a cap, see
    /// [`with_rc`](Self::with_rc), and is sent more often; with 60 s, transmissions leave as RFC 8489 §6.2.1 prints them.
    /// Requests to STUN and TURN servers have no cap.
    #[must_use]
    pub const fn with_max_rto(mut self, max_rto: Duration) -> Self {
        self.max_rto = max_rto;
        self
    }

    /// How the retransmission timeout grows with the number of checks. Default [`RtoFormula::Checks`].
    #[must_use]
    pub const fn with_rto_formula(mut self, formula: RtoFormula) -> Self {
        self.rto_formula = formula;
        self
    }

    /// Rc, how often one request is sent while the intervals double. 1 to 16, default 7 (RFC 8489 §6.2.1).
    ///
    /// With Rm it says how long a check lasts: RTO · (2^(Rc - 1) - 1 + Rm), 39.5 s by default, and at least Rc intervals
    /// where the RTO has grown with the number of checks. Once the intervals have reached
    /// [`with_max_rto`](Self::with_max_rto), a check is sent at that pace until its time is over.
    #[must_use]
    pub const fn with_rc(mut self, rc: u8) -> Self {
        self.rc = rc;
        self
    }

    /// Rm, how many retransmission timeouts the last transmission is waited for. 1 to 64, default 16 (RFC 8489 §6.2.1).
    #[must_use]
    pub const fn with_rm(mut self, rm: u32) -> Self {
        self.rm = rm;
        self
    }

    /// How patient ICE is before it fails. Default, with `None`, as long as one check lasts: 39.5 s (RFC 8863 §4).
    #[must_use]
    pub const fn with_pac_timer(mut self, pac: Option<Duration>) -> Self {
        self.pac = pac;
        self
    }

    /// Most candidate pairs on all checklists together. 1 to 10,000, default 100 (RFC 8445 §6.1.2.5).
    #[must_use]
    pub const fn with_max_pairs(mut self, pairs: usize) -> Self {
        self.max_pairs = pairs;
        self
    }

    /// Most signalled remote candidates of a stream. 1 to 10,000, default 100. When there are more, those of the highest
    /// priority are kept.
    #[must_use]
    pub const fn with_max_remote_candidates(mut self, candidates: usize) -> Self {
        self.max_remote_candidates = candidates;
        self
    }

    /// Most peer-reflexive candidates of a stream on either side. 0 to 10,000, default 50. Checks from further addresses
    /// are answered without consequence.
    #[must_use]
    pub const fn with_max_peer_reflexive(mut self, candidates: usize) -> Self {
        self.max_peer_reflexive = candidates;
        self
    }

    /// How many addresses, whose checks came before the peer's credentials, are remembered in a stream. 0 to 1,000,
    /// default 32.
    #[must_use]
    pub const fn with_max_early_checks(mut self, checks: usize) -> Self {
        self.max_early_checks = checks;
        self
    }

    /// Type preferences of candidates. Default 126, 110, 100 and 0 (RFC 8445 §5.1.2.2).
    #[must_use]
    pub const fn with_type_preferences(mut self, preferences: TypePreferences) -> Self {
        self.type_preferences = preferences;
        self
    }

    /// How candidates over TCP rank beside those over UDP. Default [`TransportOrder::UdpFirst`] (RFC 6544 §4.2).
    #[must_use]
    pub const fn with_transport_order(mut self, order: TransportOrder) -> Self {
        self.transport_order = order;
        self
    }

    /// Most connections of TCP candidates that are accepted and open at a time. 1 to 10,000, default 64. Where there is no
    /// room for another one, one goes that has carried no check yet: see
    /// [`Agent::accept_connection`](crate::Agent::accept_connection).
    #[must_use]
    pub const fn with_max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// The same of those from one IPv4 address or one IPv6 /64. 1 to 10,000, default 16: behind a NAT there may be several
    /// peers.
    #[must_use]
    pub const fn with_max_connections_per_address(mut self, connections: usize) -> Self {
        self.max_connections_per_address = connections;
        self
    }

    /// Whether loopback addresses become candidates. Default no, as RFC 8445 §5.1.1.1 demands; for tests on one host.
    #[must_use]
    pub const fn with_loopback(mut self, allowed: bool) -> Self {
        self.loopback = allowed;
        self
    }

    /// How many requests a second that cannot be authenticated get an error response, which may reach a forged address.
    /// 0 to 1,000, default 10 (RFC 8489 §9.1.3); 0 answers none.
    #[must_use]
    pub const fn with_unauthenticated_replies(mut self, per_second: u32) -> Self {
        self.unauthenticated_replies = per_second;
        self
    }

    /// Which datagrams are application data. Default [`DataFilter::Rfc9443`].
    #[must_use]
    pub const fn with_data_filter(mut self, filter: DataFilter) -> Self {
        self.data_filter = filter;
        self
    }

    /// Ports at which the peer has no candidates, whatever it says: those of other services, which checks must not be aimed
    /// at (W3C: *administratively prohibited*). Candidates there are taken and never checked, and checks from there are
    /// answered without consequence. Default none; browsers have a list of *bad ports*.
    #[must_use]
    pub fn with_prohibited_ports(mut self, ports: &[u16]) -> Self {
        self.prohibited_ports = ports.into();
        self
    }

    pub(crate) fn is_prohibited(&self, port: u16) -> bool {
        self.prohibited_ports.contains(&port)
    }

    /// When, and which pair, this agent nominates while controlling (RFC 8445 §8.1.1). Default [`SettleWindow`].
    #[must_use]
    pub fn with_nomination_policy(mut self, policy: Arc<dyn NominationPolicy>) -> Self {
        self.nomination = policy;
        self
    }

    /// Whether the failure of a nomination ends the checklist, as RFC 8445 §7.2.5.3.4 says to the letter. Default no: the
    /// next valid pair is nominated.
    #[must_use]
    pub const fn with_strict_nomination(mut self, is_strict: bool) -> Self {
        self.strict_nomination = is_strict;
        self
    }

    /// Whether consent checks of the pair that this agent has nominated, and uses, nominate it again (RFC 7675 §5.1,
    /// RFC 8445 §8.1.1). Default yes, as libwebrtc does it: lite servers follow a new address of this host only so, and a peer
    /// that has missed the nomination recovers by it.
    ///
    /// With peers that take one nomination it is USE-CANDIDATE alone. With those of [`Renomination::Draft2026`] the value of
    /// the nomination is repeated, too, which makes it no new one; with those of [`Renomination::Draft2016`] the checks
    /// nominate only until the peer has confirmed. Checks of pairs in reserve, or of a pair that was left, never do.
    ///
    /// [`Renomination::Draft2016`]: crate::Renomination::Draft2016
    /// [`Renomination::Draft2026`]: crate::Renomination::Draft2026
    #[must_use]
    pub const fn with_repeated_use_candidate(mut self, is_repeated: bool) -> Self {
        self.repeated_use_candidate = is_repeated;
        self
    }

    /// Which nomination of a controlling peer counts. Default [`NominationChoice::Auto`].
    #[must_use]
    pub const fn with_nomination_choice(mut self, choice: NominationChoice) -> Self {
        self.nomination_choice = choice;
        self
    }

    /// Whether another pair of a component may be nominated later, with peers that know this too: that is how both ends
    /// move to a better path, or to another one when the path in use dies. Default yes; [`Agent::ice_options`] lists it.
    ///
    /// [`Agent::ice_options`]: crate::Agent::ice_options
    #[must_use]
    pub const fn with_renomination(mut self, wanted: bool) -> Self {
        self.renomination = wanted;
        self
    }

    /// When this agent moves to another pair later, while controlling, where that was agreed: see
    /// [`with_renomination`](Self::with_renomination). Default [`SteadySelection`].
    #[must_use]
    pub fn with_selection_policy(mut self, policy: Arc<dyn SelectionPolicy>) -> Self {
        self.selection = policy;
        self
    }

    /// How many working pairs of a component are kept in reserve, for the case that the one in use dies, where that was
    /// agreed: see [`with_renomination`](Self::with_renomination). 0 to 10, default 2. Without such an agreement they are
    /// asked only once the pair in use is suspected.
    #[must_use]
    pub const fn with_standby_pairs(mut self, pairs: usize) -> Self {
        self.standby_pairs = pairs;
        self
    }

    /// The longest time between two checks of a pair in reserve. 5 s to 25 s, default 25 s, which keeps consent and the
    /// mappings of most NATs alive; each gap is drawn anew from 0.8 to 1 times this.
    #[must_use]
    pub const fn with_standby_interval(mut self, interval: Duration) -> Self {
        self.standby_interval = interval;
        self
    }

    /// The longest time between two checks of the pair in use while the application is idle: see
    /// [`Agent::set_idle`](crate::Agent::set_idle). 5 s to 10 min, default 25 s; each gap is drawn anew from 0.8 to 1 times
    /// this. Beyond 30 s consent lapses in between, and has to be asked for before data can be sent (RFC 7675 §5.1).
    #[must_use]
    pub const fn with_idle_interval(mut self, interval: Duration) -> Self {
        self.idle_interval = interval;
        self
    }

    /// How soon pairs that have failed, and would be better than the selected one, are checked again, where another pair can
    /// be nominated: see [`with_renomination`](Self::with_renomination). 1 s to 1 h, default 5 s. The first time is after a
    /// fifth of it; then it doubles each time up to 12 times the value, and begins anew when the network or the candidates
    /// change. At most 8 pairs get one check each. While too few pairs are in reserve, worse ones are checked, too.
    #[must_use]
    pub const fn with_retry_interval(mut self, interval: Duration) -> Self {
        self.retry_interval = interval;
        self
    }

    /// Whether each new, changed and removed candidate and pair is an event. Default no.
    ///
    /// Then the events suffice to rebuild [`Agent::local_candidates`](crate::Agent::local_candidates),
    /// [`remote_candidates`](crate::Agent::remote_candidates) and [`pairs`](crate::Agent::pairs), as of the moment at which
    /// [`poll_event`](crate::Agent::poll_event) gives `None`; a priority of a pair is that of its candidates and the role
    /// (RFC 8445 §6.1.2.3). Several changes of the same thing between two polls may be one event. Those for which there is no
    /// room come later, and are never lost.
    #[must_use]
    pub const fn with_pair_events(mut self, wanted: bool) -> Self {
        self.pair_events = wanted;
        self
    }

    /// Whether this is a lite agent (RFC 8445 §2.5): one with a public address, such as a server, that answers checks and
    /// sends none. Default no. It notices that its peer is gone when no check has come for 30 s, or for
    /// [`with_detection`](Self::with_detection) if that is longer.
    #[must_use]
    pub const fn with_lite(mut self, is_lite: bool) -> Self {
        self.lite = is_lite;
        self
    }

    /// How long nothing is heard before a path counts as lost.
    pub(crate) fn detection(&self) -> Duration {
        if self.lite { self.detection.max(CONSENT_EXPIRY) } else { self.detection }
    }

    /// Whether the peer's consent is asked for on pairs in use, and a dead path noticed (RFC 7675). Default yes, as WebRTC
    /// demands. Without it keepalives are sent, and only the application can tell whether the path lives.
    #[must_use]
    pub const fn with_consent(mut self, wanted: bool) -> Self {
        self.consent = wanted;
        self
    }

    /// Tr: how long nothing is sent on a pair in use before a keepalive is, where there is no consent. 15 s to 1 h, default
    /// 15 s (RFC 8445 §11).
    #[must_use]
    pub const fn with_keepalive_interval(mut self, interval: Duration) -> Self {
        self.keepalive_interval = interval;
        self
    }

    /// The mean time between two consent checks on a healthy path. 5 s to 20 s, default 5 s; each gap is drawn anew from
    /// 0.8 to 1.2 times this (RFC 7675 §5.1).
    #[must_use]
    pub const fn with_consent_interval(mut self, interval: Duration) -> Self {
        self.consent_interval = interval;
        self
    }

    /// How long nothing is heard of the peer before the path counts as lost, and the state as disconnected. 8 s to 30 s,
    /// default 10 s.
    ///
    /// A healthy path is checked at the pace of consent; once an answer is missing, the path is probed every 150 ms until
    /// then. So losing a third of the packets at random is no reason to lose the path.
    #[must_use]
    pub const fn with_detection(mut self, within: Duration) -> Self {
        self.detection = within;
        self
    }

    /// How long a STUN or TURN server has to answer before it counts as unreachable, from the first request to it on. 1 s to
    /// 60 s, default 10 s: a request is sent five times in it. A request that is repeated to the end of RFC 8489 §6.2.1 takes
    /// 39.5 s, so long would a dead server put off the end of the candidates.
    #[must_use]
    pub const fn with_gathering_timeout(mut self, timeout: Duration) -> Self {
        self.gathering_timeout = timeout;
        self
    }

    /// Whether gathering by [`Agent::gather`](crate::Agent::gather) goes on until the application ends it with
    /// [`Agent::end_of_local_candidates`](crate::Agent::end_of_local_candidates): the end of the candidates is not said by
    /// itself, servers are asked again when the network changes, and what they have told is kept alive. Default no. Once a
    /// pair is nominated, new candidates need a restart, or a peer that renominates (RFC 8838 §13).
    #[must_use]
    pub const fn with_continual_gathering(mut self, wanted: bool) -> Self {
        self.continual_gathering = wanted;
        self
    }

    /// The prefix of a NAT64, of 96 bits, by which a host without IPv4 reaches IPv4 servers (RFC 6052 §2.1), for example
    /// `64:ff9b::`: they are asked through it, and tell an IPv4 address of that NAT (RFC 8445 §5.1.1.2). Default none. Which
    /// one a network has, the application learns by RFC 7050 or RFC 8781.
    #[must_use]
    pub const fn with_nat64_prefix(mut self, prefix: Option<Ipv6Addr>) -> Self {
        self.nat64_prefix = prefix;
        self
    }

    /// Which types of candidates there are. Default [`CandidateTypes::ALL`].
    #[must_use]
    pub const fn with_candidate_types(mut self, types: CandidateTypes) -> Self {
        self.candidate_types = types;
        self
    }

    /// Which addresses of the host are used. Default all of them.
    #[must_use]
    pub fn with_address_filter(mut self, filter: AddressFilter) -> Self {
        self.address_filter = filter;
        self
    }

    /// Which public addresses stand for those of the host. Default none.
    #[must_use]
    pub fn with_address_mapping(mut self, mapping: AddressMapping) -> Self {
        self.address_mapping = mapping;
        self
    }

    /// Which addresses of the peer are used. Default all that are of the scope of a socket: see [`RemoteFilter`].
    #[must_use]
    pub fn with_remote_filter(mut self, filter: RemoteFilter) -> Self {
        self.remote_filter = filter;
        self
    }

    /// Whether host candidates have a random name in `.local` instead of their address, as browsers do it for pages that
    /// may not know it (draft-ietf-mmusic-mdns-ice-candidates). Default no. What has to answer for the name is told by
    /// [`Event::RegisterName`](crate::Event::RegisterName).
    #[must_use]
    pub const fn with_mdns(mut self, wanted: bool) -> Self {
        self.mdns = wanted;
        self
    }

    /// Which relayed addresses a TURN server is asked for. Default [`RelayFamilies::OfServer`].
    #[must_use]
    pub const fn with_relay_families(mut self, families: RelayFamilies) -> Self {
        self.relay_families = families;
        self
    }

    /// The name of the software that TURN servers are told (RFC 8656 §5), at most 128 characters. Default: none, which tells
    /// nobody what could be attacked.
    #[must_use]
    pub fn with_software(mut self, name: &str) -> Self {
        self.software = name.chars().take(128).collect::<alloc::string::String>().into();
        self
    }

    pub(crate) const fn schedule(&self) -> Schedule {
        Schedule { rc: self.rc, rm: self.rm, rto: self.rto }
    }

    /// What priorities of candidates are made of.
    pub(crate) const fn preferences(&self) -> Preferences {
        Preferences { udp: self.type_preferences, order: self.transport_order, is_lite: self.lite }
    }

    /// The PAC timer in effect (RFC 8863 §4).
    pub(crate) fn pac(&self) -> Duration {
        self.pac.unwrap_or_else(|| self.schedule().patience())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Req: 8445-14.3-a
    #[test]
    fn no_value_outside_its_range_is_taken() {
        let ms = Duration::from_millis;
        assert_eq!(Config::default().check(), Ok(()));
        let bad = Config::default().with_rto(ms(499)).check();
        assert_eq!(bad, Err(ConfigError::Duration { field: "rto", value: ms(499), least: ms(500), most: ms(60_000) }));
        assert!(Config::default().with_ta(ms(4)).check().is_err());
        assert!(Config::default().with_ta(ms(5)).check().is_ok());
        assert!(Config::default().with_rc(0).check().is_err());
        assert!(Config::default().with_max_pairs(0).check().is_err());
    }

    /// Req: 8445-5.1.2.1-b
    #[test]
    fn type_preferences_that_break_the_rules_are_refused() {
        let equal = TypePreferences { relayed: 100, ..TypePreferences::default() };
        assert_eq!(Config::default().with_type_preferences(equal).check(), Err(ConfigError::TypePreferences(equal)));
    }

    /// Req: 8863-4-d
    #[test]
    fn the_pac_timer_follows_the_schedule_of_a_check() {
        assert_eq!(Config::default().pac(), Duration::from_millis(39_500));
        assert_eq!(Config::default().with_rc(1).with_rm(2).pac(), Duration::from_millis(1000));
        assert_eq!(Config::default().with_pac_timer(Some(Duration::ZERO)).pac(), Duration::ZERO);
    }
}
