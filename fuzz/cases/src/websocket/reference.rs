//! A reader that sees the whole stream at once, written from RFC 6455 and not from our code.

use duologue_websocket::Role;

use super::{End, Seen};

pub(crate) const MAX_FRAME: u64 = 300;
pub(crate) const MAX_MESSAGE: u64 = 400;
pub(crate) const MAX_FRAGMENTS: u32 = 6;

struct Reader<'a> {
    role: Role,
    long_lengths: bool,
    rest: &'a [u8],
    message: Option<Message>,
    seen: Vec<Seen>,
}

struct Message {
    text: bool,
    fragments: u32,
    announced: u64,
    bytes: Vec<u8>,
}

/// What the stream comes to.
pub(crate) fn read(role: Role, long_lengths: bool, stream: &[u8]) -> (Vec<Seen>, End) {
    let mut reader = Reader { role, long_lengths, rest: stream, message: None, seen: Vec::new() };
    loop {
        match reader.frame() {
            Ok(()) => {}
            Err(end) => return (reader.seen, end),
        }
    }
}

const PROTOCOL: End = End::Broken(1002);

impl Reader<'_> {
    /// Reads one frame, or tells how the stream ended.
    fn frame(&mut self) -> Result<(), End> {
        let between = self.rest.is_empty() && self.message.is_none();
        let missing = if between { End::Clean } else { End::Truncated };
        let &[first, second, ref after @ ..] = self.rest else { return Err(missing) };
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
        let control = opcode >= 8;
        if first & 0x30 != 0 || !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) {
            return Err(PROTOCOL);
        }
        if control && (!fin || second & 0x7F > 125 || first & 0x40 != 0) {
            return Err(PROTOCOL);
        }
        let width = match second & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((field, after)) = after.split_at_checked(width) else { return Err(End::Truncated) };
        let len = match width {
            0 => u64::from(second & 0x7F),
            _ => field.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
        };
        let fewest = match len {
            0..126 => 0,
            126..65536 => 2,
            _ => 8,
        };
        if len >> 63 != 0 || (width != fewest && !self.long_lengths) {
            return Err(PROTOCOL);
        }
        let masked = second & 0x80 != 0;
        let Some((key, after)) = after.split_at_checked(if masked { 4 } else { 0 }) else {
            return Err(End::Truncated);
        };
        if masked != (self.role == Role::Server) {
            return Err(PROTOCOL);
        }
        let here = usize::try_from(len).unwrap_or(usize::MAX).min(after.len());
        let (payload, rest) = after.split_at(here);
        let cycle = if masked { key } else { &[0] };
        let payload: Vec<u8> = payload.iter().zip(cycle.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        let complete = here as u64 == len;
        self.rest = rest;
        if control {
            return if complete { self.control(opcode, payload) } else { Err(End::Truncated) };
        }
        self.data(first, fin, opcode, len, payload, complete)
    }

    fn data(
        &mut self,
        first: u8,
        fin: bool,
        opcode: u8,
        len: u64,
        payload: Vec<u8>,
        complete: bool,
    ) -> Result<(), End> {
        // Nothing was negotiated that the first reserved bit could mean.
        if self.message.is_some() != (opcode == 0) || first & 0x40 != 0 {
            return Err(PROTOCOL);
        }
        let mut message =
            self.message.take().unwrap_or(Message { text: opcode == 1, fragments: 0, announced: 0, bytes: Vec::new() });
        message.fragments += 1;
        message.announced += len.min(1 << 40);
        if len > MAX_FRAME {
            return Err(End::Broken(1009));
        }
        if message.fragments > MAX_FRAGMENTS {
            return Err(End::Broken(1008));
        }
        if message.announced > MAX_MESSAGE {
            return Err(End::Broken(1009));
        }
        message.bytes.extend_from_slice(&payload);
        let over = complete && fin;
        if message.text {
            match std::str::from_utf8(&message.bytes) {
                Err(error) if over || error.error_len().is_some() => return Err(End::Broken(1007)),
                _ => {}
            }
        }
        if !complete {
            return Err(End::Truncated);
        }
        if !fin {
            self.message = Some(message);
            return Ok(());
        }
        self.seen.push(if message.text { Seen::Text(message.bytes) } else { Seen::Binary(message.bytes) });
        Ok(())
    }

    fn control(&mut self, opcode: u8, payload: Vec<u8>) -> Result<(), End> {
        match opcode {
            9 => self.seen.push(Seen::Ping(payload)),
            10 => self.seen.push(Seen::Pong(payload)),
            _ => {
                let (code, reason) = match payload[..] {
                    [] => (1005, &[][..]),
                    [_] => return Err(PROTOCOL),
                    [high, low, ref reason @ ..] => (u16::from_be_bytes([high, low]), reason),
                };
                let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
                if !payload.is_empty() && !may_be_sent {
                    return Err(PROTOCOL);
                }
                let reason = std::str::from_utf8(reason).map_err(|_| End::Broken(1007))?;
                self.seen.push(Seen::Close(code, reason.to_owned()));
                return Err(End::Closed);
            }
        }
        Ok(())
    }
}
