//! Gives back the memory that a burst of downloads has left behind.
//!
//! Invariant: only when nothing was downloaded for a while: what is in use again and again is not taken from the heap and
//! put back.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::interval;

use crate::allocator;
use crate::optimizer::Optimizer;

/// The memory tier lets go of what has expired only when it is asked something; so it is asked.
const EVERY: Duration = Duration::from_secs(5);

/// Tidies until the optimizer is gone.
pub fn start(optimizer: &Arc<Optimizer>, runtime: &Handle) {
    runtime.spawn(tidy(Arc::downgrade(optimizer)));
}

async fn tidy(optimizer: Weak<Optimizer>) {
    let mut ticks = interval(EVERY);
    let mut held = 0;
    loop {
        ticks.tick().await;
        let Some(optimizer) = optimizer.upgrade() else { return };
        let downloads = optimizer.tidy();
        if downloads == 0 && held > 0 {
            spawn_blocking(allocator::trim);
        }
        held = downloads;
    }
}
