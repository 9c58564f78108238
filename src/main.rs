//! Parses arguments, dispatches, prints the error chain, sets the exit code.

fn main() {}
