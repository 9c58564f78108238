//! Pixgate: a source URL in, an AVIF or WebP of the right size out, safely.

pub mod format;
pub mod imaging;
pub mod telemetry;
pub mod variant;
