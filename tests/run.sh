#!/usr/bin/env bash
# Runs all checks: linters, type checker, unit, web and browser tests.
#
#   bash tests/run.sh                  everything
#   bash tests/run.sh -m "not slow"    without the slow tests; arguments are passed to pytest
#   bash tests/run.sh -m exhaustive    longer runs of some tests, which the others leave out
#   PYTHON=python3.13 bash tests/run.sh  with this Python, instead of the first one found
#
# Creates a virtual environment in tests/.venv, and again when Python or the requirements change.
set -euo pipefail
cd "$(dirname "$0")/.."

python=""
for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
  if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "Python 3.11, 3.12 or 3.13 is needed, and ${PYTHON:-PATH} has none." >&2
  exit 1
fi

venv=tests/.venv
wanted=$({ "$python" --version; cat requirements.txt tests/requirements.txt; } | sha256sum)

install_packages() {
  rm -rf "$venv"
  "$python" -m venv "$venv"
  # pip compiles on one core, and most modules are never imported. Files that no version of Python
  # can compile are left.
  "$venv/bin/pip" install --quiet --no-compile -r requirements.txt -r tests/requirements.txt
  "$venv/bin/python" -m compileall -q -j 0 -x 'packages/(sympy|moto|openai)/|packages/.*/(models|tests)/' \
    "$venv/lib" >/dev/null || true
  echo "$wanted" >"$venv/installed"
}

missing=()
command -v chromium-headless-shell >/dev/null || missing+=(chromium-headless-shell)
command -v firefox-esr >/dev/null || missing+=(firefox-esr)
PATH="$PATH:/usr/sbin" command -v nginx >/dev/null || missing+=(nginx-light)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
root=()
[ "$(id -u)" = 0 ] || root=(sudo -n)
if [ ${#missing[@]} -gt 0 ] && ! { command -v apt-get >/dev/null && "${root[@]}" true 2>/dev/null; }; then
  echo "The tests need Chromium, Firefox, nginx and Node.js. Run 'apt-get install ${missing[*]}' as root, then run this again." >&2
  exit 1
fi

packages=""
if [ "$(cat "$venv/installed" 2>/dev/null || true)" != "$wanted" ]; then
  install_packages &
  packages=$!
fi
if [ ${#missing[@]} -gt 0 ]; then
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi
[ tests/node_modules/.package-lock.json -nt tests/package-lock.json ] || npm --prefix tests ci --no-audit --no-fund --silent
[ -z "$packages" ] || wait "$packages"
export PATH="$PWD/$venv/bin:$PATH"

ruff check .
ruff format --check .
biome check --config-path tests nsfw_app/ui/assets
(cd tests && biome check js browser)
node tests/node_modules/typescript/bin/tsc --project tests/jsconfig.json
node --test tests/js/*.test.js
# The tests do not keep two cores busy all the time.
mypy >tests/.venv/mypy.log 2>&1 &
types=$!
failed=0
# Threads that wait for work do not spin: two processes share the cores.
export OMP_WAIT_POLICY=PASSIVE
# Files in the order of conftest.py: by number of tests, those of the browser would be last.
pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@" || failed=$?
wait "$types" || failed=$?
cat tests/.venv/mypy.log
exit "$failed"
