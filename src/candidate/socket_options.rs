//! What the application says of a socket that it gives to the agent.

use super::TcpType;

/// What is special about a socket. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// The interface is slow or flaky: its candidate comes after all others (RFC 8421 §3). Default no.
    pub is_unreliable: bool,
    /// What traffic through this interface costs, 0 to 999: 0 for a network that is free, 900 for a mobile one, as
    /// libwebrtc counts. Default 0. It is signalled as the extension `network-cost`, and of several pairs that work the
    /// default [`SelectionPolicy`](crate::SelectionPolicy) takes a cheap one.
    pub network_cost: u16,
    /// What a TCP candidate does (RFC 6544 §5.1); of no meaning for UDP. Default [`TcpType::Passive`].
    ///
    /// * [`Active`](TcpType::Active): the agent opens connections from this IP address. The port means nothing: every
    ///   connection has one of its own, and what is signalled has port 9. There is no socket before there is a connection.
    /// * [`Passive`](TcpType::Passive): the connections that the socket at this address accepts are handed to
    ///   [`accept_connection`](crate::Agent::accept_connection). One socket may serve many agents, see
    ///   [`Doorman`](crate::Doorman).
    /// * [`SimultaneousOpen`](TcpType::SimultaneousOpen): both at once, from and at this address.
    ///
    /// One candidate of each type, the latter two on different ports, suits a host without NAT; browsers have active ones
    /// only.
    pub tcp_type: TcpType,
}

impl SocketOptions {
    /// The highest cost.
    pub const MAX_COST: u16 = 999;

    /// The same of an interface that is slow or flaky, or is not.
    #[must_use]
    pub const fn with_unreliable(mut self, is_unreliable: bool) -> Self {
        self.is_unreliable = is_unreliable;
        self
    }

    /// The same as a TCP candidate of this type.
    #[must_use]
    pub const fn with_tcp_type(mut self, tcp_type: TcpType) -> Self {
        self.tcp_type = tcp_type;
        self
    }

    /// The same with this cost; more than [`MAX_COST`](Self::MAX_COST) counts as that.
    #[must_use]
    pub const fn with_network_cost(mut self, cost: u16) -> Self {
        self.network_cost = if cost > Self::MAX_COST { Self::MAX_COST } else { cost };
        self
    }
}
