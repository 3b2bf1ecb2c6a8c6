//! The connections of an agent: by name, and by the paths that they carry.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use smallvec::SmallVec;

use super::Rfc4571;
use super::lobby::{Lobby, Ticket};
use crate::candidate::address::site;
use crate::checklist::TransactionKey;
use crate::config::limits;
use crate::connection::{ConnectionRequest, ConnectionSecurity};
use crate::gather::TaskId;
use crate::stun::TransactionId;
#[cfg(feature = "turn")]
use crate::turn::framing::FromServerFrames;
use crate::types::{
    Arena, ComponentId, ConnectionId, Framer, Instant, Kept, Path, Queue, StreamId, after, earliest, work,
};

/// What a connection is for.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    /// Pairs of TCP candidates (RFC 6544).
    Candidates(Carrier),
    /// A STUN server, which is asked for the address that it sees (RFC 6544 §5.2).
    Server(Enquiry),
    /// The relay of this name (RFC 8656 §3.1).
    #[cfg(feature = "turn")]
    Relay(u64, Framer<FromServerFrames>),
}

/// A question to a STUN server.
#[derive(Clone, Debug)]
pub(crate) struct Enquiry {
    pub(crate) task: TaskId,
    pub(crate) stream: StreamId,
    pub(crate) component: ComponentId,
    pub(crate) base: SocketAddr,
    pub(crate) request: TransactionId,
    /// What has come of the answer.
    pub(crate) answer: Vec<u8>,
    /// The answer has come: the connection only keeps the address alive.
    pub(crate) is_answered: bool,
}

/// A connection that carries pairs of TCP candidates.
#[derive(Clone, Debug)]
pub(crate) struct Carrier {
    pub(crate) stream: StreamId,
    pub(crate) component: ComponentId,
    /// The path of its pairs. Without a flow as long as nobody knows whose an accepted connection is.
    pub(crate) path: Path,
    /// The path that it had before a restart, whose pairs may still be in use.
    pub(crate) former: Option<Path>,
    /// The peer has opened it.
    pub(crate) is_accepted: bool,
    /// STUN has come on it.
    pub(crate) is_heard: bool,
    /// A check of ours was answered on it, so that data may follow (RFC 6544 §11.1).
    pub(crate) is_proven: bool,
    /// A consent check was sent on it, and not answered yet.
    pub(crate) is_asked: bool,
    /// The check that is sent once it is open.
    pub(crate) waiting: Option<TransactionKey>,
}

impl Carrier {
    /// Whether pairs of another generation may use it: the peer has just opened it, or it works.
    pub(crate) const fn is_reusable(&self) -> bool {
        self.path.flow.is_none() || self.is_proven
    }

    /// Whether the other end has not shown yet that it is an agent, or which one.
    pub(crate) const fn is_strange(&self) -> bool {
        if self.is_accepted { self.path.flow.is_none() } else { !self.is_heard }
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It waits for its turn: too many to the same address are being opened.
    Queued,
    /// It is being opened.
    Opening,
    /// Bytes go to and fro.
    Open,
}

/// A connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// The local address to open it from, and once it is open the one that it has.
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) security: ConnectionSecurity,
    pub(crate) stage: Stage,
    pub(crate) owner: Owner,
    pub(crate) framer: Framer<Rfc4571>,
    /// When something is to be done about it: it takes too long to open, says nothing, or is not used.
    deadline: Option<Instant>,
    /// That of one that was accepted, as long as nobody knows whose it is.
    ticket: Option<Ticket>,
    /// The paths by which it is found.
    paths: SmallVec<[Path; 1]>,
}

impl Kept for Connection {
    type Id = ConnectionId;

    fn id(&self) -> ConnectionId {
        self.id
    }
}

impl Connection {
    /// Whether something is to be done about it at some time.
    pub(crate) const fn is_limited(&self) -> bool {
        self.deadline.is_some()
    }

