//! Channels of an allocation, with their lifetimes (RFC 8656 §12).

use alloc::collections::BTreeMap;
use core::net::SocketAddr;
use core::time::Duration;

use super::backoff::Backoff;
use crate::config::limits;
use crate::types::{Instant, after, earliest};

#[derive(Clone, Copy, Debug)]
enum ChannelState {
    Wanted,
    /// To be asked for again then.
    Later(Instant),
    Asked,
    /// The server refused it; data goes by indications.
    Refused,
    /// Bound, and due for renewal then.
    Bound(Instant),
    /// No longer bound, or perhaps bound at the server.
    Cooling,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    peer: SocketAddr,
    state: ChannelState,
    /// It was asked for, and what the server made of that is not known: it may use the channel.
    is_uncertain: bool,
    /// The binding lasts until then at the server.
    until: Option<Instant>,
    /// The number and the address are not used with others until then (RFC 8656 §12).
    free_at: Option<Instant>,
    is_kept: bool,
    backoff: Backoff,
    doubt: Doubt,
}

/// Whether what is sent to a peer still gets through the server.
#[derive(Clone, Copy, Debug, Default)]
struct Doubt {
    /// The server is thought to have forgotten the channel: data goes by indications until it answers.
    is_strong: bool,
    /// When the first packet left after the last that came.
    unheard_since: Option<Instant>,
    /// When the server may be asked again.
    ask_at: Option<Instant>,
    backoff: Backoff,
}

impl Doubt {
    /// How long packets leave and none comes before the server is asked. It is less than 5 s, with the round trip to the
    /// server, and rare on a path that works: checks and answers of the peer come every 4 to 6 s each (RFC 7675 §5.1).
    const SILENCE: Duration = Duration::from_secs(4);
    /// How long the server is not asked again, at first.
    const AGAIN: Duration = Duration::from_secs(3);

    /// Whether the server may be asked, which is not to be done again soon.
    fn may_ask(&mut self, now: Instant) -> bool {
        if self.ask_at.is_some_and(|at| at > now) {
            return false;
        }
        self.ask_at = Some(after(now, self.backoff.next(Self::AGAIN)));
        true
    }

    /// When the silence is too long.
    fn due(&self) -> Option<Instant> {
        let at = after(self.unheard_since?, Self::SILENCE);
        Some(self.ask_at.map_or(at, |ask_at| ask_at.max(at)))
    }
}

/// Channels of an allocation: a number for each peer (RFC 8656 §12).
#[derive(Clone, Debug, Default)]
pub(crate) struct Channels {
    by_number: BTreeMap<u16, Channel>,
    by_peer: BTreeMap<SocketAddr, u16>,
}

impl Channels {
    /// The numbers that there are (RFC 8656 §12).
    const FIRST: u16 = 0x4000;
    const LAST: u16 = Self::FIRST + limits::CHANNELS - 1;
    /// How long a binding lasts (RFC 8656 §12).
    const LIFETIME: Duration = Duration::from_secs(600);
    /// How long number and address are left alone after that (RFC 8656 §12).
    const COOL_DOWN: Duration = Duration::from_secs(300);
    /// When it is bound again: before the permission, which it renews as well, would be asked for.
    const RENEWAL: Duration = Duration::from_secs(230);
    /// How long to wait at first before one is asked for again.
    const AGAIN: Duration = Duration::from_secs(1);

    /// Wants a channel to this peer; `false` if all numbers are taken.
    pub(crate) fn want(&mut self, now: Instant, peer: SocketAddr) -> bool {
        if let Some(known) = self.by_peer.get(&peer).and_then(|number| self.by_number.get_mut(number)) {
            known.is_kept = true;
            if matches!(known.state, ChannelState::Cooling) {
                known.state = ChannelState::Wanted;
            }
            return true;
        }
        let Some(number) = self.free_number(now) else { return false };
        let state = ChannelState::Wanted;
        let fresh = Channel {
            peer,
            state,
            is_uncertain: false,
            until: None,
            free_at: None,
            is_kept: true,
            backoff: Backoff::default(),
            doubt: Doubt::default(),
        };
        if let Some(old) = self.by_number.insert(number, fresh) {
            self.by_peer.remove(&old.peer);
        }
        self.by_peer.insert(peer, number);
        true
    }

