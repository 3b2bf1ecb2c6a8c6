//! The last step on the way out: from a message on the path of a pair to the bytes on the wire.

use bytes::BufMut;

use super::Agent;
use crate::pair::Path;
use crate::transmit::Transmit;

impl Agent {
    /// Appends a message to `buf` as it travels on this path, and says where it goes. All that leaves passes here.
    pub(super) fn wrap(&mut self, path: Path, message: &[u8], buf: &mut impl BufMut) -> Transmit {
        self.stats.datagrams_sent += 1;
        buf.put_slice(message);
        Transmit::new(message.len(), path.transport, path.base, path.remote)
    }
}
