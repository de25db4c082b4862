#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod agenda;
mod app;
mod check;
mod clock;
mod coverage;
mod endpoint;
mod fault;
mod host;
mod inject;
mod kernel;
mod lane;
mod machine;
mod scenario;
mod schedule;
mod seen;
mod svg;
pub mod swarm;
mod timers;
mod trace;
mod wire;
mod world;

pub use duologue_core as core;

pub use app::{App, Io};
pub use check::{Check, Failure, Held, SCENARIO_VARIABLE, Verdict, check};
pub use coverage::Coverage;
pub use endpoint::Endpoint;
pub use fault::{Fault, TimedFault, Way};
pub use host::{Listen, Overflow};
pub use kernel::{ConnectError, Read};
pub use lane::Link;
pub use machine::{Ended, HostId, Machine, MachineId, Net, Report, SocketId};
pub use scenario::Scenario;
pub use schedule::{FaultSchedule, Shape};
pub use seen::SEEN;
pub use svg::svg;
pub use timers::{SocketOptions, TcpKeepalive};
pub use trace::{End, Entry, Happening};
pub use world::{Outcome, World};
