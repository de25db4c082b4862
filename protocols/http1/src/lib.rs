#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;

mod client;
mod error;
mod headers;
mod limits;
mod message;
mod server;
pub mod sse;
mod timer;
mod wire;

pub use client::{Client, ClientCommand, ClientEvent};
pub use error::Violation;
pub use headers::Headers;
pub use limits::{ClientSettings, Continue, Limits, ServerSettings, Waits};
pub use message::{Body, Incoming, Request, RequestHead, Response, ResponseHead};
pub use server::{Server, ServerCommand, ServerEvent};
pub use timer::Timer;

#[doc(no_inline)]
pub use http;

/// The code of a session that ended because the protocol's own rules said so: a `Connection: close` whose last message
/// is done, the last request that a connection may carry, more of an unwanted body than is drained.
pub const DONE: duologue_core::Code = duologue_core::Code(0);
