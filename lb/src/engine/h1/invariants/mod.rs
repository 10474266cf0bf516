//! What must hold of the readers for every input, for whoever makes inputs up.
//!
//! Each function takes bytes as they could come from the network and panics where a promise is broken: that the answer is independent of how
//! the bytes were cut, and that what is accepted has one reading, which is tested by letting others read it too. The tests here make up a few
//! thousand inputs, always the same; `make fuzz` lets libFuzzer look for inputs that reach new code, for as long as one likes.

mod bodies;
mod heads;

pub use bodies::chunked_body;
pub use heads::{request_head, response_head};

#[cfg(test)]
mod tests;
