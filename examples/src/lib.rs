//! Nothing but its examples: see `examples/`.
