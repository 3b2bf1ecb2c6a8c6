//! What a session description says of the agent as it is now (RFC 8839 §4).

use core::net::SocketAddr;

use super::Agent;
use super::stream_data::Stream;
use crate::candidate::{Candidate, CandidateKind, LocalCandidate, TcpType};
use crate::checklist::{CandidatePair, ChecklistState};
use crate::sdp::{IceMedia, IceOptions, RemoteCandidate};
use crate::types::{ComponentId, Role, StreamId, Transport};

/// Which local candidates a description lists once a pair of each component is nominated (RFC 8839 §4.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CandidateListing {
    /// All of them, as WebRTC does.
    #[default]
    All,
    /// Those of the nominated pairs, as RFC 8839 has it; and of the controlling side also which remote candidates belong to
    /// them.
    Nominated,
}

impl Agent {
    /// What a description says of a stream: credentials, options, and the candidates that were handed out so far. While a
    /// restart is prepared it is that of the generation to come (RFC 8839 §4.2, §4.4).
    ///
    /// The rest of the section is the caller's: the `m=` line, whose address is that of
    /// [`default_candidate`](Self::default_candidate), and `mid`. `ice-lite` and `ice-pacing` stand for all sections and
    /// follow from the configuration.
    ///
    /// ```
    /// # use nilas::{Agent, CandidateListing, ComponentId, Config, Instant, Role, Seed, Transport};
    /// # let mut agent = Agent::new(Config::default(), Role::Controlling, Seed::from_name("example"))?;
    /// # let stream = agent.add_stream(1)?;
    /// # agent.add_socket(Instant::ZERO, stream, ComponentId::RTP, Transport::Udp, "192.0.2.1:5000".parse()?)?;
    /// # while agent.poll_event().is_some() {}
    /// let media = agent.describe(stream, CandidateListing::All).ok_or("no such stream")?;
    /// let text = media.attributes().to_string();
    /// assert!(text.contains("a=ice-options:ice2 trickle"));
    /// assert!(text.contains(" 192.0.2.1 5000 typ host"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn describe(&self, stream: StreamId, listing: CandidateListing) -> Option<IceMedia> {
        let data = self.stream(stream)?;
        let generation = data.gathering_generation();
        let mut media = IceMedia::without_mid().with_credentials(&data.local_in(generation)?.credentials);
        let mut options = IceOptions::default().with(IceOptions::TRICKLE).ok()?;
        if self.config.renomination {
            options = options.with(IceOptions::RENOMINATION2).and_then(|o| o.with(IceOptions::RENOMINATION)).ok()?;
        }
        media.options = options;
        let is_over = listing == CandidateListing::Nominated && data.pending.is_none() && self.is_completed(stream);
        if is_over {
            let nominated =
                || data.components.iter().filter_map(|component| self.set.get(component.nomination.pair()?));
            media.candidates.extend(nominated().filter_map(|pair| self.local_of(data, pair)).cloned());
            if self.role == Role::Controlling {
                media.remote_candidates.extend(nominated().filter_map(|pair| {
                    let remote = data.remotes.get(pair.remote)?;
                    Some(RemoteCandidate { component: pair.component, address: remote.candidate.address().clone() })
                }));
            }
        } else {
            let told = data.locals.iter().filter(|local| local.is_announced_in(generation));
            media.candidates.extend(told.map(|local| local.candidate.clone()));
        }
        media.end_of_candidates = data.ended_in(generation);
        Some(media)
    }

    /// The candidate whose address belongs into the `m=` and `c=` lines, or `rtcp` for component 2: that of the nominated
    /// pair or, before there is one, the candidate that is most likely to be reached by a peer without ICE: a relayed one, a
    /// reflexive one, or one of the host (RFC 8445 §5.1.4, RFC 8839 §4.2.1).
    ///
    /// `None` if there is none of this transport, the one of the `m=` line: then the address is 0.0.0.0 or `::`, port 9
    /// (RFC 8839 §4.3.2).
    #[must_use]
    pub fn default_candidate(
        &self,
        stream: StreamId,
        component: ComponentId,
        transport: Transport,
    ) -> Option<&Candidate> {
        let data = self.stream(stream)?;
        let generation = data.gathering_generation();
        let nominated = data.component(component)?.nomination.pair().filter(|_| data.pending.is_none());
        if let Some(pair) = nominated.and_then(|id| self.set.get(id)) {
            let is_writable = |candidate: &&Candidate| candidate.socket_address().is_some();
            let of_pair = self.local_of(data, pair).filter(|candidate| candidate.transport() == transport);
            return of_pair.filter(is_writable);
        }
        let rank = |local: &LocalCandidate| match local.candidate.kind() {
            CandidateKind::Relayed => 3,
            CandidateKind::ServerReflexive => 2,
            CandidateKind::Host => 1,
            CandidateKind::PeerReflexive => 0,
        };
        let told = data.locals.iter().filter(|local| local.is_announced_in(generation));
        told.filter(|local| (local.candidate.component(), local.candidate.transport()) == (component, transport))
            // A peer without ICE cannot open a connection at the same time (RFC 6544 §4.3).
            .filter(|local| local.candidate.tcp_type() != Some(TcpType::SimultaneousOpen))
            // A name is never written (RFC 8839 §5.1).
            .filter(|local| local.candidate.socket_address().is_some())
            .max_by_key(|local| (rank(local), local.candidate.priority()))
            .map(|local| &local.candidate)
    }

    /// The addresses of the selected pair of a component: the local candidate's and the remote one's. They differ from the
    /// default addresses of the descriptions when an updated offer is due for peers without `ice2` (RFC 8839 §4.3.4).
    #[must_use]
    pub fn selected_addresses(&self, stream: StreamId, component: ComponentId) -> Option<(SocketAddr, SocketAddr)> {
        let data = self.stream(stream)?;
        let pair = self.set.get(data.component(component)?.selection.selected()?)?;
        Some((self.local_of(data, pair)?.socket_address()?, pair.path.remote))
    }

    fn is_completed(&self, stream: StreamId) -> bool {
        self.set.list(stream).is_some_and(|list| list.state() == ChecklistState::Completed)
    }

    /// The local candidate of a pair; one that only checks have shown is listed as it is, and one that is not to be shown
    /// under another of the same base, if there is one.
    #[expect(clippy::unused_self, reason = "a question to the agent like the others")]
    fn local_of<'a>(&self, data: &'a Stream, pair: &CandidatePair) -> Option<&'a Candidate> {
        let local = data.locals.get(pair.local)?;
        let is_like = |other: &&LocalCandidate| {
            let key = |one: &LocalCandidate| (one.candidate.component(), one.candidate.transport(), one.base);
            !other.is_hidden && key(other) == key(local)
        };
        let shown = if local.is_hidden { data.locals.iter().find(is_like)? } else { local };
        Some(&shown.candidate)
    }
}
