//! The pure formats of RFC 6455 section 5: frame headers, masks and close bodies. No state, no session.

mod close;
mod header;
mod mask;

pub use close::{CloseCode, CloseFrame};
pub(crate) use close::{close_body, parse_close};
pub(crate) use header::{CLOSE, CONTINUATION, FIN, HeaderBytes, MASK, PING, PONG, Parsed, RSV1, parse};
pub use header::{Header, Opcode, encode_header, parse_header};
pub(crate) use mask::mask;
pub use mask::{apply_mask, rotate_mask};

/// The most bytes of a frame header: 2, an extended length of 8, a masking key of 4.
pub const MAX_HEADER: usize = 14;
/// The most bytes of a control frame's payload (RFC 6455 section 5.5).
pub const MAX_CONTROL: usize = 125;
