//! The adapter of the integration guide, and the examples: see `examples/`.
#![forbid(unsafe_code)]

pub mod first_adapter;

/// The guide's programs, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/integration-guide.md")]
pub struct IntegrationGuide;
