//! Connections of a listener that many agents share: whose each is, its first frame tells.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::frame::whole;
use super::lobby::{Lobby, Ticket};
use crate::config::limits;
use crate::connection::ConnectionEnd;
use crate::stun::{Class, Message, looks_like_stun};
use crate::tcp::AcceptConnectionError;
use crate::types::{Instant, after};

/// Holds the accepted connections of a listener that many agents share, until the first frame on each has told whose it is.
///
/// That is a check, whose USERNAME begins with the username fragment of the agent that it is for (RFC 6544 §7.2). Nothing
/// is authenticated here: that is for the agent. `K` is whatever the application names its connections by.
///
/// ```
/// use nilas::{Admission, Doorman, Instant};
///
/// let mut doorman = Doorman::new(1000, 10);
/// let now = Instant::ZERO;
/// // A connection was accepted.
/// doorman.accept(now, 7, "198.51.100.1:40000".parse()?)?;
/// // Bytes have come on it.
/// match doorman.handle_bytes(&7, b"\0") {
///     Admission::Waiting => {}
///     Admission::Admitted { ufrag, bytes } => {
///         // Find the agent with this fragment. It accepts the connection, and takes the bytes.
/// #       let _ = (ufrag, bytes);
///     }
///     Admission::Refused(_) => { /* Close it. */ }
/// #   _ => {}
/// }
/// // It says nothing for 10 s: it has to be closed.
/// let until = doorman.poll_timeout().ok_or("it waits")?;
/// assert_eq!(doorman.poll_expired(until), Some(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Doorman<K> {
    guests: BTreeMap<K, Guest>,
    by_deadline: BTreeMap<(Instant, u64), K>,
    lobby: Lobby<K>,
    /// Those that have made room for others, and when.
    displaced: VecDeque<(Instant, K)>,
    next: u64,
    most: usize,
    most_of_one: usize,
}

#[derive(Clone, Debug)]
struct Guest {
    deadline: (Instant, u64),
    ticket: Ticket,
    bytes: Vec<u8>,
}

/// What a [`Doorman`] says of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "whoever is admitted or refused is forgotten"]
#[non_exhaustive]
pub enum Admission {
    /// The first frame is not complete.
    Waiting,
    /// It is for the agent with this local username fragment, if there is one.
    Admitted {
        /// The fragment, as the check has it: up to 256 characters of the peer's choice.
        ufrag: Box<str>,
        /// All that has come so far, for [`Agent::handle_stream_bytes`](crate::Agent::handle_stream_bytes).
        bytes: Vec<u8>,
    },
    /// It has to be closed.
    Refused(ConnectionEnd),
    /// It is not held here.
    Unknown,
}

impl<K: Ord + Clone> Doorman<K> {
    /// How long a connection may take to say whose it is.
    pub const PATIENCE: Duration = Duration::from_secs(10);
    /// The longest first frame: no check is longer.
    const FIRST_FRAME: usize = limits::FIRST_FRAME;

    /// One that holds so many connections at a time, and so many of one IPv4 address or one IPv6 /64.
    #[must_use]
    pub const fn new(most: usize, most_of_one_address: usize) -> Self {
        Self {
            guests: BTreeMap::new(),
            by_deadline: BTreeMap::new(),
            lobby: Lobby::new(),
            displaced: VecDeque::new(),
            next: 0,
            most,
            most_of_one: most_of_one_address,
        }
    }

    /// Takes a connection that was accepted, from this address.
    ///
    /// Where there is no room, the oldest of the IPv4 address, or the IPv6 /64, that has most connections here goes, and
    /// [`poll_expired`](Self::poll_expired) gives it: nobody who opens connections and says nothing keeps others out.
    ///
    /// # Errors
    /// The connection has to be closed:
    /// * [`TooManyFromAddress`](AcceptConnectionError::TooManyFromAddress) at the limit of its address or /64.
    /// * [`TooMany`](AcceptConnectionError::TooMany) if as many as there is room for have gone and were not asked for.
    pub fn accept(&mut self, now: Instant, key: K, remote: SocketAddr) -> Result<(), AcceptConnectionError> {
        self.remove(&key);
        if self.lobby.count(remote.ip()) >= self.most_of_one {
            return Err(AcceptConnectionError::TooManyFromAddress(self.most_of_one));
        }
        if self.guests.len() >= self.most {
            let victim = self.lobby.victim().filter(|_| self.displaced.len() < self.most).cloned();
            let victim = victim.ok_or(AcceptConnectionError::TooMany(self.most))?;
            self.forget(&victim);
            self.displaced.push_back((now, victim));
        }
        let ticket = self.lobby.enter(remote.ip(), key.clone());
        let deadline = (after(now, Self::PATIENCE), self.next);
        self.next += 1;
        self.by_deadline.insert(deadline, key.clone());
        self.guests.insert(key, Guest { deadline, ticket, bytes: Vec::new() });
        Ok(())
    }

    /// Takes bytes that have come on a connection. It is held here no longer once it is admitted or refused.
    pub fn handle_bytes(&mut self, key: &K, bytes: &[u8]) -> Admission {
        let Some(guest) = self.guests.get_mut(key) else { return Admission::Unknown };
        // What comes behind the first frame is at the most what came with its end.
        guest.bytes.extend_from_slice(bytes);
        let Some((prefix, part)) = guest.bytes.split_first_chunk() else { return Admission::Waiting };
        let is_long = usize::from(u16::from_be_bytes(*prefix)) > Self::FIRST_FRAME;
        let is_other = part.first().is_some_and(|first| *first > 3);
        let verdict = match whole(&guest.bytes) {
            _ if is_long || is_other => None,
            None => return Admission::Waiting,
            Some((frame, _)) => owner(frame),
        };
        let bytes = self.remove(key).unwrap_or_default();
        verdict.map_or(Admission::Refused(ConnectionEnd::NotStun), |ufrag| Admission::Admitted { ufrag, bytes })
    }

    /// Forgets a connection that is over; gives what has come on it.
    pub fn remove(&mut self, key: &K) -> Option<Vec<u8>> {
        // Its name may be that of another one soon.
        self.displaced.retain(|(_, displaced)| displaced != key);
        self.forget(key)
    }

    fn forget(&mut self, key: &K) -> Option<Vec<u8>> {
        let guest = self.guests.remove(key)?;
        self.by_deadline.remove(&guest.deadline);
        self.lobby.leave(guest.ticket);
        Some(guest.bytes)
    }

    /// The next connection that has taken too long or made room for another one, and has to be closed.
    pub fn poll_expired(&mut self, now: Instant) -> Option<K> {
        if let Some((_, key)) = self.displaced.pop_front() {
            return Some(key);
        }
        let (_, key) = self.by_deadline.first_key_value().filter(|((at, _), _)| *at <= now)?;
        let key = key.clone();
        self.forget(&key);
        Some(key)
    }

    /// When [`poll_expired`](Self::poll_expired) has something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let displaced = self.displaced.front().map(|(at, _)| *at);
        displaced.or(self.by_deadline.first_key_value().map(|((at, _), _)| *at))
    }

    /// How many connections are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.guests.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }
}

/// Whose agent a check is for.
fn owner(frame: &[u8]) -> Option<Box<str>> {
    if !looks_like_stun(frame) {
        return None;
    }
    let message = Message::read(frame).ok().filter(|message| message.class == Class::Request)?;
    let (to, _) = message.ufrags().filter(|_| message.has_valid_fingerprint())?;
    core::str::from_utf8(to).ok().map(Into::into)
}