    /// What it carries, if it is that of TCP candidates.
    pub(crate) const fn carrier(&self) -> Option<&Carrier> {
        match &self.owner {
            Owner::Candidates(carrier) => Some(carrier),
            Owner::Server(_) => None,
            #[cfg(feature = "turn")]
            Owner::Relay(..) => None,
        }
    }

    pub(crate) const fn carrier_mut(&mut self) -> Option<&mut Carrier> {
        match &mut self.owner {
            Owner::Candidates(carrier) => Some(carrier),
            Owner::Server(_) => None,
            #[cfg(feature = "turn")]
            Owner::Relay(..) => None,
        }
    }
}

/// A path in use that wants its connection back.
#[derive(Clone, Copy, Debug)]
struct Redial {
    path: Path,
    attempts: u8,
    /// When it is tried again; `None` while it is.
    at: Option<Instant>,
}

/// All connections of an agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections {
    list: Arena<Connection>,
    by_path: BTreeMap<Path, ConnectionId>,
    /// How many are being opened to each address.
    opening: BTreeMap<IpAddr, usize>,
    /// Accepted ones of which nobody knows whose they are.
    lobby: Lobby<ConnectionId>,
    /// How many there are that were accepted, and of each site.
    accepted: usize,
    accepted_of: BTreeMap<IpAddr, usize>,
    queued: Queue<ConnectionId>,
    /// Those to be opened, and those that are gone and to be closed.
    requests: Queue<ConnectionId>,
    /// Connections that were opened, on which something is to be said first.
    ready: Queue<ConnectionId>,
    /// The same to servers that are asked something.
    enquiries: Queue<ConnectionId>,
    /// When something is to be done about which.
    deadlines: BTreeSet<(Instant, ConnectionId)>,
    /// Paths in use whose connection was lost.
    redials: Vec<Redial>,
    /// A buffer for frames that come in pieces.
    pub(crate) spare: Vec<u8>,
}

impl Connections {
    /// How long a connection may take to open.
    const PATIENCE: Duration = Duration::from_secs(10);

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.list.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.list.get_mut(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.list.iter().inspect(|_| work::count())
    }

    /// The connection that carries this path.
    pub(crate) fn find(&self, path: &Path) -> Option<&Connection> {
        self.get(*self.by_path.get(path)?)
    }

    /// The connection of this path, if bytes go to and fro on it.
    pub(crate) fn find_open(&self, path: &Path) -> Option<&Connection> {
        self.find(path).filter(|connection| connection.stage == Stage::Open)
    }

