#!/usr/bin/env bash
# Everything that is judged without running the program.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet

command -v cargo-deny >/dev/null || cargo install --locked --quiet cargo-deny
cargo deny --locked check bans licenses sources
# Advisories come from a repository of their own. Without a way to it the check cannot run, and says so; with one, it decides.
if ! cargo deny fetch db 2>/dev/null; then
  echo "lint: the advisory database cannot be reached; advisories were NOT checked" >&2
else
  cargo deny --locked check advisories
fi
