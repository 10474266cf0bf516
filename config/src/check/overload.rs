//! `queue` and `circuit_breaker` of an upstream.

use crate::fields::{Check, Fields};
use crate::model::{CircuitBreaker, Queue};
use crate::raw::{CIRCUIT_BREAKER, QUEUE};
use crate::read;
use crate::tree::Node;

/// `queue`.
pub(super) fn queue(cx: &Check<'_>, node: &Node) -> Option<Queue> {
    let fields = Fields::open(cx, node, &QUEUE)?;
    let size = fields.count("size");
    let timeout = fields.read("timeout", read::timeout);
    Some(Queue {
        size: size?,
        timeout: timeout?,
    })
}

/// `circuit_breaker`.
pub(super) fn circuit_breaker(cx: &Check<'_>, node: &Node) -> Option<CircuitBreaker> {
    let fields = Fields::open(cx, node, &CIRCUIT_BREAKER)?;
    let error_percent = fields.integer("error_percent");
    let min_requests = fields.count("min_requests");
    let [window, open] = ["window", "open"].map(|name| fields.read(name, read::timeout));
    Some(CircuitBreaker {
        error_percent: error_percent?,
        min_requests: min_requests?,
        window: window?,
        open: open?,
    })
}
