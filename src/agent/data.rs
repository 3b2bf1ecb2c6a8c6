//! Application data on its way out (RFC 8445 §12.1).

use bytes::BufMut;

use super::{Agent, ConnectionState, SendError};
use crate::consent::{self, Consent};
use crate::stream::{ComponentId, StreamId};
use crate::time::{Instant, after};
use crate::transmit::Transmit;

impl Agent {
    /// Appends `payload` to `buf` as it has to be sent on the pair of this component, and says where it goes.
    ///
    /// That is the selected pair or, before there is one, the best valid pair (RFC 8445 §12.1): never an address that has
    /// not answered a check.
    ///
    /// # Errors
    /// * [`UnknownStream`](SendError::UnknownStream) or [`UnknownComponent`](SendError::UnknownComponent) if there is none
    ///   of that name.
    /// * [`ConsentLost`](SendError::ConsentLost) once the peer's consent has ended, and for a round trip when a pair is taken
    ///   into use that has not answered for 30 s (RFC 7675 §5.1).
    /// * [`NoPair`](SendError::NoPair) while no pair is valid, [`Failed`](SendError::Failed) once the stream has failed,
    ///   [`Closed`](SendError::Closed) after [`close`](Self::close).
    /// * [`NoRoom`](SendError::NoRoom) if the payload does not fit into the buffer.
    pub fn send(
        &mut self,
        now: Instant,
        stream: StreamId,
        component: ComponentId,
        payload: &[u8],
        buf: &mut impl BufMut,
    ) -> Result<Transmit, SendError> {
        self.observe(now);
        if self.is_closed {
            return Err(SendError::Closed);
        }
        let data = self.stream(stream).ok_or(SendError::UnknownStream(stream))?;
        // A lite agent sends nothing before every component has its pair (RFC 8445 §12.1.1).
        let is_ready = !self.config.lite || data.effective_components().iter().all(|one| self.in_use(one).is_some());
        let wanted = data.component(component).ok_or(SendError::UnknownComponent(component))?;
        let usable = self.in_use(wanted).filter(|_| is_ready);
        if data.state == ConnectionState::Failed {
            return Err(SendError::Failed);
        }
        let now = self.now;
        let Some(pair) = usable.and_then(|id| self.set.get_mut(id)) else {
            let component = self.component((stream, component));
            let is_lost = component.is_some_and(|component| component.has_lost_consent);
            return Err(if is_lost { SendError::ConsentLost } else { SendError::NoPair });
        };
        let answered_at = pair.consent.as_ref().map(Consent::answered_at).or(pair.answered_at);
        let is_allowed = answered_at.is_some_and(|at| now < after(at, consent::EXPIRY));
        let is_asking = self.config.consent && !self.config.lite;
        if is_asking && (pair.is_barred || !is_allowed) {
            return Err(SendError::ConsentLost);
        }
        if buf.remaining_mut() < payload.len() {
            return Err(SendError::NoRoom(payload.len()));
        }
        pair.stats.packets_sent += 1;
        pair.stats.bytes_sent += payload.len() as u64;
        pair.stats.last_packet_sent_at = Some(now);
        pair.last_sent_at = Some(now);
        let path = pair.path;
        Ok(self.wrap(path, payload, buf))
    }
}
