//! The place of relayed candidates in an agent that is built without the feature `turn`.

use core::net::SocketAddr;

use bytes::BufMut;

use super::Agent;
use super::input::Received;
use super::wrap::Leaving;
use crate::route::Framing;
use crate::stats::DropReason;
use crate::transmit::{Datagram, Transmit};
use crate::types::{Instant, PairId, Path};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Relays {
    _nothing: (),
}

#[expect(clippy::unused_self, reason = "it has the shape of what it stands for")]
impl Relays {
    pub(super) const fn is_empty(&self) -> bool {
        true
    }

    pub(super) const fn find(&self, _base: SocketAddr, _server: SocketAddr) -> Option<u64> {
        None
    }

    pub(super) const fn is_relayed(&self, _address: SocketAddr) -> bool {
        false
    }
}

#[expect(clippy::unused_self, reason = "it has the shape of what it stands for")]
impl Agent {
    pub(super) const fn relay_framing(&self, _path: &Path) -> Option<Framing> {
        None
    }

    pub(super) const fn relay_link(&self, _path: &Path) -> Option<Option<Leaving>> {
        None
    }

    pub(super) const fn note_relayed(&self, _path: &Path) {}

    pub(super) const fn note_relayed_data(&self, _path: &Path) {}

    pub(super) const fn put_indication(&self, _peer: SocketAddr, _message: &[u8], _buf: &mut impl BufMut) -> usize {
        0
    }

    pub(super) const fn can_leave(&self, _path: &Path) -> bool {
        true
    }

    pub(super) const fn write_relay(&self, _buf: &mut impl BufMut) -> Option<Transmit> {
        None
    }

    pub(super) const fn handle_from_server<'a>(&self, _id: u64, _datagram: &Datagram<'a>) -> Received<'a> {
        Received::Dropped(DropReason::UnknownDestination)
    }

    pub(super) const fn open_relay(&self, _task: crate::gather::TaskId) {}

    pub(super) const fn prepare_relayed_pair(&self, _pair: PairId) {}

    pub(super) const fn awaits_relay(&self, _stream: crate::types::StreamId) -> bool {
        false
    }

    pub(super) const fn follow_relayed_use(&self) {}

    pub(super) const fn expire_relays(&self) {}

    pub(super) const fn relay_deadline(&self) -> Option<Instant> {
        None
    }

    pub(super) const fn release_relays(&self) {}

    pub(super) fn release_relays_of(
        &self,
        _stream: crate::types::StreamId,
        _which: &impl Fn(crate::types::ComponentId) -> bool,
    ) {
    }

    pub(super) const fn forget_relays_at(&self, _base: SocketAddr) {}

    pub(super) const fn release_relayed(&self, _address: SocketAddr) {}
}
