//! The client side of TURN (RFC 8656): one allocation with one server, from the first request to its release.
//!
//! ```text
//! Asking -- Allocate --> Held -- refreshed a minute early --> Held ...
//!    |                    | \-- authentic 437 or 441, expiry, connection lost --> Over (Lost)
//!    |                    \---- release --> Releasing -- answer, two tries, or 10 s --> Over (Released)
//!    \-- refused, silent --> Over (Failed)      \-- 300 --> Over (Redirected)
//! ```
//!
//! It knows nothing of ICE. What it wants to send is polled: [`start`](Allocation::start) gives a new request, which
//! counts against Ta, and [`repeat`](Allocation::repeat) one that is sent again, the same bytes. Whatever comes from the
//! server is authenticated before it changes anything; see `auth`.
//!
//! A *try* is a request and what follows on 401 and 438, which have no integrity and may be anybody's: one 401, and three
//! 438 in a row at most. A try that has failed ends no allocation: what it was for is asked for again some time later, twice
//! as long each time, and what is held serves until its lifetime ends. So it is with all that a server can make us repeat.

mod answers;
pub(crate) mod auth;
mod backoff;
mod channels;
pub(crate) mod data;
pub(crate) mod framing;
pub(crate) mod permissions;
mod release;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use smallvec::SmallVec;

use crate::config::limits;
use crate::stun::server::{HEADER, Method, ServerWriter, kinds};
use crate::stun::{Class, TransactionId};
use crate::types::{Instant, Random, Retransmission, Schedule, after, earliest};
use auth::Auth;
use backoff::Backoff;
use channels::Channels;
use permissions::{Batch, Permissions};

/// Families of relayed addresses to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Families {
    V4,
    V6,
    Both,
}

/// What an allocation is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) families: Families,
    /// The server is reached over a stream: nothing is sent twice.
    pub(crate) is_stream: bool,
    /// Where the server is: what it names is judged by that.
    pub(crate) server: IpAddr,
    pub(crate) schedule: Schedule,
    /// SOFTWARE in Allocate and Refresh; empty for none.
    pub(crate) software: Box<str>,
}

/// What happened to an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TurnEvent {
    /// The server has allocated these addresses, and sees us at `mapped`.
    Allocated { relayed: SmallVec<[SocketAddr; 2]>, mapped: SocketAddr },
    /// The server has no address of this family: 1 is IPv4, 2 is IPv6 (RFC 8656 §7.3).
    FamilyRefused { family: u8, code: u16 },
    /// There will be no allocation. 701 if the server does not answer.
    Failed { code: u16, text: String },
    /// The server names another one to ask.
    Redirected(SocketAddr),
    /// The allocation is gone.
    Lost { code: u16, text: String },
    /// Whatever was to be sent to this address may be sent.
    Permitted(IpAddr),
    /// The server relays nothing to this address.
    Refused { ip: IpAddr, code: u16 },
    /// The server does not do what it was asked for, and is asked again.
    Trouble { code: u16, text: String },
    /// The server got an ICMP message for what was sent to this peer.
    Icmp { peer: SocketAddr, kind: u8, code: u8 },
    /// The server was told that the allocation is not needed any more.
    Released,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Purpose {
    Allocate(Families),
    Refresh,
    Release,
    Permit(Batch),
    Bind(u16, SocketAddr),
}

/// A request to be sent when Ta allows.
#[derive(Clone, Debug)]
struct Wish {
    purpose: Purpose,
    /// How often it was answered by 401 although it had credentials.
    rejected: u8,
    /// How often it was answered by 438.
    stale: u8,
}

impl Wish {
    const fn new(purpose: Purpose) -> Self {
        Self { purpose, rejected: 0, stale: 0 }
    }

    /// Whether it is asked once more after this error.
    fn may_retry(&mut self, code: u16, was_signed: bool, is_new_realm: bool) -> bool {
        match code {
            401 if !was_signed => true,
            401 => {
                self.rejected += 1;
                // Credentials that were refused are not right the second time (RFC 8489 §9.2.5); an allocation shows that
                // they are, and that the error is not the server's.
                self.rejected == 1 && (is_new_realm || !matches!(self.purpose, Purpose::Allocate(_)))
            }
            _ => {
                self.stale += 1;
                self.stale < limits::STALE_NONCES
            }
        }
    }
}

