#!/usr/bin/env bash
# Everything that must hold, in one command: linters, types, tests, browser included.
# Makes its own virtual environment in tests/.venv and keeps it until the requirements change.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(command -v python3.11 || command -v python3 || true)
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
  echo "Python 3.11 is needed, and neither python3.11 nor python3 is that." >&2
  exit 1
fi

venv=tests/.venv
wanted=$(cat requirements.txt tests/requirements.txt | sha256sum)
if [ "$(cat "$venv/installed" 2>/dev/null || true)" != "$wanted" ]; then
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/pip" install --quiet -r requirements.txt -r tests/requirements.txt
  echo "$wanted" >"$venv/installed"
fi
export PATH="$PWD/$venv/bin:$PATH"

missing=()
command -v chromium >/dev/null || missing+=(chromium)
PATH="$PATH:/usr/sbin" command -v nginx >/dev/null || missing+=(nginx-light)
if [ ${#missing[@]} -gt 0 ]; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
  elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then
    sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
  else
    echo "The tests need Chromium and nginx, and this user may not install what is missing. Run 'apt-get install ${missing[*]}' as root and start this again." >&2
    exit 1
  fi
fi

ruff check .
ruff format --check .
biome check --config-path tests nsfw_app/ui/assets
mypy
pytest "$@"
