//! Helpers shared by the cross-crate tests.

pub mod bounds;
pub mod netns;
pub mod sockets;
pub mod websocket;
pub mod websocket_writers;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
