//! `queue` of an upstream.

use crate::fields::{Check, Fields};
use crate::model::Queue;
use crate::raw::QUEUE;
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
