//! Descriptions in the forms that others write: browsers, libraries, media servers, gateways. They are written after what
//! those document and show, with addresses for documentation.

use std::net::{IpAddr, SocketAddr};

use nilas::sim::{Delivery, Link, MessageBuilder, Network, Peer, Wire};
use nilas::{
    Agent, CandidateAddress, ComponentId, Config, Credentials, Event, IceDescription, IceNoteKind, RemoteDescription,
    Role, Seed, TrickleFragment, TrickleReceiver,
};

use crate::help::{ms, secs};

/// What a description says.
#[derive(Clone, Copy, Debug)]
struct Vector {
    name: &'static str,
    text: &'static str,
    /// Its sections: whether each uses ICE, and how many candidates it has and were passed over.
    sections: &'static [(bool, usize, usize)],
    is_lite: bool,
    /// What is noted.
    notes: &'static [IceNoteKind],
    /// It is whole: an agent connects to it.
    is_whole: bool,
}

macro_rules! vector {
    ($name:literal, $sections:expr, lite: $lite:literal, notes: $notes:expr, whole: $whole:literal) => {
        Vector {
            name: $name,
            text: include_str!(concat!("vectors/", $name, ".sdp")),
            sections: &$sections,
            is_lite: $lite,
            notes: &$notes,
            is_whole: $whole,
        }
    };
}

const VECTORS: [Vector; 19] = [
    vector!("chrome_offer", [(true, 4, 0), (true, 0, 0)], lite: false, notes: [], whole: true),
    vector!("chrome_mdns_offer", [(true, 1, 0)], lite: false, notes: [], whole: false),
    vector!("firefox_offer", [(true, 5, 0), (true, 0, 0)], lite: false, notes: [], whole: true),
    vector!("safari_answer", [(true, 2, 0)], lite: false, notes: [], whole: true),
    vector!("libnice", [(true, 5, 0)], lite: false, notes: [], whole: true),
    vector!("pion_answer", [(true, 4, 0)], lite: false, notes: [], whole: true),
    vector!("libjuice", [(true, 2, 0)], lite: false, notes: [], whole: true),
    vector!("libdatachannel_offer", [(true, 1, 0)], lite: false, notes: [], whole: true),
    vector!("aioice_offer", [(true, 2, 0)], lite: false, notes: [], whole: true),
    vector!("rtpengine_offer", [(true, 4, 0)], lite: false, notes: [], whole: true),
    vector!("janus_answer", [(true, 2, 0), (false, 0, 0)], lite: false, notes: [], whole: true),
    vector!("mediasoup_answer", [(true, 2, 0)], lite: true, notes: [], whole: true),
    vector!("livekit_answer", [(true, 3, 0)], lite: true, notes: [], whole: true),
    vector!("cisco_cube_answer", [(true, 2, 0)], lite: true, notes: [], whole: true),
    vector!(
        "audiocodes_answer", [(true, 2, 0)], lite: true,
        notes: [IceNoteKind::Blanks, IceNoteKind::Blanks, IceNoteKind::LiteInSections], whole: true
    ),
    // Its TCP candidates are of a draft that never became RFC 6544.
    vector!("teams_offer", [(true, 2, 2)], lite: false, notes: [], whole: true),
    vector!("whip_offer_client", [(true, 0, 0), (false, 0, 0)], lite: false, notes: [], whole: false),
    vector!("whip_answer", [(true, 1, 0), (false, 0, 0)], lite: true, notes: [], whole: true),
    vector!(
        "whep_answer", [(true, 2, 0)], lite: true,
        notes: [IceNoteKind::CandidateOutside, IceNoteKind::CandidateOutside], whole: true
    ),
];

/// The ICE of a description as SDP.
fn write(description: &IceDescription) -> String {
    let mut text = String::from("v=0\r\n");
    if !description.bundle.is_empty() {
        text += &format!("a=group:BUNDLE {}\r\n", description.bundle.join(" "));
    }
    text += &description.session_attributes().to_string();
    for media in &description.media {
        text += &format!("m={}\r\n", media.m_line);
        text.extend(media.mid.as_ref().map(|mid| format!("a=mid:{mid}\r\n")));
        text += if media.bundle_only { "a=bundle-only\r\n" } else { "" };
        text += if media.rtcp_mux { "a=rtcp-mux\r\n" } else { "" };
        text += &media.attributes().to_string();
    }
    text
}

fn read(vector: &Vector) -> IceDescription {
    vector.text.parse().unwrap_or_else(|error| panic!("{}: {error}", vector.name))
}

