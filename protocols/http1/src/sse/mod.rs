//! Server-sent events (WHATWG HTML, section 9.2): the stream's text, both ways, without a session or a clock.
//!
//! A server answers with [`CONTENT_TYPE`] and [`Body::Stream`](crate::Body::Stream), and sends each encoded event as one
//! `Data`. A client feeds each `Data` to a [`Parser`]. When the connection is lost it waits [`Parser::retry`], or as long
//! as its reconnect policy says, and asks again with `Last-Event-ID` set to [`Parser::last_event_id`]; the parser that
//! goes on with the new stream is made by [`Parser::resume`].

mod encode;
mod parse;

pub use encode::{EventBuilder, Heartbeat, InvalidEvent, comment, heartbeat, retry};
pub use parse::{Event, Parser, TooLong};

/// The value of Content-Type.
pub const CONTENT_TYPE: &str = "text/event-stream";
/// The most bytes of an id that a [`Parser`] takes: each event has a copy of the last one, so a long one would multiply.
pub const LONGEST_ID: usize = 4096;
/// The request field by which a client says which event it saw last.
pub const LAST_EVENT_ID: &str = "last-event-id";
