//! What goes out: messages, whole or in parts, masked and compressed as agreed on.

use duologue_core::{Cx, Payload, Refusal, Rng, SendQueue};

use super::{Sending, WebSocket, keep_reason};
use crate::deflate::Deflater;
use crate::message::{AsBytes, Command, Kind, Part, Role};
use crate::utf8::Utf8;
use crate::wire::{self, CONTINUATION, FIN, HeaderBytes, MASK, MAX_CONTROL, Opcode, PING, PONG, RSV1};

const IN_PARTS: Refusal = Refusal::Invalid("a message in parts is being sent; finish it first");

impl Kind {
    const fn opcode(self) -> u8 {
        match self {
            Self::Text => Opcode::Text as u8,
            Self::Binary => Opcode::Binary as u8,
        }
    }
}

impl WebSocket {
    /// Encodes a command, or leaves everything as it was.
    #[inline(always)]
    pub(super) fn write<B: AsBytes>(&mut self, cx: &mut Cx<'_, Self>, command: &Command<B>) -> Result<(), Refusal> {
        // Apart, so that the context as a whole need not be built to be lent on.
        let (tx, rng) = (&mut *cx.tx, &mut *cx.rng);
        let (opcode, data) = match command {
            Command::Text(text) => (Opcode::Text, text.inner()),
            Command::Binary(bytes) => (Opcode::Binary, bytes),
            other => return self.write_other(tx, rng, other),
        };
        let bytes = data.as_bytes();
        if bytes.len() >= usize::from(self.short_below) {
            return self.write_whole(tx, rng, opcode, data.payload());
        }
        self.write_short(tx, rng, FIN | opcode as u8, bytes)
    }

    /// A short message in one frame: its header and payload are written at once.
    #[inline(always)]
    fn write_short(&mut self, tx: &mut SendQueue, rng: &mut Rng, first: u8, bytes: &[u8]) -> Result<(), Refusal> {
        let len = bytes.len();
        let [high, low] = (len as u16).to_be_bytes();
        if self.role == Role::Server {
            if len < 126 {
                tx.message(2 + len)?.put_slices([&[first, low], bytes]);
            } else {
                tx.message(4 + len)?.put_slices([&[first, 126, high, low], bytes]);
            }
            return Ok(());
        }
        let key = self.keys.next(rng);
        // As one number: compilers take bytes apart that come from one.
        let [first, low] = [first, low].map(u64::from);
        let mask = |copy: &mut [u8]| wire::mask(copy, key);
        if len < 126 {
            let header = first | (u64::from(MASK) | low) << 8 | u64::from(key) << 16;
            let [header @ .., _, _] = header.to_le_bytes();
            tx.message(6 + len)?.put_changed_behind(&header, bytes, mask);
        } else {
            let len = u64::from((len as u16).swap_bytes());
            let header = first | u64::from(MASK | 126) << 8 | len << 16 | u64::from(key) << 32;
            tx.message(8 + bytes.len())?.put_changed_behind(&header.to_le_bytes(), bytes, mask);
        }
        Ok(())
    }

    #[inline(never)]
    fn write_other<B: AsBytes>(
        &mut self,
        tx: &mut SendQueue,
        rng: &mut Rng,
        command: &Command<B>,
    ) -> Result<(), Refusal> {
        match command {
            Command::Part(part) => self.write_part(tx, rng, part),
            Command::Ping(body) => self.write_signal(tx, rng, PING, body.payload()),
            Command::Pong(body) => self.write_signal(tx, rng, PONG, body.payload()),
            Command::CloseReason(reason) => {
                let reason = reason.as_str();
                if reason.len() > MAX_CONTROL - 2 {
                    return Err(Refusal::Invalid("a close reason has at most 123 bytes"));
                }
                self.reason = keep_reason(reason);
                Ok(())
            }
            // The others are messages, see `write`.
            Command::Text(_) | Command::Binary(_) => Ok(()),
        }
    }

    #[inline(never)]
    fn write_whole(
        &mut self,
        tx: &mut SendQueue,
        rng: &mut Rng,
        opcode: Opcode,
        payload: Payload<'_>,
    ) -> Result<(), Refusal> {
        if self.sending.is_some() {
            return Err(IN_PARTS);
        }
        if self.deflate.as_ref().is_some_and(|deflate| deflate.deflater.wants(payload.len())) {
            return self.write_compressed(tx, rng, FIN | RSV1 | opcode as u8, payload.as_slice(), true);
        }
        self.write_frame(tx, rng, FIN | opcode as u8, payload)
    }