    /// Adds a connection; it is asked for when there is room for it.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        security: ConnectionSecurity,
        owner: Owner,
    ) -> ConnectionId {
        let id = self.store(local, remote, security, Stage::Queued, owner);
        self.queued.push_back(id);
        self.request_queued(now);
        id
    }

    /// Adds a connection that the peer has opened, which is looked at again at `until`.
    pub(crate) fn accept(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        owner: Owner,
        until: Instant,
    ) -> ConnectionId {
        let id = self.store(local, remote, ConnectionSecurity::Plain, Stage::Open, owner);
        let ticket = self.lobby.enter(remote.ip(), id);
        if let Some(connection) = self.get_mut(id) {
            connection.ticket = Some(ticket);
        }
        self.accepted += 1;
        *self.accepted_of.entry(site(remote.ip())).or_default() += 1;
        self.set_deadline(id, Some(until));
        id
    }

    /// How many accepted connections there are.
    pub(crate) const fn accepted(&self) -> usize {
        self.accepted
    }

    /// The same from where this address is: an IPv4 address, or a /64.
    pub(crate) fn accepted_of(&self, ip: IpAddr) -> usize {
        self.accepted_of.get(&site(ip)).copied().unwrap_or_default()
    }

    /// The accepted connection that goes first where there is no room for another one: nobody knows whose it is.
    pub(crate) fn victim(&self) -> Option<ConnectionId> {
        self.lobby.victim().copied()
    }

    /// How many requests wait to be polled.
    pub(crate) fn requested(&self) -> usize {
        self.requests.len()
    }

    fn store(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        security: ConnectionSecurity,
        stage: Stage,
        owner: Owner,
    ) -> ConnectionId {
        let framer = Framer::default();
        let paths = SmallVec::new();
        let (deadline, ticket) = (None, None);
        let make = |id| Connection { id, local, remote, security, stage, owner, framer, deadline, ticket, paths };
        let id = self.list.insert(make);
        let path = self.get(id).and_then(Connection::carrier).map(|carrier| carrier.path);
        path.into_iter().for_each(|path| self.alias(id, path));
        id
    }

    /// Asks for those that wait, as far as there is room: at the most [`limits::OPENING_CONNECTIONS`] to one address.
    fn request_queued(&mut self, now: Instant) {
        for _ in 0..self.queued.len() {
            if self.is_backlogged() {
                return;
            }
            let Some(id) = self.queued.pop_front() else { return };
            let Some(connection) = self.get(id).filter(|connection| connection.stage == Stage::Queued) else {
                continue;
            };
            let remote = connection.remote;
            let count = self.opening.entry(remote.ip()).or_default();
            if *count >= limits::OPENING_CONNECTIONS {
                self.queued.push_back(id);
                continue;
            }
            *count += 1;
            if let Some(connection) = self.get_mut(id) {
                connection.stage = Stage::Opening;
            }
            self.set_deadline(id, Some(after(now, Self::PATIENCE)));
            self.requests.push_back(id);
        }
    }

    /// Records that a connection is open, if anybody waits for that.
    pub(crate) fn opened(&mut self, now: Instant, id: ConnectionId, local: SocketAddr) {
        let Some(connection) = self.get_mut(id).filter(|connection| connection.stage == Stage::Opening) else { return };
        connection.stage = Stage::Open;
        connection.local = local;
        let remote = connection.remote;
        let is_enquiry = matches!(connection.owner, Owner::Server(_));
        self.set_deadline(id, None);
        if is_enquiry {
            self.enquiries.push_back(id)
        } else {
            self.ready.push_back(id)
        }
        self.release(now, remote.ip());
    }

    fn release(&mut self, now: Instant, ip: IpAddr) {
        if let Some(count) = self.opening.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.opening.remove(&ip);
            }
        }
        self.request_queued(now);
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, now: Instant, id: ConnectionId) -> Option<Connection> {
        self.get(id)?;
        self.requests.remove(&id);
        self.take(now, id)
    }

    fn take(&mut self, now: Instant, id: ConnectionId) -> Option<Connection> {
        let connection = self.list.remove(id)?;
        for path in &connection.paths {
            if self.by_path.get(path) == Some(&id) {
                self.by_path.remove(path);
            }
        }
        for queue in [&mut self.queued, &mut self.ready, &mut self.enquiries] {
            queue.remove(&id);
        }
        if let Some(ticket) = connection.ticket {
            self.lobby.leave(ticket);
        }
        if connection.carrier().is_some_and(|carrier| carrier.is_accepted) {
            self.forget_accepted(connection.remote.ip());
        }
        if let Some(at) = connection.deadline {
            self.deadlines.remove(&(at, id));
        }
        if connection.stage == Stage::Opening {
            self.release(now, connection.remote.ip());
        }
        Some(connection)
    }

    fn forget_accepted(&mut self, ip: IpAddr) {
        self.accepted = self.accepted.saturating_sub(1);
        let ip = site(ip);
        if let Some(count) = self.accepted_of.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.accepted_of.remove(&ip);
            }
        }
    }

    /// Forgets a connection, and asks the caller to close it.
    pub(crate) fn close(&mut self, now: Instant, id: ConnectionId) -> Option<Connection> {
        // What was never asked for needs no end.
        let is_queued = self.get(id)?.stage == Stage::Queued;
        if !self.requests.remove(&id) && !is_queued {
            self.requests.push_back(id);
        }
        self.take(now, id)
    }

    /// Records that a connection carries this path from now on, and the one before as well.
    pub(crate) fn bind(&mut self, id: ConnectionId, path: Path) {
        let Some(connection) = self.get_mut(id) else { return };
        let Some(carrier) = connection.carrier_mut() else { return };
        let before = core::mem::replace(&mut carrier.path, path);
        carrier.former = Some(before).filter(|before| before.flow.is_some());
        if let Some(ticket) = connection.ticket.take() {
            self.lobby.leave(ticket);
        }
        self.alias(id, path);
        self.set_deadline(id, None);
    }

    /// Records that a consent check was sent on this path.
    pub(crate) fn record_question(&mut self, path: &Path) {
        let id = self.by_path.get(path).copied();
        if let Some(connection) = id.and_then(|id| self.get_mut(id)) {
            if let Some(carrier) = connection.carrier_mut() {
                carrier.is_asked = true;
            }
        }
    }

    /// Lets a connection be found by this path, too.
    pub(crate) fn alias(&mut self, id: ConnectionId, path: Path) {
        self.by_path.insert(path, id);
        if let Some(connection) = self.get_mut(id).filter(|connection| !connection.paths.contains(&path)) {
            connection.paths.push(path);
        }
    }

    /// Records that something is to be said first on an open connection.
    pub(crate) fn make_ready(&mut self, id: ConnectionId) {
        self.ready.push_back(id);
    }

    /// Sees to it that the path of a pair in use gets a connection again, after a while that grows with each attempt.
    pub(crate) fn plan_redial(&mut self, now: Instant, path: Path) {
        let place = self.redials.iter().position(|redial| redial.path == path).unwrap_or_else(|| {
            self.redials.push(Redial { path, attempts: 0, at: None });
            self.redials.len() - 1
        });
        let Some(redial) = self.redials.get_mut(place) else { return };
        let wait = match redial.attempts {
            0 => Duration::ZERO,
            attempts => Duration::from_millis(500 << attempts.min(4)),
        };
        redial.attempts = redial.attempts.saturating_add(1);
        redial.at = Some(after(now, wait));
    }

    /// The path of a pair that wants its connection back now.
    pub(crate) fn poll_redial(&mut self, now: Instant) -> Option<Path> {
        let due = self.redials.iter_mut().find(|redial| redial.at.is_some_and(|at| at <= now))?;
        due.at = None;
        Some(due.path)
    }

    /// Whether there is no connection, and none that is wanted back.
    pub(crate) fn is_idle(&self) -> bool {
        self.list.len() == 0 && self.redials.is_empty()
    }

    /// Forgets the paths that do not want their connections back any more.
    pub(crate) fn keep_redials(&mut self, is_wanted: impl Fn(&Path) -> bool) {
        self.redials.retain(|redial| is_wanted(&redial.path));
    }

    /// A path works, or is not wanted any more.
    pub(crate) fn forget_redial(&mut self, path: &Path) {
        self.redials.retain(|redial| redial.path != *path);
    }

    /// The next thing to open or to close. Where many waited, there is room for others.
    pub(crate) fn poll_request(&mut self, now: Instant) -> Option<ConnectionRequest> {
        let id = self.requests.pop_front()?;
        if self.requests.len() + 1 == limits::CONNECTION_REQUESTS {
            self.request_queued(now);
        }
        let Some(connection) = self.get(id) else { return Some(ConnectionRequest::Close { id }) };
        let (local, remote, security) = (connection.local, connection.remote, connection.security.clone());
        Some(ConnectionRequest::Open { id, local, remote, security })
    }

    /// Whether nobody polls: nothing is opened or accepted until somebody does.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.requests.len() >= limits::CONNECTION_REQUESTS
    }

    /// Whether somebody has to poll.
    pub(crate) fn has_output(&self) -> bool {
        !self.requests.is_empty() || !self.ready.is_empty() || !self.enquiries.is_empty()
    }

    /// The next server that can be asked.
    pub(crate) fn poll_enquiry(&mut self) -> Option<ConnectionId> {
        self.enquiries.pop_front()
    }

    /// The next connection on which something is to be said first.
    pub(crate) fn poll_ready(&mut self) -> Option<ConnectionId> {
        self.ready.pop_front()
    }

    pub(crate) fn set_deadline(&mut self, id: ConnectionId, at: Option<Instant>) {
        let Some(connection) = self.get_mut(id) else { return };
        let before = core::mem::replace(&mut connection.deadline, at);
        if before == at {
            return;
        }
        work::count();
        if let Some(before) = before {
            self.deadlines.remove(&(before, id));
        }
        self.deadlines.extend(at.map(|at| (at, id)));
    }

    /// When [`poll_due`](Self::poll_due) or [`poll_redial`](Self::poll_redial) has something.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.redials.iter().fold(self.deadlines.first().map(|(at, _)| *at), |next, redial| earliest(next, redial.at))
    }

    /// A connection whose deadline has come; it has none any more.
    pub(crate) fn poll_due(&mut self, now: Instant) -> Option<ConnectionId> {
        let (_, due) = *self.deadlines.first().filter(|(at, _)| *at <= now)?;
        self.set_deadline(due, None);
        Some(due)
    }

    /// All of them.
    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        self.iter().map(|connection| connection.id).collect()
    }

    /// Puts connections that are to end in the order in which that costs least: those first that wait for a place of others.
    pub(crate) fn sort_for_the_end(&self, ids: &mut [ConnectionId]) {
        ids.sort_by_key(|id| self.get(*id).is_some_and(|connection| connection.stage != Stage::Queued));
    }

    /// Counts the indexes anew from the connections; says what differs from them.
    #[cfg(feature = "sim")]
    pub(crate) fn audit(&self) -> Result<(), alloc::string::String> {
        use alloc::format;
        let mut opening: BTreeMap<IpAddr, usize> = BTreeMap::new();
        if self.list.len() > 2000 {
            return Err(format!("there are {} connections, and no end of them", self.list.len()));
        }
        self.list.audit().map_err(|what| format!("the connections: {what}"))?;
        for connection in self.iter() {
            if connection.stage == Stage::Opening {
                *opening.entry(connection.remote.ip()).or_default() += 1;
            }
            if (connection.stage == Stage::Queued) != self.queued.contains(&connection.id) {
                return Err(format!("{:?} is {:?}, and queued or not", connection.id, connection.stage));
            }
        }
        let mut accepted_of: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for connection in self.iter().filter(|one| one.carrier().is_some_and(|carrier| carrier.is_accepted)) {
            *accepted_of.entry(site(connection.remote.ip())).or_default() += 1;
        }
        if (self.accepted, &self.accepted_of) != (accepted_of.values().sum(), &accepted_of) {
            let kept = (self.accepted, &self.accepted_of);
            return Err(format!("{kept:?} connections were accepted, and there are {accepted_of:?}"));
        }
        let kept: BTreeMap<_, _> =
            self.opening.iter().filter(|(_, count)| **count > 0).map(|(ip, n)| (*ip, *n)).collect();
        if kept != opening {
            return Err(format!("{kept:?} connections are being opened, and there are {opening:?}"));
        }
        if let Some((_, id)) = self.by_path.iter().find(|(_, id)| self.get(**id).is_none()) {
            return Err(format!("a path of {id:?}, which is gone"));
        }
        let due: BTreeSet<_> =
            self.iter().filter_map(|connection| Some((connection.deadline?, connection.id))).collect();
        if due != self.deadlines {
            return Err(format!("the connections are due at {:?}, and by themselves at {due:?}", self.deadlines));
        }
        Ok(())
    }
}
