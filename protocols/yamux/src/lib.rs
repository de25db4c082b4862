#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;

mod config;
mod error;
mod machine;
pub mod wire;

pub use config::YamuxConfig;
pub use error::YamuxViolation;
pub use machine::{Role, Yamux, YamuxCommand, YamuxEvent, YamuxTimer};
