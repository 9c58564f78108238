#!/usr/bin/env bash
# Installs the named Debian packages if any is missing: as root with apt-get, else it says what to install and fails.
set -euo pipefail

missing=()
for package in "$@"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

command -v apt-get >/dev/null || {
  echo "Pixgate needs these packages (Debian names): ${missing[*]}" >&2
  exit 1
}
if [ "$(id -u)" -ne 0 ]; then
  echo "Pixgate needs these packages; install them with: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || {
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
