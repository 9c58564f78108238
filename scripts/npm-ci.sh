#!/usr/bin/env bash
# Installs a directory's npm packages as its package-lock.json has them, unless they are there. What was installed is known
# by a sum of what it was installed from.
#
#   scripts/npm-ci.sh DIRECTORY [FILE...]     FILE: what it was installed from besides
set -euo pipefail
directory=$1
sum=$(cat "$directory/package-lock.json" "${@:2}" | sha256sum)
[ "$(cat "$directory/node_modules/.pixgate-sum" 2>/dev/null)" = "$sum" ] && exit
(cd "$directory" && npm ci --no-audit --no-fund --loglevel=error)
echo "$sum" >"$directory/node_modules/.pixgate-sum"
