//! The laws that every [`Protocol`](duologue_core::Protocol) keeps on a [`Session`](duologue_core::Session), and an
//! adversarial driver that makes any order of legal calls and checks them after each.
//!
//! A canonical loop (read, write, poll) finds little: it never lets a deadline pass between two facts, never leaves
//! events untaken while the peer goes on, never closes twice. The driver here does all that over two sessions joined by
//! a link of tiny capacity, with hostile bytes, faults, a clock that jumps, and an application that may sleep. Each run
//! is a script of calls; one that breaks a law is replayed, shrunk, and printed with its seed.
//!
//! To check a protocol of your own, describe it as a [`Subject`] and call [`run`]:
//!
//! ```
//! use duologue_laws::{run, subjects::Lines};
//!
//! let report = run(&Lines, 20, 1).unwrap_or_else(|failure| panic!("{failure}"));
//! assert_eq!(report.cases, 20);
//! ```
//!
//! The laws are listed in [`Law`]. Every one is a function in `laws.rs`, or in `ending.rs` for those about the end.

mod call;
mod coverage;
mod ending;
mod generate;
mod law;
mod laws;
mod model;
mod oracle;
mod run;
mod side;
pub mod streams;
mod subject;
pub mod subjects;
mod world;

pub use call::{Call, Op};
pub use coverage::Coverage;
pub use ending::Ending;
pub use generate::Mood;
pub use law::{Broken, Law};
pub use model::{Joint, Model, Searched, every_move, search};
pub use run::{Failure, Report, Script, check, replay, run};
pub use subject::{CommandOf, Drained, End, EventOf, Handling, Reference, Role, Subject, ViolationOf};
pub use world::World;
