//! The `pixgate` program. Everything it does is in the library's [`pixgate::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    pixgate::cli::run()
}