/// Req: 8839-5.1-a
/// Req: 8839-5.4-c
/// Req: 8839-5.3-a
#[test]
fn what_others_write_is_understood_and_written_again() {
    for vector in &VECTORS {
        let one = read(vector);
        let name = vector.name;
        let said = |media: &nilas::IceMedia| {
            (one.credentials(media).is_some() && !media.is_rejected(), media.candidates.len(), media.skipped_count)
        };
        assert_eq!(one.media.iter().map(said).collect::<Vec<_>>(), vector.sections, "{name}");
        assert_eq!(one.lite, vector.is_lite, "{name}");
        assert_eq!(one.notes.iter().map(|note| note.kind).collect::<Vec<_>>(), vector.notes, "{name}");
        // Every candidate line comes out as it went in, or is counted.
        let lines: Vec<&str> = vector.text.lines().filter(|line| line.starts_with("a=candidate")).collect();
        let found = one.media.iter().flat_map(|media| &media.candidates);
        for candidate in found.clone() {
            assert!(lines.contains(&format!("a={candidate}").as_str()), "{name}: {candidate}");
        }
        let skipped: usize = one.media.iter().map(|media| media.skipped_count).sum();
        assert_eq!(found.count() + skipped, lines.len(), "{name}");
        // What is written says the same.
        let again: IceDescription = write(&one).parse().unwrap();
        assert_eq!(write(&again), write(&one), "{name}");
        assert_eq!((again.lite, &again.bundle, again.trickle()), (one.lite, &one.bundle, one.trickle()), "{name}");
        for (again_media, media) in again.media.iter().zip(&one.media) {
            assert_eq!(again.credentials(again_media), one.credentials(media), "{name}");
            assert_eq!(again_media.candidates, media.candidates, "{name}");
            assert_eq!(again.has_ended(again_media), one.has_ended(media), "{name}");
        }
        // Whatever ends the lines.
        for end in ["\n", "\r"] {
            let other: IceDescription = vector.text.replace("\r\n", end).parse().unwrap();
            assert_eq!(write(&other), write(&one), "{name} {end:?}");
        }
    }
}

/// Req: 8840-4.4-a
#[test]
fn fragments_of_clients_and_servers_of_whip_are_taken() {
    let answer = read(VECTORS.iter().find(|vector| vector.name == "whip_offer_client").unwrap());
    let head = "a=ice-ufrag:EsAw\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\n";
    let lines = "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n\
                 a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host generation 0 ufrag EsAw network-id 2\r\n\
                 a=end-of-candidates\r\n";
    let forms = [
        // RFC 9725 §4.3.2.
        format!("a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n{head}{lines}"),
        format!("{head}m=audio 9 RTP/AVP 0\r\na=mid:0\r\n{lines}"),
        // Clients that leave something out.
        format!("{head}a=mid:0\r\n{lines}"),
        format!("{head}{lines}"),
        format!("{head}m=audio 9 RTP/AVP 0\r\n{lines}").replace("\r\n", "\n"),
    ];
    for form in forms {
        let mut receiver = TrickleReceiver::new(&answer);
        let items = receiver.receive(&form.parse::<TrickleFragment>().unwrap());
        assert_eq!(items.map(|items| items.len()), Ok(3), "{form}");
        assert_eq!(receiver.ignored(), 0);
    }
}

/// Answers checks as the agent that has written the description would.
fn answer(network: &mut Network, delivery: &Delivery, theirs: &Credentials) {
    let Some(request) = Wire::decode(&delivery.payload).request().cloned() else { return };
    let SocketAddr::V4(seen) = delivery.source else { return };
    let message = MessageBuilder::binding_success(request.id).mapped_v4(seen).integrity(&theirs.password).fingerprint();
    network.send(delivery.host, delivery.destination, delivery.source, &message.build());
}

/// Req: 8445-6.1.2.2-a
#[test]
fn agents_connect_to_what_others_describe() {
    for vector in VECTORS.iter().filter(|vector| vector.is_whole) {
        let one = read(vector);
        let section = one.only_section().expect(vector.name);
        let media = &one.media[section];
        let theirs = one.credentials(media).unwrap();
        let mut network = Network::new(Seed::from_name(vector.name));
        network.set_default_link(Link::with_delay(ms(25)));
        let (host, other) = (network.add_host("us"), network.add_host(vector.name));
        let ip: IpAddr = "203.0.113.200".parse().unwrap();
        network.add_interface(host, ip).unwrap();
        let addresses = media.candidates.iter().filter_map(|candidate| candidate.socket_address());
        let mut there: Vec<IpAddr> = addresses.map(|address| address.ip()).filter(IpAddr::is_ipv4).collect();
        there.sort_unstable();
        there.dedup();
        there.iter().for_each(|ip| network.add_interface(other, *ip).unwrap());
        let agent = Agent::new(Config::default(), Role::Controlling, Seed::from_name(vector.name)).unwrap();
        let mut us = Peer::new(host, agent);
        let stream = us.agent.add_stream(1).unwrap();
        let now = network.now();
        us.add_socket(now, stream, ComponentId::RTP, SocketAddr::new(ip, 5000)).unwrap();
        us.agent.end_of_local_candidates(now, stream).unwrap();
        us.drain(now, &mut network);
        let remote = RemoteDescription::new(theirs.clone())
            .with_lite(one.lite)
            .with_trickle(one.trickle())
            .with_ice2(one.ice2())
            .with_candidates(media.candidates.clone());
        us.agent.set_remote_description(now, stream, &remote).unwrap();
        us.drain(now, &mut network);
        let end = now + secs(10);
        while us.agent.selected_pair(stream, ComponentId::RTP).is_none() {
            let steps = [network.next_delivery(), us.agent.poll_timeout()];
            let at = steps.into_iter().flatten().min().filter(|at| *at <= end);
            let at = at.unwrap_or_else(|| panic!("{} is not reached: {:?}", vector.name, us.events));
            network.advance_to(at);
            while let Some(delivery) = network.pop_delivery() {
                if delivery.host == host {
                    us.deliver(at, &delivery);
                } else {
                    answer(&mut network, &delivery, &theirs);
                }
            }
            us.agent.handle_timeout(at);
            us.drain(at, &mut network);
        }
        let pair = us.agent.selected_pair(stream, ComponentId::RTP).unwrap();
        assert!(matches!(pair.remote.address(), CandidateAddress::Socket(to) if there.contains(&to.ip())));
        assert!(us.events.iter().any(|(_, event)| matches!(event, Event::SelectedPairChanged { .. })));
    }
}
