//! Frames: a length of two bytes, and so many bytes (RFC 4571 §2).

use alloc::vec::Vec;

/// Length of the prefix of a frame.
const PREFIX: usize = 2;

/// A frame that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'i> {
    /// It is whole in what came in: its payload.
    Whole(&'i [u8]),
    /// It came in pieces: prefix and payload.
    Joined(Vec<u8>),
}

/// Finds the frames in a stream of bytes that comes in pieces.
///
/// A piece of a frame is kept until the rest comes: at the most 65,537 bytes, and only those that have come,
/// whatever the prefix says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Framer {
    part: Vec<u8>,
}

impl Framer {
    /// The longest frame.
    #[cfg(test)]
    pub(crate) const MOST: usize = PREFIX + u16::MAX as usize;

    /// Takes what belongs to the next frame off the input; `None` once all is taken and no frame is complete.
    ///
    /// A frame that begins in a piece is kept in `spare`, which is taken for it.
    pub(crate) fn next<'i>(&mut self, input: &mut &'i [u8], spare: &mut Vec<u8>) -> Option<Frame<'i>> {
        if self.part.is_empty() {
            if let Some((frame, rest)) = whole(input) {
                *input = rest;
                return Some(Frame::Whole(frame));
            }
            if input.is_empty() {
                return None;
            }
            self.part = core::mem::take(spare);
            self.part.clear();
        }
        self.take(input, PREFIX);
        let length = PREFIX + length(&self.part)?;
        self.take(input, length);
        (self.part.len() == length).then(|| Frame::Joined(core::mem::take(&mut self.part)))
    }

    /// Takes input until there are so many bytes.
    fn take(&mut self, input: &mut &[u8], wanted: usize) {
        let missing = wanted.saturating_sub(self.part.len()).min(input.len());
        let (head, rest) = input.split_at_checked(missing).unwrap_or_default();
        self.part.extend_from_slice(head);
        *input = rest;
    }

    /// What there is of a frame that is not complete: prefix and payload.
    pub(crate) fn part(&self) -> &[u8] {
        &self.part
    }
}

/// The length of the payload that a prefix tells.
fn length(bytes: &[u8]) -> Option<usize> {
    bytes.first_chunk().map(|prefix| usize::from(u16::from_be_bytes(*prefix)))
}

/// The payload of a frame at the beginning, and what is behind it.
pub(super) fn whole(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, behind) = bytes.split_at_checked(PREFIX)?;
    behind.split_at_checked(length(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Framing;

    fn payload(length: usize, seed: usize) -> Vec<u8> {
        (0..length).map(|i| u8::try_from((i * 31 + seed * 17 + i / 251) % 256).unwrap()).collect()
    }

    fn framed(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for payload in payloads {
            assert!(Framing::STREAM.put(payload, &mut stream).is_some());
        }
        stream
    }

    /// Feeds pieces; gives the payloads.
    fn feed<'p>(framer: &mut Framer, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Vec<u8>> {
        let (mut frames, mut spare) = (Vec::new(), Vec::new());
        for mut piece in pieces {
            while let Some(frame) = framer.next(&mut piece, &mut spare) {
                match frame {
                    Frame::Whole(payload) => frames.push(payload.to_vec()),
                    Frame::Joined(bytes) => {
                        frames.push(bytes[PREFIX..].to_vec());
                        spare = bytes;
                    }
                }
            }
            assert!(piece.is_empty() && framer.part().len() <= Framer::MOST);
        }
        frames
    }

    /// Req: 4571-2-a
    #[test]
    fn frames_of_64_kib_come_out_whole_however_the_stream_is_split() {
        let payloads = [payload(1200, 1), payload(0, 2), payload(65_535 - 2402, 3), payload(1, 4), payload(1199, 5)];
        let stream = framed(&payloads);
        assert!(stream.len() >= 64 * 1024);
        for split in 0..=stream.len() {
            let (head, tail) = stream.split_at(split);
            let mut framer = Framer::default();
            let frames = feed(&mut framer, [head, tail]);
            assert!(frames == payloads, "split at {split}");
            assert!(framer.part().is_empty());
        }
        for size in [1, 2, 3, 7, 1000] {
            assert!(feed(&mut Framer::default(), stream.chunks(size)) == payloads, "pieces of {size}");
        }
    }

    /// Req: 4571-2-a
    #[test]
    fn the_shortest_and_the_longest_frame_are_legal_and_nothing_longer_is() {
        let payloads = [payload(0, 0), payload(65_535, 1), payload(0, 2)];
        let stream = framed(&payloads);
        assert!(feed(&mut Framer::default(), [stream.as_slice()]) == payloads);
        assert!(feed(&mut Framer::default(), stream.chunks(1)) == payloads);
        assert!(!Framing::STREAM.can_hold(65_536));
    }

    /// Scenario: S138
    #[test]
    fn a_frame_that_never_ends_holds_only_what_has_come() {
        let mut framer = Framer::default();
        let mut spare = Vec::new();
        assert_eq!(framer.next(&mut [0xff_u8, 0xff, 1, 2, 3].as_slice(), &mut spare), None);
        assert_eq!(framer.part(), [0xff, 0xff, 1, 2, 3]);
        assert!(framer.part.capacity() < 64);
    }

    #[test]
    fn a_whole_frame_is_borrowed_from_the_input() {
        let stream = framed(&[payload(10, 1), payload(20, 2)]);
        let mut input = stream.as_slice();
        let mut spare = Vec::new();
        let mut framer = Framer::default();
        assert_eq!(framer.next(&mut input, &mut spare), Some(Frame::Whole(&stream[2..12])));
        assert_eq!(framer.next(&mut input, &mut spare), Some(Frame::Whole(&stream[14..34])));
        assert_eq!(framer.next(&mut input, &mut spare), None);
        assert_eq!((spare.capacity(), framer.part.capacity()), (0, 0));
    }
}
