//! The adapter that `docs/integration-guide.md` builds step by step: std's non-blocking sockets and a loop that polls
//! them. The guide's first three blocks are these files, word for word; `tests/guide.rs` sees to it.

mod clock;
mod flag;
mod socket;

pub use clock::Clock;
pub use flag::Flag;
pub use socket::{Pool, Socket};
