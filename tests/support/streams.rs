//! Two agents in memory with one TCP connection between them, for what counts costs.

#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "test code")]

use std::net::SocketAddr;

use nilas::{
    Agent, Config, ConnectionEvent, ConnectionId, ConnectionRequest, Event, Instant, Received, RemoteDescription, Role,
    Seed, SocketOptions, StreamId, TcpType, Transport,
};

use super::COMPONENT;

/// The active side L, the passive side R, and what each calls the connection.
#[derive(Clone, Debug)]
pub(crate) struct StreamDuo {
    pub(crate) l: Agent,
    pub(crate) r: Agent,
    pub(crate) at_l: ConnectionId,
    pub(crate) at_r: ConnectionId,
    pub(crate) now: Instant,
    pub(crate) stream: StreamId,
}

impl StreamDuo {
    /// Two agents that have selected the pair of their connection.
    pub(crate) fn connected(config: &Config) -> Self {
        let mut now = Instant::ZERO;
        let mut l = Agent::new(config.clone(), Role::Controlling, Seed::from_name("L")).unwrap();
        let mut r = Agent::new(config.clone(), Role::Controlled, Seed::from_name("R")).unwrap();
        let stream = l.add_stream(1).unwrap();
        assert_eq!(r.add_stream(1), Ok(stream));
        let (here, there) = (SocketAddr::from(([198, 51, 100, 1], 40_000)), SocketAddr::from(([203, 0, 113, 1], 7000)));
        let active = SocketOptions::default().with_tcp_type(TcpType::Active);
        l.add_socket_with(now, stream, COMPONENT, Transport::Tcp, here, active).unwrap();
        r.add_socket(now, stream, COMPONENT, Transport::Tcp, there).unwrap();
        let of = |agent: &Agent| RemoteDescription::new(agent.local_credentials(stream).unwrap().clone());
        let (of_l, of_r) = (of(&l), of(&r));
        l.set_remote_description(now, stream, &of_r).unwrap();
        r.set_remote_description(now, stream, &of_l).unwrap();
        while let Some(event) = r.poll_event() {
            if let Event::LocalCandidate { candidate, .. } = event {
                let _ = l.add_remote_candidate(now, stream, *candidate).unwrap();
            }
        }
        while l.poll_event().is_some() {}
        let mut buffer = Vec::new();
        assert!(l.poll_transmit(now, &mut buffer).is_none());
        let Some(ConnectionRequest::Open { id: at_l, .. }) = l.poll_connection() else { panic!("no connection") };
        let at_r = r.accept_connection(now, there, here).unwrap();
        l.handle_connection(now, ConnectionEvent::Opened { id: at_l, local: here });
        let mut duo = Self { l, r, at_l, at_r, now, stream };
        while duo.l.selected_pair(stream, COMPONENT).is_none() || duo.r.selected_pair(stream, COMPONENT).is_none() {
            duo.exchange();
            now = [duo.l.poll_timeout(), duo.r.poll_timeout()].into_iter().flatten().min().unwrap();
            duo.now = now;
            duo.l.handle_timeout(now);
            duo.r.handle_timeout(now);
        }
        duo.exchange();
        duo
    }

    /// Carries frames until both are quiet, and drops events.
    fn exchange(&mut self) {
        let mut buffer = Vec::new();
        let mut is_quiet = false;
        while !is_quiet {
            is_quiet = true;
            for is_l in [true, false] {
                let (from, to, at) =
                    if is_l { (&mut self.l, &mut self.r, self.at_r) } else { (&mut self.r, &mut self.l, self.at_l) };
                while from.poll_transmit(self.now, &mut buffer).is_some() {
                    is_quiet = false;
                    let mut bytes = buffer.as_slice();
                    while let Some(received) = to.handle_stream_bytes(self.now, at, &mut bytes) {
                        assert_eq!(received, Received::Handled);
                    }
                    buffer.clear();
                }
                while from.poll_event().is_some() {}
            }
        }
    }
}