/// A request that waits for its answer.
#[derive(Clone, Debug)]
struct Exchange {
    id: TransactionId,
    wish: Wish,
    bytes: Vec<u8>,
    is_signed: bool,
    first_sent: Instant,
    way: Retransmission,
    /// When it is sent again or given up; `None` while it waits to be sent again.
    due: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Holding {
    relayed: SmallVec<[SocketAddr; 2]>,
    expires_at: Instant,
    refreshed_at: Instant,
    /// `None` while a Refresh is under way.
    refresh_at: Option<Instant>,
    backoff: Backoff,
}

#[derive(Clone, Debug)]
enum State {
    Asking,
    Held(Holding),
    Releasing(Releasing),
    Over,
}

/// An allocation that is given back.
#[derive(Clone, Debug)]
struct Releasing {
    /// What to say in the end: that it was lost for this reason, or that it was released.
    reason: Option<(u16, String)>,
    /// When the server is left alone, whether or not it could be told.
    until: Instant,
    /// The server has allocated after we had begun to give it back.
    is_allocated_since: bool,
}

/// One allocation with one server.
#[derive(Clone, Debug)]
pub(crate) struct Allocation {
    terms: Terms,
    auth: Auth,
    state: State,
    wishes: VecDeque<Wish>,
    exchanges: SmallVec<[Exchange; 2]>,
    permissions: Permissions,
    channels: Channels,
    events: VecDeque<TurnEvent>,
}

impl Allocation {
    /// The transactions under way.
    #[cfg(feature = "sim")]
    pub(crate) fn transactions(&self) -> impl Iterator<Item = TransactionId> {
        self.exchanges.iter().map(|exchange| exchange.id)
    }

    /// The longest request: what a buffer has room for whose owner follows the documentation.
    const LONGEST: usize = limits::SERVER_REQUEST;
    /// The request that releases an allocation is sent twice over UDP, and waited for three RTOs in all.
    const RELEASE: (u8, u32) = (2, 2);
    /// How long a release may take in all, be it that there is no room or no turn to send it.
    const RELEASE_WITHIN: Duration = Duration::from_secs(10);
    /// How early an allocation is refreshed; one that is shorter than twice that at half of its life (RFC 8656 §8).
    const EARLY: Duration = Duration::from_secs(60);
    /// How long after a Refresh the next one may be sent ahead of time.
    const LEAST_INTERVAL: Duration = Duration::from_secs(10);
    /// How long after a Refresh that was refused or not answered the next one goes, at first; and how short a lifetime never
    /// makes it.
    const REFRESH_AGAIN: Duration = Duration::from_secs(5);
    /// How long an allocation lasts of which the server does not say it (RFC 8656 §3.2).
    const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);
    /// The longest lifetime that is believed: a server may forget, and is asked once an hour (RFC 8656 §7.2).
    const MOST_LIFETIME: Duration = Duration::from_secs(3600);
    /// Code of failures that no server reported (W3C `icecandidateerror`).
    pub(crate) const UNREACHABLE: u16 = 701;

    /// One that is asked for by a user with a password; without, by a guest.
    pub(crate) fn new(user: Option<(&str, &str)>, terms: Terms) -> Self {
        let purpose = Purpose::Allocate(terms.families);
        // What the longest of the requests has that are about one thing.
        let least = (HEADER + 8 + 8 + software_len(&terms)).max(HEADER + 8 + 24);
        Self {
            auth: Auth::new(user, Self::LONGEST.saturating_sub(least)),
            terms,
            state: State::Asking,
            wishes: VecDeque::from([Wish::new(purpose)]),
            exchanges: SmallVec::new(),
            permissions: Permissions::default(),
            channels: Channels::default(),
            events: VecDeque::new(),
        }
    }