    fn free_number(&self, now: Instant) -> Option<u16> {
        let next = self.by_number.last_key_value().map_or(Self::FIRST, |(last, _)| last + 1);
        if next <= Self::LAST {
            return Some(next);
        }
        let is_free = |channel: &Channel| {
            matches!(channel.state, ChannelState::Cooling) && channel.free_at.is_none_or(|at| at <= now)
        };
        self.by_number.iter().find(|(_, channel)| is_free(channel)).map(|(number, _)| *number)
    }

    /// The number to send to this peer with: only once the server has bound it, and while nothing speaks against that.
    pub(crate) fn number_of(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        let number = *self.by_peer.get(&peer)?;
        let channel = self.by_number.get(&number)?;
        (channel.until.is_some_and(|until| until > now) && !channel.doubt.is_strong).then_some(number)
    }

    fn of(&mut self, peer: SocketAddr) -> Option<&mut Channel> {
        self.by_number.get_mut(self.by_peer.get(&peer)?)
    }

    /// Notes that something leaves to a peer. If it is the first since something has come, gives when the silence is too long.
    pub(crate) fn note_sent(&mut self, now: Instant, peer: SocketAddr) -> Option<Instant> {
        let channel = self.of(peer).filter(|channel| channel.doubt.unheard_since.is_none())?;
        channel.doubt.unheard_since = Some(now);
        channel.doubt.due()
    }

    /// Notes that something has come from a peer: on its channel, or by an indication, as from a server that knows of no
    /// channel. It may have left before the channel was bound, or be forged; the server is asked, no more. Whether it is.
    pub(crate) fn note_heard(&mut self, now: Instant, peer: SocketAddr, is_on_channel: bool) -> bool {
        let Some(channel) = self.of(peer) else { return false };
        channel.doubt.unheard_since = None;
        if is_on_channel || channel.until.is_none() {
            channel.doubt.backoff = Backoff::default();
            return false;
        }
        let is_asked = matches!(channel.state, ChannelState::Bound(_)) && channel.doubt.may_ask(now);
        if is_asked {
            channel.state = ChannelState::Wanted;
        }
        is_asked
    }

    /// Notes that a peer is not heard any more: data goes by indications, and the channel is asked for again, unless that was
    /// done a short while ago. Whether it is.
    pub(crate) fn doubt(&mut self, now: Instant, peer: SocketAddr) -> bool {
        let Some(channel) = self.of(peer) else { return false };
        channel.doubt.is_strong |= channel.until.is_some();
        let is_asked = channel.doubt.may_ask(now);
        if is_asked && matches!(channel.state, ChannelState::Bound(_)) {
            channel.state = ChannelState::Wanted;
        }
        is_asked
    }

    /// Whose data has this number: also before the server's answer, which may be overtaken (RFC 8656 §12.4).
    pub(crate) fn peer_of(&self, now: Instant, number: u16) -> Option<SocketAddr> {
        let channel = self.by_number.get(&number)?;
        (channel.is_uncertain || channel.until.is_some_and(|until| until > now)).then_some(channel.peer)
    }

    /// Lets those lapse that nobody needs any more.
    pub(crate) fn keep_only(&mut self, mut is_needed: impl FnMut(SocketAddr) -> bool) {
        self.by_number.values_mut().for_each(|channel| channel.is_kept = is_needed(channel.peer));
    }

    pub(crate) fn has_wanted(&self) -> bool {
        self.by_number.values().any(|channel| matches!(channel.state, ChannelState::Wanted))
    }

    /// Whether one is wanted that is bound for the time being.
    pub(crate) fn has_renewal(&self) -> bool {
        self.by_number.values().any(|channel| matches!(channel.state, ChannelState::Wanted) && channel.until.is_some())
    }

    /// The peer of the next one to bind.
    pub(crate) fn next_wanted(&self) -> Option<SocketAddr> {
        let is_wanted = |channel: &&Channel| matches!(channel.state, ChannelState::Wanted);
        self.by_number.values().find(is_wanted).map(|channel| channel.peer)
    }

