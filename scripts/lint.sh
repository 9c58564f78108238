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

# The package for Next.js as it would be published: its files, its exports, and the types of each way to import it. What is
# no configuration is for bundlers, so that `require` need not reach it.
PATH="$(scripts/node.sh):$PATH"
export PATH
package=clients/nextjs tools=scripts/lint-package
packed=$(mktemp -d)
trap 'rm -rf "$packed"' EXIT
scripts/npm-ci.sh $package
scripts/npm-ci.sh $tools
(cd $package && npm pack --silent --pack-destination "$packed" >/dev/null)
$tools/node_modules/.bin/publint run --strict "$packed"/*.tgz
$tools/node_modules/.bin/attw --quiet --ignore-rules cjs-resolves-to-esm -- "$packed"/*.tgz ||
  { $tools/node_modules/.bin/attw --ignore-rules cjs-resolves-to-esm -- "$packed"/*.tgz; exit 1; }
for file in LICENSE LICENSE-APACHE LICENSE-MIT; do
  cmp "$file" "$package/$file"
done
