//! A peer with a line protocol: one agent, one stream, one component, real sockets, driven by JSON lines.
//!
//! It reads one JSON object a line from stdin and writes one a line to stdout, so that any program can be the signalling
//! channel between two of these, or between one of these and another implementation:
//!
//! ```text
//! <- {"type":"hello","proto":1,"name":"nilas","version":"0.1.0","features":["data","selected","role"]}
//! -> {"type":"start","role":"controlling","ipv6":false,"addresses":[]}
//! <- {"type":"credentials","ufrag":"8hhYsd+4","pwd":"asd88fgpdd777uzjYhagZg/1","lite":false,"generation":0}
//! <- {"type":"candidate","candidate":"candidate:1 1 udp 2130706431 10.1.0.2 5000 typ host","mid":"0","generation":0}
//! <- {"type":"end-of-candidates","mid":"0","generation":0}
//! -> credentials, candidate and end-of-candidates of the other side, word for word
//! <- {"type":"state","state":"checking","generation":0}
//! <- {"type":"state","state":"connected","generation":0}
//! <- {"type":"role","role":"controlling","generation":0}
//! <- {"type":"selected","local":"candidate:..","remote":"candidate:..","generation":0}
//! -> {"type":"send","data":"hello"}
//! <- {"type":"data","data":"hello","generation":0}
//! -> {"type":"close"}
//! ```
//!
//! `generation` counts ICE restarts. Messages and members that are not known are ignored. The process ends with status 0
//! on `close` and at the end of stdin.
//!
//! One thread owns the agent. Threads that block on stdin and on the sockets hand it what they read through one channel
//! (`input`), and it sleeps on that channel until the agent's next deadline (`session`).

#![expect(clippy::wildcard_enum_match_arm, reason = "an application picks what it has a use for")]

mod connections;
mod input;
mod protocol;
mod session;
mod sockets;
mod tls;

use std::error::Error;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};

use input::Input;
use protocol::{Command, Output, Report, Start};
use session::Session;

/// How many inputs may wait: more than that stay in the buffers of the sockets, which drop what does not fit.
const MAX_WAITING: usize = 1024;

fn main() -> ExitCode {
    let mut output = Output::stdout();
    let Err(error) = run(&mut output) else { return ExitCode::SUCCESS };
    eprintln!("{error}");
    // If stdout is what is broken, nobody reads this.
    let _ = output.write(&Report::Error { message: &error.to_string() });
    ExitCode::FAILURE
}

fn run(output: &mut Output) -> Result<(), Box<dyn Error>> {
    let (sender, inputs) = mpsc::sync_channel(MAX_WAITING);
    output.write(&Report::hello())?;
    input::read_stdin(sender.clone());
    let Some(start) = wait_for_start(&inputs, output)? else { return Ok(()) };
    Session::start(&start, sender, output)?.run(&inputs)
}

/// The first `start`; `None` if the session ends before it.
fn wait_for_start(inputs: &Receiver<Input>, output: &mut Output) -> Result<Option<Start>, Box<dyn Error>> {
    loop {
        match inputs.recv()? {
            Input::Command(Command::Start(start)) => return Ok(Some(start)),
            Input::Command(Command::Close) | Input::End => return Ok(None),
            Input::BadLine(message) => output.write(&Report::Error { message: &message })?,
            _ => {}
        }
    }
}