    fn write_part<B: AsBytes>(&mut self, tx: &mut SendQueue, rng: &mut Rng, part: &Part<B>) -> Result<(), Refusal> {
        let bytes = part.data.as_bytes();
        let mut sending = match self.sending {
            None if part.first => {
                let compressed = self.deflate.as_ref().is_some_and(|deflate| deflate.deflater.wants(usize::MAX));
                Sending { kind: part.kind, compressed, utf8: Utf8::default() }
            }
            None => return Err(Refusal::Invalid("a part that continues nothing; mark it as the first")),
            Some(_) if part.first => return Err(IN_PARTS),
            Some(sending) if sending.kind != part.kind => {
                return Err(Refusal::Invalid("the parts of a message are all text or all binary"));
            }
            Some(sending) => sending,
        };
        if part.kind == Kind::Text {
            let utf8 = &mut sending.utf8;
            if utf8.feed(bytes).is_err() || (part.last && utf8.finish().is_err()) {
                return Err(Refusal::Invalid("the parts of a text are no UTF-8 together"));
            }
        }
        let opcode = if part.first { part.kind.opcode() } else { CONTINUATION };
        let first = opcode | if part.last { FIN } else { 0 };
        if sending.compressed {
            let rsv1 = if part.first { RSV1 } else { 0 };
            self.write_compressed(tx, rng, first | rsv1, bytes, part.last)?;
        } else {
            self.write_frame(tx, rng, first, part.data.payload())?;
        }
        self.sending = Some(sending).filter(|_| !part.last);
        self.note_short();
        Ok(())
    }

    fn write_signal(
        &mut self,
        tx: &mut SendQueue,
        rng: &mut Rng,
        opcode: u8,
        body: Payload<'_>,
    ) -> Result<(), Refusal> {
        if body.len() > MAX_CONTROL {
            return Err(Refusal::Invalid("pings and pongs have at most 125 bytes"));
        }
        self.write_frame(tx, rng, FIN | opcode, body)
    }

    #[inline]
    fn write_frame(
        &mut self,
        tx: &mut SendQueue,
        rng: &mut Rng,
        first: u8,
        payload: Payload<'_>,
    ) -> Result<(), Refusal> {
        let len = payload.len();
        if self.role == Role::Server {
            let mut out = tx.message(HeaderBytes::size(len, false) + len)?;
            payload.put_behind(HeaderBytes::new(first, len, None).as_slice(), &mut out);
            return Ok(());
        }
        let key = self.keys.next(rng).to_le_bytes();
        let mut out = tx.message(HeaderBytes::size(len, true) + len)?;
        let header = HeaderBytes::new(first, len, Some(key));
        out.put_changed_behind(header.as_slice(), payload.as_slice(), |copy| wire::apply_mask(copy, key));
        Ok(())
    }

    /// Compresses only once there is room for the longest outcome: what went through the compressor has to be sent, or
    /// the peer's window would differ from ours.
    fn write_compressed(
        &mut self,
        tx: &mut SendQueue,
        rng: &mut Rng,
        first: u8,
        payload: &[u8],
        last: bool,
    ) -> Result<(), Refusal> {
        let key = self.new_mask(rng);
        let bound = Deflater::bound(payload.len());
        let mut out = tx.message(HeaderBytes::size(bound, key.is_some()) + bound)?;
        let Some(deflate) = &mut self.deflate else { return Err(Refusal::Invalid("no compression was agreed on")) };
        let Some(bytes) = deflate.deflater.deflate(payload, last) else {
            return Err(Refusal::Invalid("the compressor failed"));
        };
        out.put_slice(HeaderBytes::new(first, bytes.len(), key).as_slice());
        match key {
            Some(key) => out.put_changed(bytes, |copy| wire::apply_mask(copy, key)),
            None => out.put_slice(bytes),
        }
        deflate.deflater.let_go();
        Ok(())
    }

    /// A client masks every frame with a key of its own (RFC 6455 section 5.3).
    pub(super) fn new_mask(&mut self, rng: &mut Rng) -> Option<[u8; 4]> {
        (self.role == Role::Client).then(|| self.keys.next(rng).to_le_bytes())
    }
}
