//! ICE over TCP (RFC 6544): connections, and the frames on them (RFC 4571).

mod accept;
mod doorman;
mod frame;
mod lobby;
mod table;

pub use accept::AcceptConnectionError;
pub use doorman::{Admission, Doorman};
pub(crate) use frame::{Rfc4571, payload};
pub(crate) use table::{Carrier, Connection, Connections, Enquiry, Owner, Stage};
