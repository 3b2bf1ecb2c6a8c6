//! Gathering: what to ask of which server from which base, and when (RFC 8445 §5.1.1.2, §14).
//!
//! There is one *task* for each base and each server that it can reach. Its life:
//!
//! ```text
//!            Ta                answer               every 15 s, while the address may be needed
//!  waiting -----> running ---------------> kept <------------------------------> running
//!     ^              |  refused, silent
//!     |              +---------------> over
//!     +-- 5xx, four times
//! ```
//!
//! A task that asks for a relayed address takes its turn like any other; what happens between its start and its end is
//! the business of the TURN client. A server that never answers costs its own tasks alone: each of them ends when its
//! time is up, and the others do not wait for it. The engine is pure: it says what is due, and is told what happened.

mod policy;
mod server;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::time::Duration;

pub(crate) use policy::masked;
pub use policy::{AddressFilter, AddressMapping, CandidateTypes, MappingMode};
pub use server::{IceServer, IceServerKind, ParseIceServerError};

use crate::config::limits;
use crate::stun::TransactionId;
use crate::types::{CandidateId, ComponentId, Instant, Retransmission, StreamId, after};

/// Names a task; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(u64);

/// What a task asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskKind {
    /// A server-reflexive address, by a Binding request over UDP.
    Binding,
    /// The same of a TCP candidate: a Binding request over a connection from its port (RFC 6544 §5.2).
    StreamBinding,
    /// A relayed address: the asking is the business of the TURN client.
    Relay,
}

/// Where the asking stands.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It waits for its turn.
    Waiting,
    /// A request is on its way.
    Running(Request),
    /// Somebody else asks.
    Delegated,
    /// The address is known, and is asked for again when `due` says.
    Kept,
    /// Nothing more happens.
    Over,
}

/// A request that was sent.
#[derive(Clone, Copy, Debug)]
struct Request {
    id: TransactionId,
    way: Retransmission,
    /// When it is given up at the latest.
    until: Instant,
}

/// One base and one server.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) kind: TaskKind,
    pub(crate) stream: StreamId,
    pub(crate) component: ComponentId,
    /// Where it is asked from.
    pub(crate) base: SocketAddr,
    /// Where the server is.
    pub(crate) address: SocketAddr,
    pub(crate) server: Arc<IceServer>,
    /// Number of the server in its gathering.
    entry: u64,
    /// The first answer has not come yet.
    is_open: bool,
    /// How often the server had a problem of its own.
    server_errors: u8,
    /// When the first answer has to be there.
    until: Option<Instant>,
    /// The candidate that came of it.
    pub(crate) candidate: Option<CandidateId>,
    step: Step,
    due: Option<Instant>,
}

/// How a server is doing in one gathering.
#[derive(Clone, Debug)]
struct Entry {
    id: u64,
    server: Arc<IceServer>,
    /// Its tasks whose first answer has not come yet.
    open: usize,
    /// It has answered, be it with an error.
    was_reached: bool,
    /// That it cannot be reached was told.
    was_told: bool,
    /// It was not asked to the end.
    was_cut: bool,
    /// The last base from which it was asked, and whether there were others.
    base: Option<SocketAddr>,
    has_several_bases: bool,
}

/// Something that did not work, to be told to the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) url: Arc<str>,
    /// The base, if there was but one.
    pub(crate) base: Option<SocketAddr>,
    pub(crate) code: u16,
    pub(crate) text: Box<str>,
}

/// How a task ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The server has given what was asked for.
    Answered,
    /// The server has refused it.
    Refused(u16, Box<str>),
    /// The server has not answered, or nothing that makes sense.
    Silent,
}

/// The servers, and what is asked of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gatherer {
    /// The application wants candidates to be gathered.
    pub(crate) is_active: bool,
    tasks: BTreeMap<TaskId, Task>,
    entries: Vec<Entry>,
    /// The number of the first server of the current gathering.
    first_entry: u64,
    next_entry: u64,
    next_task: u64,
    /// Tasks that wait for their turn.
    waiting: VecDeque<TaskId>,
    /// Requests to send again.
    repeats: VecDeque<TaskId>,
    timers: BTreeSet<(Instant, TaskId)>,
    by_transaction: BTreeMap<TransactionId, TaskId>,
    failures: VecDeque<Failure>,
    /// Sockets with a public address that is known from the configuration, and will be a candidate.
    pub(crate) mapped: Vec<(StreamId, SocketAddr, SocketAddr)>,
    /// A check was the last to start: gathering is next.
    is_turn: bool,
}

