#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod brpc;
pub mod canary;
pub mod codecs;
pub mod driver;
pub mod faults;
mod feed;
pub mod framing;
pub mod http1;
mod play;
pub mod session;
pub mod websocket;
pub mod websocket_deflate;
pub mod websocket_handshake;
pub mod yamux;
pub mod yamux_crate;

use arbitrary::{Arbitrary, Unstructured};

/// A fuzz target: what libFuzzer calls, and what the replay of its corpus calls.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its file in `fuzz/fuzz_targets` and of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Runs one input. It panics if what was to hold did not.
    pub run: fn(&[u8]),
    /// The input in words.
    pub show: fn(&[u8]) -> String,
}

/// Every target, by the modules of that name: each has `Input`, `run` and `show`.
macro_rules! targets {
    ($( $name:ident ),* $(,)?) => {
        /// Every target.
        pub const TARGETS: &[Target] =
            &[ $( Target { name: stringify!($name), run: $name::run, show: |data| show::<$name::Input>(data) } ),* ];
    };
}

targets!(
    framing,
    session,
    driver,
    faults,
    codecs,
    websocket,
    websocket_deflate,
    websocket_handshake,
    http1,
    yamux,
    yamux_crate,
    brpc,
    canary
);

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The structured input that `data` stands for. Too few bytes are filled up with zeros and empty lists.
fn parse<'a, I: Arbitrary<'a>>(data: &'a [u8]) -> Option<I> {
    I::arbitrary_take_rest(Unstructured::new(data)).ok()
}

fn show<'a, I: Arbitrary<'a> + core::fmt::Debug>(data: &'a [u8]) -> String {
    parse::<I>(data).map_or_else(|| "no input".into(), |input| format!("{input:#?}"))
}
