//! The STUN and TURN server of the simulator.

use std::net::SocketAddr;

use nilas::Seed;
use nilas::sim::{MessageBuilder, NatConfig, Network, Server, ServerMethod, Wire};

struct Lan {
    network: Network,
    host: nilas::sim::HostId,
    server: Server,
    base: SocketAddr,
}

/// A host behind a NAT, and a server outside.
fn lan() -> Lan {
    let mut network = Network::new(Seed::from_name("server"));
    let (host, far) = (network.add_host("client"), network.add_host("server"));
    let nat = network.add_nat(NatConfig::symmetric(["192.0.2.1".parse().unwrap()])).unwrap();
    network.add_interface_behind(nat, host, "10.0.0.2".parse().unwrap()).unwrap();
    network.add_interface(far, "198.51.100.9".parse().unwrap()).unwrap();
    let address = "198.51.100.9:3478".parse().unwrap();
    let server = Server::new(far, address, &Seed::from_name("server")).with_user("user", "pass");
    Lan { network, host, server, base: "10.0.0.2:5000".parse().unwrap() }
}

impl Lan {
    fn ask(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.network.send(self.host, self.base, self.server.address(), message);
        while let Some(due) = self.network.next_delivery() {
            self.network.advance_to(due);
            while let Some(delivery) = self.network.pop_delivery() {
                if !self.server.deliver(&mut self.network, &delivery) {
                    assert_eq!(delivery.source, self.server.address());
                    return Some(delivery.payload);
                }
            }
        }
        None
    }
}

#[test]
fn a_server_tells_a_client_behind_a_nat_its_mapped_address() {
    let mut lan = lan();
    let answer = lan.ask(&MessageBuilder::binding_request([1; 12]).build()).unwrap();
    let Wire::Success { id, mapped: Some(mapped) } = Wire::decode(&answer) else { panic!("no success") };
    assert_eq!((id, mapped.ip()), ([1; 12], "192.0.2.1".parse().unwrap()));
    assert_eq!(lan.server.served()[0].client, mapped);
    lan.server.set_alive(false);
    assert_eq!(lan.ask(&MessageBuilder::binding_request([2; 12]).build()), None);
}

#[test]
fn a_server_relays_for_nobody_without_credentials_and_fails_when_told_to() {
    let mut lan = lan();
    assert!(lan.ask(&MessageBuilder::new(0x0003, [3; 12]).build()).is_some());
    assert_eq!(lan.server.served()[0].error, Some(401));
    lan.server.fail_unauthenticated(ServerMethod::Binding, 500, 1);
    for expected in [Some(500), None] {
        assert!(lan.ask(&MessageBuilder::binding_request([4; 12]).build()).is_some());
        assert_eq!(lan.server.served().last().unwrap().error, expected);
    }
}
