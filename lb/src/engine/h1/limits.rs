//! The limits as the configuration has them. Apart from the readers, which know no configuration.

use super::head::HeadLimits;

impl From<&lb_config::Limits> for HeadLimits {
    fn from(limits: &lb_config::Limits) -> Self {
        Self::new(limits.max_header_bytes, limits.max_headers)
    }
}
