#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod connect;
mod connection;
mod error;
mod hub;
mod open;
mod split;
mod stream;
mod testing;

pub use connect::{Adopt, Dial, Options};
pub use connection::Connection;
pub use error::{ConnectError, SendError};
pub use split::{RecvHalf, SendHalf};
pub use testing::{ManualClock, Pipe, pipe};

#[doc(no_inline)]
pub use duologue_core as core;
