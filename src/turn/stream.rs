//! Messages of a server that is reached over a stream: where each ends (RFC 8656 §12.5).

use alloc::vec::Vec;

use crate::stun::server::HEADER;

/// Length of the frame that a stream begins with, padding included; `None` until enough of it is there to say.
fn frame_length(stream: &[u8]) -> Result<Option<usize>, OutOfStep> {
    let Some(&[first, _, l1, l2]) = stream.first_chunk::<4>() else {
        return if stream.first().is_some_and(|first| *first >= 0x50) { Err(OutOfStep) } else { Ok(None) };
    };
    let length = usize::from(u16::from_be_bytes([l1, l2]));
    match first {
        0..0x40 if length % 4 == 0 => Ok(Some(HEADER + length)),
        0x40..0x50 => Ok(Some(4 + length.next_multiple_of(4))),
        _ => Err(OutOfStep),
    }
}

/// Nothing that a server sends begins so: the stream is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfStep;

/// A message or ChannelData that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ServerFrame<'i> {
    /// It is whole in what came in.
    Whole(&'i [u8]),
    /// It came in pieces.
    Joined(Vec<u8>),
}

/// Finds the frames in a stream that comes in pieces. A piece is kept until the rest comes: at the most 65,555 bytes, and
/// only those that have come.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerFramer {
    part: Vec<u8>,
}

impl ServerFramer {
    /// Takes what belongs to the next frame off the input; `None` once all is taken and no frame is complete.
    ///
    /// # Errors
    /// [`OutOfStep`] if no frame begins there.
    pub(crate) fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        spare: &mut Vec<u8>,
    ) -> Result<Option<ServerFrame<'i>>, OutOfStep> {
        if self.part.is_empty() {
            if let Some((frame, rest)) = frame_length(input)?.and_then(|length| input.split_at_checked(length)) {
                *input = rest;
                return Ok(Some(ServerFrame::Whole(frame)));
            }
            if input.is_empty() {
                return Ok(None);
            }
            self.part = core::mem::take(spare);
            self.part.clear();
        }
        self.take(input, 4);
        let Some(length) = frame_length(&self.part)? else { return Ok(None) };
        self.take(input, length);
        let is_whole = self.part.len() == length;
        Ok(is_whole.then(|| ServerFrame::Joined(core::mem::take(&mut self.part))))
    }

    /// Takes input until there are so many bytes.
    fn take(&mut self, input: &mut &[u8], wanted: usize) {
        let missing = wanted.saturating_sub(self.part.len()).min(input.len());
        let (head, rest) = input.split_at_checked(missing).unwrap_or_default();
        self.part.extend_from_slice(head);
        *input = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Framing;
    use crate::stun::server::{Method, ServerWriter, kinds};
    use crate::stun::{Class, TransactionId};

    /// A stream with messages and ChannelData of all paddings, and its frames.
    fn stream() -> (Vec<u8>, Vec<Vec<u8>>) {
        let framing = Framing { channel: Some(0x4001), has_length: true, is_padded: true, indication: None };
        let mut frames = Vec::new();
        for length in [0, 1, 2, 3, 4, 1200, 65_535] {
            let mut frame = Vec::new();
            framing.put(&alloc::vec![7; length], &mut frame).unwrap();
            frames.push(frame);
            let mut message = ServerWriter::new(Class::Success, Method::Refresh, TransactionId([3; 12]));
            message.put(kinds::LIFETIME, &600_u32.to_be_bytes());
            frames.push(message.finish(None));
        }
        (frames.concat(), frames)
    }

    fn feed<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<Vec<Vec<u8>>, OutOfStep> {
        let (mut framer, mut frames, mut spare) = (ServerFramer::default(), Vec::new(), Vec::new());
        for mut piece in pieces {
            while let Some(frame) = framer.next(&mut piece, &mut spare)? {
                match frame {
                    ServerFrame::Whole(bytes) => frames.push(bytes.to_vec()),
                    ServerFrame::Joined(bytes) => {
                        frames.push(bytes.clone());
                        spare = bytes;
                    }
                }
            }
        }
        assert!(framer.part.is_empty());
        Ok(frames)
    }

    /// Req: 8656-12.5-a
    #[test]
    fn frames_come_out_whole_however_the_stream_is_split() {
        let (bytes, frames) = stream();
        for size in [1, 2, 3, 5, 19, 1000, usize::MAX] {
            assert!(feed(bytes.chunks(size)).as_ref() == Ok(&frames), "{size}");
        }
    }

    #[test]
    fn what_no_server_sends_is_out_of_step() {
        for bad in [&[0x80][..], &[0x50, 0, 0, 0], &[0, 1, 0, 3], &[0xff; 8]] {
            assert_eq!(feed([bad]), Err(OutOfStep));
        }
        assert_eq!(frame_length(&[0x40, 0, 0]), Ok(None));
        assert_eq!(frame_length(&[]), Ok(None));
    }

    #[test]
    fn a_frame_that_never_ends_holds_only_what_has_come() {
        let (mut framer, mut spare) = (ServerFramer::default(), Vec::new());
        assert_eq!(framer.next(&mut [0x40_u8, 0, 0xff, 0xff, 1].as_slice(), &mut spare), Ok(None));
        assert!(framer.part.capacity() < 64);
    }
}