    /// The next one to bind.
    pub(crate) fn take_wanted(&mut self) -> Option<(u16, SocketAddr)> {
        let is_wanted = |(_, channel): &(&u16, &mut Channel)| matches!(channel.state, ChannelState::Wanted);
        let (number, channel) = self.by_number.iter_mut().find(is_wanted)?;
        channel.state = ChannelState::Asked;
        channel.is_uncertain = true;
        Some((*number, channel.peer))
    }

    /// One was bound by a request that was sent then; gives the peer.
    pub(crate) fn bind(&mut self, number: u16, asked_at: Instant) -> Option<SocketAddr> {
        let channel = self.by_number.get_mut(&number)?;
        channel.backoff = Backoff::default();
        (channel.doubt.is_strong, channel.doubt.unheard_since) = (false, None);
        // What the server sent before may come after its answer.
        let settled = after(asked_at, Self::AGAIN);
        channel.doubt.ask_at = Some(channel.doubt.ask_at.map_or(settled, |at| at.max(settled)));
        let until = after(asked_at, Self::LIFETIME);
        channel.state = ChannelState::Bound(after(asked_at, Self::RENEWAL));
        channel.is_uncertain = false;
        channel.until = Some(until);
        channel.free_at = Some(after(until, Self::COOL_DOWN));
        Some(channel.peer)
    }

    /// The server has not answered as it should, and may have bound it all the same: it is asked again, after silence at once,
    /// and later if that goes on.
    pub(crate) fn ask_again(&mut self, now: Instant, number: u16, was_silent: bool) {
        let Some(channel) = self.by_number.get_mut(&number) else { return };
        let is_first = channel.backoff == Backoff::default();
        let wait = channel.backoff.next(Self::AGAIN);
        channel.state = match channel.is_kept {
            true if was_silent && is_first => ChannelState::Wanted,
            true => ChannelState::Later(after(now, wait)),
            false => ChannelState::Cooling,
        };
    }

