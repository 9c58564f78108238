//! The `pixgate` program. Everything it does is in the library's [`pixgate::cli`].
//!
//! The exit code is 0 when it is done, 1 when it failed, 2 for a usage error.

use std::process::ExitCode;

fn main() -> ExitCode {
    pixgate::cli::run()
}
