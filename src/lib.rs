//! Pixgate: a source URL in, an AVIF or WebP of the right size out, safely.

pub mod allocator;
pub mod cache;
pub mod format;
pub mod record;
pub mod source;
pub mod telemetry;
pub mod variant;
