//! The readers of HTTP/1.1 and what must hold of them, compiled alone.
//!
//! The sources are those of `lb`, in a tree of the same shape. All of `lb` would bring pingora and a few hundred crates more, to be compiled
//! with coverage counters for nothing.

#![allow(dead_code)]

#[path = "../../../lb/src/exchange"]
mod exchange {
    pub mod head;
}

#[path = "../../../lb/src/engine"]
mod engine {
    pub mod h1 {
        pub mod body;
        mod chars;
        mod error;
        mod fields;
        pub mod head;
        pub mod invariants;
        mod parsed;
        pub mod response;
        mod span;
        mod target;
        mod view;
    }
}

pub use engine::h1::invariants;
