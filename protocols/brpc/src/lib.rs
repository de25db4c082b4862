#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod body;
mod call;
mod config;
mod error;
mod machine;
pub mod meta;
mod status;
pub mod wire;

pub use body::{Checksum, Compression};
pub use call::{
    AcceptError, BrpcCommand, BrpcEvent, Call, CallError, CallId, Reply, Request, RequestId, Response, code,
};
pub use config::{BrpcConfig, BrpcError};
pub use error::BrpcViolation;
pub use machine::{Brpc, Remote, Role};
pub use prost;
pub use status::{ErrorCode, Status};