impl Gatherer {
    /// The transactions under way, in the order of their tasks.
    #[cfg(feature = "sim")]
    pub(crate) fn transactions(&self) -> impl Iterator<Item = TransactionId> {
        self.tasks.values().filter_map(|task| match task.step {
            Step::Running(request) => Some(request.id),
            Step::Waiting | Step::Delegated | Step::Kept | Step::Over => None,
        })
    }

    /// Code of a server that cannot be reached (W3C `RTCPeerConnectionIceErrorEvent`).
    pub(crate) const UNREACHABLE: u16 = 701;

    /// Begins a gathering with these servers. Tasks of the streams that take part are forgotten.
    pub(crate) fn begin<'a>(
        &mut self,
        servers: impl Iterator<Item = &'a IceServer>,
        takes_part: impl Fn(StreamId) -> bool,
    ) {
        self.is_active = true;
        self.remove(|task| takes_part(task.stream));
        self.first_entry = self.next_entry;
        for server in servers {
            self.entries.push(Entry {
                id: self.next_entry,
                server: Arc::new(server.clone()),
                open: 0,
                was_reached: false,
                was_told: false,
                was_cut: false,
                base: None,
                has_several_bases: false,
            });
            self.next_entry += 1;
        }
        self.drop_entries();
    }

    /// Asks every server that this base can reach, IPv4 ones perhaps through a NAT64.
    pub(crate) fn add_base(
        &mut self,
        stream: StreamId,
        component: ComponentId,
        base: SocketAddr,
        nat64: Option<Ipv6Addr>,
    ) {
        self.add_tasks((stream, component), base, nat64, |server| match server {
            IceServerKind::Turn => Some(TaskKind::Relay),
            IceServerKind::Stun => Some(TaskKind::Binding),
        });
    }

    /// Asks every STUN server that this base of a TCP candidate can reach.
    pub(crate) fn add_stream_base(&mut self, stream: StreamId, component: ComponentId, base: SocketAddr) {
        self.add_tasks((stream, component), base, None, |server| match server {
            IceServerKind::Turn => None,
            IceServerKind::Stun => Some(TaskKind::StreamBinding),
        });
    }

    fn add_tasks(
        &mut self,
        (stream, component): (StreamId, ComponentId),
        base: SocketAddr,
        nat64: Option<Ipv6Addr>,
        kind_of: impl Fn(IceServerKind) -> Option<TaskKind>,
    ) {
        let first = self.first_entry;
        for entry in self.entries.iter_mut().filter(|entry| entry.id >= first) {
            let Some(kind) = kind_of(entry.server.kind()) else { continue };
            let server = entry.server.address();
            let address = nat64.and_then(|prefix| through_nat64(prefix, base, server)).unwrap_or(server);
            if !can_reach(base.ip(), address.ip()) {
                continue;
            }
            let id = TaskId(self.next_task);
            self.next_task += 1;
            entry.open += 1;
            entry.was_cut = false;
            entry.has_several_bases |= entry.base.is_some_and(|known| known != base);
            entry.base = Some(base);
            let task = Task {
                id,
                kind,
                stream,
                component,
                base,
                address,
                server: Arc::clone(&entry.server),
                entry: entry.id,
                is_open: true,
                server_errors: 0,
                until: None,
                candidate: None,
                step: Step::Waiting,
                due: None,
            };
            self.tasks.insert(id, task);
            self.waiting.push_back(id);
        }
    }

    /// Forgets tasks, without a word.
    pub(crate) fn remove(&mut self, which: impl Fn(&Task) -> bool) {
        let gone: Vec<TaskId> = self.tasks.values().filter(|task| which(task)).map(|task| task.id).collect();
        for id in gone {
            self.pause(id, Step::Over, None);
            let Some(task) = self.tasks.remove(&id) else { continue };
            if let Some(entry) = self.entries.iter_mut().find(|entry| task.is_open && entry.id == task.entry) {
                entry.open -= 1;
                entry.was_cut = entry.open == 0;
            }
        }
        let tasks = &self.tasks;
        self.waiting.retain(|id| tasks.contains_key(id));
        self.drop_entries();
    }

    /// Forgets servers of earlier gatherings of which nothing is asked any more.
    fn drop_entries(&mut self) {
        let (first, tasks) = (self.first_entry, &self.tasks);
        self.entries.retain(|entry| entry.id >= first || tasks.values().any(|task| task.entry == entry.id));
    }

    pub(crate) fn get(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(&id)
    }

    pub(crate) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values()
    }

    /// Whether some first answer of this stream has not come yet.
    pub(crate) fn has_open(&self, stream: StreamId) -> bool {
        self.tasks.values().any(|task| task.is_open && task.stream == stream)
    }

    /// How many candidates are sought (RFC 8445 §14.3).
    pub(crate) fn sought(&self) -> u32 {
        u32::try_from(self.tasks.values().filter(|task| task.is_open).count()).unwrap_or(u32::MAX)
    }

    /// The task whose turn it is to start.
    pub(crate) fn next(&self) -> Option<TaskId> {
        self.waiting.front().copied()
    }

    /// Whether it is the turn of gathering to start a transaction, and not that of the checks.
    pub(crate) const fn is_turn(&self) -> bool {
        self.is_turn
    }

    pub(crate) const fn set_turn(&mut self, is_turn: bool) {
        self.is_turn = is_turn;
    }

    /// Leaves the asking of the first in line to somebody else, until then at the most.
    pub(crate) fn delegate(&mut self, id: TaskId, until: Instant) {
        self.waiting.retain(|waiting| *waiting != id);
        self.pause(id, Step::Delegated, Some(until));
    }

    /// Whether the first answer of a task is still waited for.
    #[cfg(feature = "turn")]
    pub(crate) fn is_open(&self, id: TaskId) -> bool {
        self.tasks.get(&id).is_some_and(|task| task.is_open)
    }

    /// Records that the first in line was started by a Binding request, which is repeated this way.
    pub(crate) fn start(
        &mut self,
        id: TaskId,
        now: Instant,
        request: TransactionId,
        mut way: Retransmission,
        until: Instant,
    ) {
        self.waiting.retain(|waiting| *waiting != id);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let until = if task.is_open { *task.until.get_or_insert(until) } else { until };
        self.by_transaction.insert(request, id);
        // Servers serve many: toward them the intervals double without a cap.
        let due = after(now, way.send(Duration::MAX)).min(until);
        self.pause(id, Step::Running(Request { id: request, way, until }), Some(due));
    }

    /// The transaction to send again, and the task that it belongs to.
    pub(crate) fn repeat(&mut self, now: Instant) -> Option<(TaskId, TransactionId)> {
        loop {
            let id = self.repeats.pop_front()?;
            let Some(Step::Running(mut request)) =
                self.tasks.get(&id).filter(|t| t.due.is_none()).map(|task| task.step)
            else {
                continue;
            };
            let due = after(now, request.way.send(Duration::MAX)).min(request.until);
            self.set(id, Step::Running(request), Some(due));
            return Some((id, request.id));
        }
    }

    pub(crate) fn has_repeats(&self) -> bool {
        !self.repeats.is_empty()
    }

    /// When something is due next, but for tasks that wait for their turn.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Takes note of the time; gives the tasks whose address has to be asked for again, if it is still needed.
    pub(crate) fn advance(&mut self, now: Instant) -> Vec<TaskId> {
        let mut refresh = Vec::new();
        while let Some(&(_, id)) = self.timers.first().filter(|(at, _)| *at <= now) {
            let Some(step) = self.tasks.get(&id).map(|task| task.step) else {
                self.timers.pop_first();
                continue;
            };
            match step {
                Step::Running(request) if !request.way.is_over() && now < request.until => {
                    self.set(id, step, None);
                    self.repeats.push_back(id);
                }
                Step::Running(_) | Step::Delegated => self.finish(id, now, End::Silent),
                Step::Kept => {
                    self.set(id, step, None);
                    refresh.push(id);
                }
                Step::Waiting => {
                    self.set(id, step, None);
                    self.waiting.push_back(id);
                }
                Step::Over => self.set(id, step, None),
            }
        }
        refresh
    }

    /// Asks again for the address of a task that was answered.
    pub(crate) fn ask_again(&mut self, id: TaskId) {
        if self.tasks.get(&id).is_some_and(|task| matches!(task.step, Step::Kept)) {
            self.pause(id, Step::Waiting, None);
            self.waiting.push_back(id);
        }
    }

    /// Asks for all addresses of these tasks again: those that are known, and those that were not to be had.
    pub(crate) fn renew(&mut self, which: impl Fn(&Task) -> bool) {
        let is_idle = |task: &&Task| {
            task.kind == TaskKind::Binding && matches!(task.step, Step::Kept | Step::Over) && which(task)
        };
        let idle: Vec<TaskId> = self.tasks.values().filter(is_idle).map(|task| task.id).collect();
        for id in idle {
            self.pause(id, Step::Waiting, None);
            self.waiting.push_back(id);
        }
    }

    /// The task that waits for the answer with this transaction ID.
    pub(crate) fn find(&self, id: TransactionId) -> Option<&Task> {
        self.by_transaction.get(&id).and_then(|task| self.tasks.get(task))
    }

    /// Keeps the candidate that came of a task alive: its address is asked for again at `at`.
    pub(crate) fn keep(&mut self, id: TaskId, candidate: CandidateId, at: Instant) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.candidate = Some(candidate);
        }
        self.pause(id, Step::Kept, Some(at));
    }

    /// Asks anew, some time later, after an error that may pass; `false` if that was done too often.
    pub(crate) fn retry(&mut self, id: TaskId, now: Instant) -> bool {
        let Some(task) = self.tasks.get_mut(&id) else { return false };
        let Step::Running(request) = task.step else { return false };
        if !task.is_open || task.server_errors >= limits::SERVER_ERRORS {
            return false;
        }
        let later = after(now, request.way.rto().saturating_mul(1 << task.server_errors));
        task.server_errors += 1;
        if later >= request.until {
            return false;
        }
        self.pause(id, Step::Waiting, Some(later));
        true
    }

    /// Ends a task, or the asking again of one that was answered before.
    pub(crate) fn finish(&mut self, id: TaskId, now: Instant, end: End) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let was_open = core::mem::replace(&mut task.is_open, false);
        if !was_open && task.candidate.is_some() {
            // What was learned stays; a server that misses one beat is asked for the next.
            let Step::Running(request) = task.step else { return };
            self.pause(id, Step::Kept, Some(request.until.max(now)));
            return;
        }
        let (base, url, number) = (task.base, task.server.shared_url(), task.entry);
        self.pause(id, Step::Over, None);
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == number).filter(|_| was_open) else { return };
        entry.open -= 1;
        match end {
            End::Answered => entry.was_reached = true,
            End::Refused(code, text) => {
                entry.was_reached = true;
                self.failures.push_back(Failure { url, base: Some(base), code, text });
            }
            End::Silent => {}
        }
    }

    /// Tells that a TURN server has no room for a relayed address, and asks it for the server-reflexive one alone
    /// (RFC 8445 §5.1.1.2).
    #[cfg(feature = "turn")]
    pub(crate) fn ask_for_less(&mut self, id: TaskId, code: u16, text: Box<str>) {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.is_open) else { return };
        (task.kind, task.until) = (TaskKind::Binding, None);
        let (url, base, number) = (task.server.shared_url(), Some(task.base), task.entry);
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == number) {
            entry.was_reached = true;
        }
        self.failures.push_back(Failure { url, base, code, text });
        self.pause(id, Step::Waiting, None);
        self.waiting.push_back(id);
    }

    /// Tells of servers that no base reaches, once for each (W3C: when no host candidate reaches the server).
    pub(crate) fn tell_unreachable(&mut self) {
        let first = self.first_entry;
        for entry in self.entries.iter_mut().filter(|entry| entry.id >= first) {
            if entry.open > 0 || entry.was_reached || entry.was_cut || core::mem::replace(&mut entry.was_told, true) {
                continue;
            }
            let text = if entry.base.is_some() { "the server does not answer" } else { "no local address reaches it" };
            self.failures.push_back(Failure {
                url: entry.server.shared_url(),
                base: entry.base.filter(|_| !entry.has_several_bases),
                code: Self::UNREACHABLE,
                text: text.into(),
            });
        }
    }

    pub(crate) fn pop_failure(&mut self) -> Option<Failure> {
        self.failures.pop_front()
    }

    /// Leaves the step that a task is in, and takes another.
    fn pause(&mut self, id: TaskId, step: Step, due: Option<Instant>) {
        if let Some(Task { step: Step::Running(request), .. }) = self.tasks.get(&id) {
            if !matches!(step, Step::Running(_)) {
                self.by_transaction.remove(&request.id);
            }
        }
        self.set(id, step, due);
    }

    fn set(&mut self, id: TaskId, step: Step, due: Option<Instant>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.step = step;
        if let Some(at) = core::mem::replace(&mut task.due, due) {
            self.timers.remove(&(at, id));
        }
        if let Some(at) = due {
            self.timers.insert((at, id));
        }
    }
}

/// The address by which a NAT64 reaches an IPv4 server from an IPv6 base (RFC 6052 §2.2, prefixes of 96 bits).
fn through_nat64(prefix: Ipv6Addr, base: SocketAddr, server: SocketAddr) -> Option<SocketAddr> {
    let (SocketAddr::V6(_), SocketAddr::V4(server)) = (base, server) else { return None };
    let prefix = u128::from(prefix) & !u128::from(u32::MAX);
    let ip = Ipv6Addr::from(prefix | u128::from(u32::from(*server.ip())));
    Some(SocketAddr::from((ip, server.port())))
}

/// Whether a server can be reached from a base at all: both of one family, and of one scope.
fn can_reach(base: IpAddr, server: IpAddr) -> bool {
    let is_link_local = |ip: IpAddr| matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    base.is_ipv4() == server.is_ipv4()
        && base.is_loopback() == server.is_loopback()
        && is_link_local(base) == is_link_local(server)
}
