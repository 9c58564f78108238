#!/usr/bin/env bash
# Makes fixtures/ anew in a virtual environment that is thrown away.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet -r fixtures/requirements.txt
"$venv/bin/python" fixtures/make.py
