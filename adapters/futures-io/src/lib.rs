#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "async-io")]
mod async_io;
#[cfg(feature = "async-net")]
mod async_net;
#[cfg(feature = "async-std")]
mod async_std;
#[cfg(feature = "async-io")]
mod clock;
#[cfg(feature = "async-io")]
mod dial;
mod scratch;
mod stream;
#[cfg(feature = "rustls")]
mod tls;
#[cfg(all(feature = "rustls", feature = "async-io"))]
mod tls_target;

#[cfg(feature = "async-io")]
pub use clock::Clock;
#[cfg(feature = "async-io")]
pub use dial::{AsIs, UnixPath};
pub use duologue_async::{fault, reset_on_drop, set_tcp_options};
pub use stream::{ByteStream, StreamTransport};
#[cfg(all(feature = "rustls", feature = "async-io"))]
pub use tls_target::{Rustls, TlsConnector, TlsStream, TlsTarget};

#[doc(no_inline)]
pub use duologue_core as core;
