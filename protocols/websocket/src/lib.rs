#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(feature = "deflate")]
mod deflate;
#[cfg(not(feature = "deflate"))]
#[path = "no_deflate.rs"]
mod deflate;
mod error;
pub mod handshake;
mod machine;
mod message;
mod settings;
mod utf8;
pub mod wire;

pub use error::Violation;
pub use handshake::{CheckedHandshake, ClientHandshake, Opened, Rejection, ServerHandshake};
pub use machine::WebSocket;
pub use message::{AsBytes, Command, Event, Kind, Part, Role, Text};
pub use settings::{Deflate, Limits, Settings};
pub use wire::{CloseCode, CloseFrame};