    /// The relayed addresses, while they are held.
    pub(crate) fn relayed(&self) -> &[SocketAddr] {
        match &self.state {
            State::Held(holding) => &holding.relayed,
            State::Asking | State::Releasing(_) | State::Over => &[],
        }
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    pub(crate) const fn is_stream(&self) -> bool {
        self.terms.is_stream
    }

    /// The oldest event.
    pub(crate) fn poll_event(&mut self) -> Option<TurnEvent> {
        self.events.pop_front()
    }

    /// Wants to send to this address. Its answer is an event, unless it is permitted already; `false` if that can never be.
    #[must_use]
    pub(crate) fn permit(&mut self, ip: IpAddr) -> bool {
        let has_family = self.relayed().iter().any(|relayed| relayed.is_ipv4() == ip.is_ipv4());
        has_family && self.permissions.want(ip)
    }

    /// Whether data may be sent to this address.
    pub(crate) fn is_permitted(&self, now: Instant, ip: IpAddr) -> bool {
        matches!(self.state, State::Held(_)) && self.permissions.holds(now, ip)
    }

    /// Wants a channel to this peer. If there is none to be had, data goes by indications.
    pub(crate) fn bind(&mut self, now: Instant, peer: SocketAddr) {
        if matches!(self.state, State::Held(_)) {
            self.channels.want(now, peer);
        }
    }

    /// The channel to send to this peer with.
    pub(crate) fn channel_to(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        self.channels.number_of(now, peer)
    }

    /// The peer whose data came on this channel.
    pub(crate) fn peer_of(&self, now: Instant, number: u16) -> Option<SocketAddr> {
        self.channels.peer_of(now, number).filter(|_| matches!(self.state, State::Held(_)))
    }

    /// Notes that data leaves to a peer; gives the new deadline that may come of it.
    pub(crate) fn note_sent(&mut self, now: Instant, peer: SocketAddr) -> Option<Instant> {
        self.channels.note_sent(now, peer)
    }

    /// Notes that something has come from a peer, on its channel or by an indication; whether the server is asked why.
    pub(crate) fn note_heard(&mut self, now: Instant, peer: SocketAddr, is_on_channel: bool) -> bool {
        self.channels.note_heard(now, peer, is_on_channel)
    }

    /// Questions all that it takes to reach a peer that has fallen silent: the channel, the permission and the allocation may
    /// each be gone (RFC 8656 §12 lets a channel be bound again). Until the server has answered, data goes by indications.
    pub(crate) fn doubt(&mut self, now: Instant, peer: SocketAddr) {
        if matches!(self.state, State::Held(_)) && self.channels.doubt(now, peer) {
            self.permissions.doubt(peer.ip());
            self.refresh_now(now);
        }
    }

    /// Refreshes the allocation ahead of time, unless that was done a moment ago.
    fn refresh_now(&mut self, now: Instant) {
        if let State::Held(holding) = &mut self.state {
            if after(holding.refreshed_at, Self::LEAST_INTERVAL) <= now {
                holding.refresh_at = holding.refresh_at.map(|_| now);
            }
        }
    }

    /// Whether permissions are due for renewal: then is the time to [say which are needed](Self::keep_only).
    pub(crate) fn is_renewal_due(&self, now: Instant) -> bool {
        self.permissions.is_due(now) || self.channels.deadline().is_some_and(|at| at <= now)
    }

    /// Lets permissions and channels lapse but for those of these peers.
    pub(crate) fn keep_only(&mut self, addresses: &[IpAddr], peers: &[SocketAddr]) {
        let addresses: BTreeSet<IpAddr> = addresses.iter().copied().collect();
        let peers: BTreeSet<SocketAddr> = peers.iter().copied().collect();
        self.permissions.keep_only(|ip| addresses.contains(&ip));
        self.channels.keep_only(|peer| peers.contains(&peer));
    }

    const fn is_releasing(&self) -> bool {
        matches!(self.state, State::Releasing(_))
    }

    fn clear(&mut self) {
        self.wishes.clear();
        self.exchanges.clear();
        self.permissions = Permissions::default();
        self.channels = Channels::default();
    }

    fn fail(&mut self, code: u16, text: String) {
        self.state = State::Over;
        self.clear();
        self.events.push_back(TurnEvent::Failed { code, text });
    }

    fn lose(&mut self, code: u16, text: String) {
        self.state = State::Over;
        self.clear();
        self.events.push_back(TurnEvent::Lost { code, text });
    }

    // What goes out.

    /// Whether a new request waits for Ta.
    pub(crate) fn has_start(&self) -> bool {
        let is_held = matches!(self.state, State::Held(_));
        !self.wishes.is_empty() || (is_held && (self.permissions.has_wanted() || self.channels.has_wanted()))
    }

    /// Whether there is a new request that keeps what the server holds, or gives it back. It gathers nothing, and so does not
    /// wait for Ta, which the peer has a say in (RFC 8445 §14).
    pub(crate) fn has_upkeep(&self) -> bool {
        let is_upkeep = |wish: &Wish| matches!(wish.purpose, Purpose::Refresh | Purpose::Release);
        let is_held = matches!(self.state, State::Held(_));
        self.wishes.iter().any(is_upkeep)
            || (is_held && (self.permissions.has_renewal() || self.channels.has_renewal()))
    }

    /// How many bytes the next new request has at least; `None` if there is none.
    pub(crate) fn start_len(&self) -> Option<usize> {
        if let Some(wish) = self.wishes.front() {
            return Some(HEADER + self.least_len(&wish.purpose) + self.auth.added());
        }
        if !matches!(self.state, State::Held(_)) {
            return None;
        }
        let peer = match self.permissions.next_is_ipv6() {
            Some(is_ipv6) => Some(if is_ipv6 { 24 } else { 12 }),
            None => self.channels.next_wanted().map(|peer| 8 + peer_len(peer.ip())),
        };
        Some(HEADER + peer? + self.auth.added())
    }

    /// How many bytes the next request that is sent again has; `None` if there is none.
    pub(crate) fn repeat_len(&self) -> Option<usize> {
        self.exchanges.iter().find(|exchange| exchange.due.is_none()).map(|exchange| exchange.bytes.len())
    }

    /// How many bytes are about the matter of a request. Addresses that are asked for in one may be asked for in several.
    fn least_len(&self, purpose: &Purpose) -> usize {
        let software = software_len(&self.terms);
        match purpose {
            Purpose::Allocate(Families::V4) => software + 8,
            Purpose::Allocate(Families::V6 | Families::Both) => software + 8 + 8,
            Purpose::Refresh => software,
            Purpose::Release => software + 8,
            Purpose::Permit(ips) => ips.first().map_or(0, |ip| peer_len(*ip)),
            Purpose::Bind(_, peer) => 8 + peer_len(peer.ip()),
        }
    }

    /// Gives up the request that is next, which no buffer has had room for.
    pub(crate) fn give_up_next(&mut self, now: Instant) {
        let place = self.exchanges.iter().position(|exchange| exchange.due.is_none());
        let wish = match place {
            Some(place) => Some(self.exchanges.remove(place).wish),
            None => self.next_wish(1),
        };
        if let Some(wish) = wish {
            self.fail_try(now, wish, 0, "no buffer has room for the request".into());
        }
    }

    /// Whether a request waits to be sent again.
    pub(crate) fn has_repeat(&self) -> bool {
        self.exchanges.iter().any(|exchange| exchange.due.is_none())
    }

    /// The next new request, which leaves now in a buffer with so much room. With less than [`start_len`](Self::start_len)
    /// says, there is none.
    pub(crate) fn start(&mut self, now: Instant, random: &mut Random, room: usize) -> Option<&[u8]> {
        let room = room.min(Self::LONGEST);
        let _ = self.start_len().filter(|length| *length <= room)?;
        let wish = self.next_wish(room)?;
        let id = TransactionId::draw(random);
        let bytes = self.auth.sign(self.write(&wish.purpose, id));
        let mut way = self.way(&wish.purpose);
        let is_signed = self.auth.is_ready();
        let due = Some(after(now, way.send(Duration::MAX)));
        self.exchanges.push(Exchange { id, wish, bytes, is_signed, first_sent: now, way, due });
        self.exchanges.last().map(|exchange| &*exchange.bytes)
    }

    /// What to ask for next, in a request that fits into so much room.
    fn next_wish(&mut self, room: usize) -> Option<Wish> {
        let overhead = HEADER + self.auth.added();
        let most_peers = room.saturating_sub(overhead) / 24;
        if let Some(mut wish) = self.wishes.pop_front() {
            if let Purpose::Permit(ips) = &mut wish.purpose {
                let rest = ips.drain(most_peers.clamp(1, ips.len().max(1))..);
                rest.for_each(|ip| self.permissions.ask_anew(ip));
            }
            return Some(wish);
        }
        if !matches!(self.state, State::Held(_)) {
            return None;
        }
        let permits = Some(self.permissions.take_wanted(most_peers)).filter(|batch| !batch.is_empty());
        let purpose = match permits {
            Some(ips) => Purpose::Permit(ips),
            None => self.channels.take_wanted().map(|(number, peer)| Purpose::Bind(number, peer))?,
        };
        Some(Wish::new(purpose))
    }

    /// The next request that is sent again.
    pub(crate) fn repeat(&mut self, now: Instant) -> Option<&[u8]> {
        let place = self.exchanges.iter().position(|exchange| exchange.due.is_none())?;
        let exchange = self.exchanges.get_mut(place)?;
        exchange.due = Some(after(now, exchange.way.send(Duration::MAX)));
        Some(&exchange.bytes)
    }

    /// How a request is repeated: over a stream not at all, and over UDP as RFC 8489 prints it, since servers serve many.
    fn way(&self, purpose: &Purpose) -> Retransmission {
        let (schedule, (rc, rm)) = (self.terms.schedule, Self::RELEASE);
        match (self.terms.is_stream, *purpose == Purpose::Release) {
            (true, true) => Retransmission::single(schedule.rto),
            (true, false) => Retransmission::single(schedule.patience()),
            (false, true) => Schedule { rc, rm, ..schedule }.begin(schedule.rto),
            (false, false) => schedule.begin(schedule.rto),
        }
    }

    fn write(&self, purpose: &Purpose, id: TransactionId) -> ServerWriter {
        let new = |method| ServerWriter::new(Class::Request, method, id);
        let software = |out: &mut ServerWriter| {
            if !self.terms.software.is_empty() {
                out.put(kinds::SOFTWARE, self.terms.software.as_bytes());
            }
        };
        match purpose {
            Purpose::Allocate(families) => {
                let mut out = new(Method::Allocate);
                software(&mut out);
                // UDP (RFC 8656 §7.1).
                out.put(kinds::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
                match families {
                    // Without either attribute it is IPv4, and servers that know neither are served, too.
                    Families::V4 => {}
                    Families::V6 => {
                        out.put(kinds::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
                    }
                    Families::Both => {
                        out.put(kinds::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
                    }
                }
                out
            }
            // Without REQUESTED-ADDRESS-FAMILY all addresses are meant (RFC 8656 §8.1).
            Purpose::Refresh => {
                let mut out = new(Method::Refresh);
                software(&mut out);
                out
            }
            Purpose::Release => {
                let mut out = new(Method::Refresh);
                software(&mut out);
                out.put(kinds::LIFETIME, &[0; 4]);
                out
            }
            Purpose::Permit(ips) => {
                let mut out = new(Method::CreatePermission);
                for ip in ips {
                    out.put_xor_address(kinds::XOR_PEER_ADDRESS, SocketAddr::new(*ip, 0));
                }
                out
            }
            Purpose::Bind(number, peer) => {
                let [n1, n2] = number.to_be_bytes();
                let mut out = new(Method::ChannelBind);
                out.put(kinds::CHANNEL_NUMBER, &[n1, n2, 0, 0]).put_xor_address(kinds::XOR_PEER_ADDRESS, *peer);
                out
            }
        }
    }

    // What comes in.

    const MAX_EVENTS: usize = limits::RELAY_EVENTS;

    // Time.

    /// Does what is due.
    pub(crate) fn expire(&mut self, now: Instant) {
        let is_due = |exchange: &Exchange| exchange.due.is_some_and(|due| due <= now);
        let mut place = 0;
        while let Some(exchange) = self.exchanges.get(place) {
            if is_due(exchange) && exchange.way.is_over() {
                let exchange = self.exchanges.remove(place);
                self.time_out(now, exchange.wish);
                // What follows may have changed everything.
                place = 0;
                continue;
            }
            if let Some(exchange) = self.exchanges.get_mut(place).filter(|exchange| is_due(exchange)) {
                exchange.due = None;
            }
            place += 1;
        }
        self.permissions.expire(now);
        self.channels.expire(now);
        if matches!(&self.state, State::Releasing(releasing) if releasing.until <= now) {
            self.finish_release();
        }
        let State::Held(holding) = &mut self.state else { return };
        if holding.expires_at <= now {
            self.lose(Self::UNREACHABLE, "expired".into());
        } else if holding.refresh_at.take_if(|at| *at <= now).is_some() {
            self.wishes.push_back(Wish::new(Purpose::Refresh));
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let mut next = self.exchanges.iter().filter_map(|exchange| exchange.due).min();
        if let State::Releasing(releasing) = &self.state {
            next = earliest(next, Some(releasing.until));
        }
        if let State::Held(holding) = &self.state {
            next = earliest(next, Some(holding.expires_at));
            next = earliest(next, holding.refresh_at);
            next = earliest(next, self.permissions.deadline());
            next = earliest(next, self.channels.deadline());
        }
        next
    }
}

const fn method(purpose: &Purpose) -> Method {
    match purpose {
        Purpose::Allocate(_) => Method::Allocate,
        Purpose::Refresh | Purpose::Release => Method::Refresh,
        Purpose::Permit(_) => Method::CreatePermission,
        Purpose::Bind(..) => Method::ChannelBind,
    }
}

/// When an allocation that was granted then for so long is refreshed.
fn refresh_at(granted: Instant, lifetime: Duration) -> Instant {
    let early = lifetime.checked_sub(Allocation::EARLY).filter(|rest| *rest >= Allocation::EARLY);
    after(granted, early.unwrap_or(lifetime / 2).max(Allocation::REFRESH_AGAIN))
}

/// How many bytes SOFTWARE takes.
fn software_len(terms: &Terms) -> usize {
    if terms.software.is_empty() { 0 } else { 4 + terms.software.len().next_multiple_of(4) }
}

/// How many bytes XOR-PEER-ADDRESS takes.
const fn peer_len(ip: IpAddr) -> usize {
    if ip.is_ipv4() { 12 } else { 24 }
}