    /// The server has refused it.
    pub(crate) fn refuse(&mut self, now: Instant, number: u16) {
        if let Some(channel) = self.by_number.get_mut(&number) {
            channel.state = ChannelState::Refused;
            channel.is_uncertain = false;
            channel.free_at = Some(after(now, Self::LIFETIME + Self::COOL_DOWN));
        }
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        for channel in self.by_number.values_mut() {
            channel.until.take_if(|until| *until <= now);
            let is_silent = channel.doubt.due().is_some_and(|at| at <= now);
            match channel.state {
                ChannelState::Bound(_) if is_silent && channel.doubt.may_ask(now) => {
                    channel.state = ChannelState::Wanted;
                }
                ChannelState::Later(at) if at <= now => {
                    channel.state = if channel.is_kept { ChannelState::Wanted } else { ChannelState::Cooling };
                }
                ChannelState::Bound(renewal) if renewal <= now => {
                    channel.state = if channel.is_kept { ChannelState::Wanted } else { ChannelState::Cooling };
                }
                ChannelState::Refused if channel.free_at.is_none_or(|at| at <= now) => {
                    channel.state = ChannelState::Cooling;
                }
                ChannelState::Bound(_)
                | ChannelState::Later(_)
                | ChannelState::Refused
                | ChannelState::Wanted
                | ChannelState::Asked
                | ChannelState::Cooling => {}
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let of = |channel: &Channel| match channel.state {
            ChannelState::Bound(renewal) => earliest(Some(renewal), channel.doubt.due()),
            ChannelState::Later(at) => earliest(Some(at), channel.until),
            ChannelState::Refused => earliest(channel.free_at, channel.until),
            ChannelState::Wanted | ChannelState::Asked | ChannelState::Cooling => channel.until,
        };
        self.by_number.values().filter_map(of).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::permissions::Permissions;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn at(secs: u64) -> Instant {
        after(Instant::ZERO, Duration::from_secs(secs))
    }

    /// Req: 8656-12-a
    #[test]
    fn numbers_stay_in_their_range_and_run_out() {
        let mut channels = Channels::default();
        assert!((0..4096).all(|port| channels.want(at(0), peer(port))));
        assert!(!channels.want(at(0), peer(4096)), "all are taken");
        let mut numbers = alloc::vec::Vec::new();
        while let Some((number, _)) = channels.take_wanted() {
            numbers.push(number);
        }
        numbers.dedup();
        assert_eq!((numbers.len(), numbers.first(), numbers.last()), (4096, Some(&0x4000), Some(&0x4fff)));
    }

    /// Req: 8656-12-a
    /// Req: 8656-12-c
    /// Scenario: S148
    #[test]
    fn a_number_is_left_alone_for_five_minutes_after_its_end_but_for_its_own_peer() {
        let mut channels = Channels::default();
        for port in 0..4096 {
            assert!(channels.want(at(0), peer(port)));
        }
        while let Some((number, _)) = channels.take_wanted() {
            channels.bind(number, at(0));
        }
        channels.keep_only(|_| false);
        for secs in [230, 600, 899] {
            channels.expire(at(secs));
            assert!(!channels.want(at(secs), peer(5000)), "{secs}");
        }
        assert_eq!(channels.number_of(at(600), peer(7)), None);
        assert!(channels.want(at(899), peer(7)), "its own peer need not wait");
        assert_eq!(channels.take_wanted(), Some((0x4007, peer(7))));
        assert!(channels.want(at(900), peer(5000)));
        assert_eq!(channels.take_wanted(), Some((0x4000, peer(5000))));
        assert!(channels.want(at(900), peer(0)), "and whoever had it gets another");
        assert_eq!(channels.take_wanted(), Some((0x4001, peer(0))));
    }

    /// Scenario: S150
    #[test]
    fn peers_at_one_address_have_a_channel_for_each_port() {
        let mut channels = Channels::default();
        for port in [1, 2] {
            assert!(channels.want(at(0), peer(port)));
            let (number, found) = channels.take_wanted().unwrap();
            assert_eq!((channels.bind(number, at(0)), found), (Some(peer(port)), peer(port)));
        }
        for port in [1, 2] {
            let number = channels.number_of(at(1), peer(port)).unwrap();
            assert_eq!(channels.peer_of(at(1), number), Some(peer(port)));
        }
        assert_ne!(channels.number_of(at(1), peer(1)), channels.number_of(at(1), peer(2)));
    }

    /// Req: 8656-12-d
    #[test]
    fn channel_data_is_taken_before_the_answer_and_sent_after_it() {
        let mut channels = Channels::default();
        assert!(channels.want(at(0), peer(1)));
        assert_eq!(channels.peer_of(at(0), 0x4000), None);
        channels.take_wanted().unwrap();
        assert_eq!((channels.peer_of(at(0), 0x4000), channels.number_of(at(0), peer(1))), (Some(peer(1)), None));
        // Nor does it change anything that no answer comes.
        channels.ask_again(at(40), 0x4000, true);
        assert_eq!(channels.peer_of(at(40), 0x4000), Some(peer(1)));
        assert_eq!(channels.take_wanted(), Some((0x4000, peer(1))));
        channels.bind(0x4000, at(0));
        assert_eq!(channels.number_of(at(599), peer(1)), Some(0x4000));
        assert_eq!((channels.number_of(at(600), peer(1)), channels.peer_of(at(600), 0x4000)), (None, None));
    }

    /// Req: 8656-9-a
    /// Req: 8656-12-b
    #[test]
    fn both_are_renewed_within_five_minutes_while_they_are_needed() {
        let (mut permissions, mut channels) = (Permissions::default(), Channels::default());
        let ip = peer(1).ip();
        assert!(permissions.want(ip) && channels.want(at(0), peer(1)));
        assert_eq!(permissions.take_wanted(8).as_slice(), [ip]);
        permissions.install(ip, at(0));
        channels.take_wanted().unwrap();
        channels.bind(0x4000, at(0));
        assert_eq!((permissions.deadline(), channels.deadline()), (Some(at(240)), Some(at(230))));
        permissions.expire(at(240));
        channels.expire(at(240));
        assert!(permissions.has_wanted() && channels.has_wanted() && permissions.holds(at(299), ip));
        assert!(!permissions.holds(at(300), ip));
        permissions.take_wanted(8);
        permissions.install(ip, at(240));
        permissions.keep_only(|_| false);
        permissions.expire(at(480));
        assert!(!permissions.has_wanted() && permissions.holds(at(539), ip));
        permissions.expire(at(540));
        assert_eq!((permissions.deadline(), permissions.is_empty()), (None, true));
    }
}
