#!/usr/bin/env bash
# Installs what bench_compare measures Pixgate against: sharp and Next.js (npm), oximg (cargo), into untracked folders.
# What cannot be had is said and left out: the bench then names it in its tables.
set -uo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
oximg=0.18.1

if command -v npm >/dev/null; then
  (
    cd benches/compare/peers
    # npm writes this file last, so it is older than the lock only when the lock has changed since.
    [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund || exit 1
    [ .next/BUILD_ID -nt node_modules/.package-lock.json ] && [ .next/BUILD_ID -nt next.config.mjs ] ||
      NEXT_TELEMETRY_DISABLED=1 npm run --silent build
  ) || echo "peers: sharp and Next.js could not be installed; the bench leaves them out" >&2
else
  echo "peers: sharp and Next.js need Node.js 20 and npm; the bench leaves them out" >&2
fi

if [ "$("$target/peers/bin/oximg" --version 2>/dev/null)" != "oximg $oximg" ]; then
  CARGO_TARGET_DIR=$target/peers/build cargo install --locked --quiet --root "$target/peers" "oximg@$oximg" ||
    echo "peers: oximg could not be installed; the bench leaves it out" >&2
fi
