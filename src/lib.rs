//! Pixgate: a source URL in, an AVIF or WebP of the right size out, safely.

pub mod allocator;
pub mod cache;
pub mod format;
pub mod imaging;
pub mod record;
pub mod telemetry;
pub mod variant;
