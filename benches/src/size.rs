//! What an idle session weighs.

use std::mem::size_of;

use duologue_core::Session;
use duologue_core::framed::{Delimited, Framed, LengthPrefixed};
use duologue_tokio::Connection;

/// A type and its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) name: &'static str,
    pub(crate) bytes: usize,
}

pub(crate) fn sizes() -> [Size; 3] {
    [
        Size { name: "session, length-prefixed", bytes: size_of::<Session<Framed<LengthPrefixed>>>() },
        Size { name: "session, delimited", bytes: size_of::<Session<Framed<Delimited>>>() },
        Size { name: "tokio connection, length-prefixed", bytes: size_of::<Connection<Framed<LengthPrefixed>>>() },
    ]
}
