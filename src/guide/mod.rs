//! How to use the crate, and what to expect of it. Documentation only.
//!
//! * [`run_loop`]: the loop around an agent, whole, and how it fits threads and async runtimes.
//! * [`defaults`]: every value of [`Config`](crate::Config) with its reason, and all times.
//! * [`gathering`]: candidates from STUN and TURN servers, what of the host is shown, and what goes wrong.
//! * [`liveness`]: what happens when the network dies: consent, restarts, and all states and times.
//! * [`webrtc`]: what the W3C calls things, and where they are.
//! * [`coverage`]: which parts of which RFC are there, and what is left out.
//! * [`security`]: what is believed when, what an attacker can do, and the limits.

#[doc = include_str!("run_loop.md")]
pub mod run_loop {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("gathering.md")]
pub mod gathering {}

#[doc = include_str!("liveness.md")]
pub mod liveness {}

#[doc = include_str!("coverage.md")]
pub mod coverage {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("webrtc.md")]
pub mod webrtc {}
