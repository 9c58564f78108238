#!/usr/bin/env bash
# Runs each fuzz target for FUZZ_SECONDS. Works on a stable toolchain: libFuzzer's coverage needs no nightly sanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo-fuzz >/dev/null || cargo install --locked --quiet cargo-fuzz
# Coverage instrumentation is a compiler flag that stable accepts only under this variable.
export RUSTC_BOOTSTRAP=1
for target in $(cargo fuzz list); do
  mkdir -p "fuzz/corpus/$target"
  seeds="fuzz/seeds/$target"
  [ -d "$seeds" ] || seeds=fixtures/images
  echo "fuzz: $target for ${FUZZ_SECONDS:-30} s"
  cargo fuzz run --sanitizer none --release "$target" "fuzz/corpus/$target" "$seeds" -- \
    -max_total_time="${FUZZ_SECONDS:-30}" -timeout=20 -rss_limit_mb=4096 -max_len=65536 -print_final_stats=0
done
