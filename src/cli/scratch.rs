//! A folder for what need not outlive the process: metadata of a demo or of a developer's service.
//!
//! Invariant: nobody else's before, readable by nobody else meanwhile, gone afterwards; where none can be made, there is none.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

/// See the module's text.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Option<Self> {
        let path = std::env::temp_dir().join(format!("pixgate-{}-{:08x}", std::process::id(), fastrand::u32(..)));
        DirBuilder::new().mode(0o700).create(&path).ok()?;
        Some(Self(path))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is under the folder for what may be removed at any time.
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}
