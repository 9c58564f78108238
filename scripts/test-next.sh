#!/usr/bin/env bash
# Tests the package for Next.js, the example and the README's steps with real Next.js and a real Chromium, and compares
# Pixgate with Next.js's own optimizer request by request. Installs what it lacks.
#
#   scripts/test-next.sh            everything
#   scripts/test-next.sh compare    the comparison alone
#   scripts/test-next.sh bench      the measurement, which is no test
#
# PIXGATE_BIN names the service's binary; by default it is the one that `cargo test` has built, or for a measurement the
# release build.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export NEXT_TELEMETRY_DISABLED=1

# nginx is the ingress of the README and openssl makes its certificates; fonts, so that a page has text.
scripts/packages.sh chromium nginx openssl fonts-dejavu-core
PATH="$(scripts/node.sh):$PATH"
export PATH

if [ "$what" = bench ]; then
  cargo build --release --locked --bin pixgate --example score --example line
  export SCORE_BIN="$target/release/examples/score" LINE_BIN="$target/release/examples/line" PIXGATE_BIN="${PIXGATE_BIN:-$target/release/pixgate}"
else
  # As the tests build it: `cargo build` alone would build most dependencies again, with other features.
  [ -n "${PIXGATE_BIN:-}" ] || cargo test --locked --quiet --no-run --test architecture
  export PIXGATE_BIN="${PIXGATE_BIN:-$target/debug/pixgate}"
fi

package=clients/nextjs
scripts/npm-ci.sh $package
npm --prefix $package run --silent build
scripts/npm-ci.sh examples/nextjs $package/package.json $package/dist/*.*

# One address, which is written into the builds: where the service listens, but for the measurement, where an ingress does.
export NEXT_PUBLIC_PIXGATE_URL=${NEXT_PUBLIC_PIXGATE_URL:-http://127.0.0.1:18080}
if [ "$what" = bench ]; then
  export PIXGATE_URL=$NEXT_PUBLIC_PIXGATE_URL NEXT_PUBLIC_PIXGATE_URL=https://images.shop.test
fi
if [ "$what" = compare ]; then
  node examples/nextjs/build.mjs next
else
  node examples/nextjs/build.mjs
fi

case $what in
  all)
    (cd $package && node --test test/*.test.mjs && node --test --test-concurrency=2 e2e/*.test.mjs)
    node scripts/compare-next.mjs
    ;;
  compare) node scripts/compare-next.mjs ;;
  bench)
    # As on two machines: one half of the processors is the servers', the other the browser's.
    processors=$(nproc) run=()
    if [ "$processors" -gt 1 ]; then
      export SERVER_CPUS=$((processors / 2))-$((processors - 1))
      run=(taskset -c "0-$((processors / 2 - 1))")
    fi
    "${run[@]}" node scripts/bench-next/bench.mjs "${ROUNDS:-2}"
    ;;
  *) echo "test-next.sh: no such thing as $what" >&2 && exit 2 ;;
esac
