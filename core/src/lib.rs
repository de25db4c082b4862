#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;

mod closed;
mod config;
pub mod driver;
mod error;
pub mod framed;
pub mod halves;
pub mod pool;
mod protocol;
pub mod reconnect;
mod recv_buf;
mod rng;
mod send_queue;
mod session;
pub mod streams;
mod time;
mod timers;

pub use closed::{Cause, CloseIntent, Closed, Code, Phase, Release, Side};
pub use config::{CloseOrder, Config, Delivery, Keepalive, Limits, LimitsError, OnPeerFinish, Timeouts};
pub use error::{FaultKind, LimitExceeded, Misuse, Operation, SendError, TransportFault};
pub use halves::{RecvState, SendState};
pub use protocol::{CloseStep, Cx, EofAction, Fault, InPlace, Payload, Protocol, Refusal, Refused, Step};
pub use recv_buf::RecvBuf;
pub use rng::Rng;
pub use send_queue::{NoRoom, SendQueue, Writer};
pub use session::{Event, Interest, ProtocolMut, Replies, Session, Stats, UpgradeRefused, WhyNot};
pub use time::{Deadline, Instant, TimeoutReason};
pub use timers::{NoTimers, TimerSet, Timers};
