//! The `pixgate` program: parses nothing and decides nothing itself.
//!
//! The law: everything it does is in the library's [`pixgate::cli`], where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    pixgate::cli::run()
}
