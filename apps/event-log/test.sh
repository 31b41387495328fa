#!/usr/bin/env bash
# Runs the tests on a Millstream of their own: MILLSTREAM_BIN=PATH/TO/millstream ./test.sh [pytest's arguments]
# Python's packages are kept in $XDG_CACHE_HOME (or ~/.cache), by the pinned versions.
set -euo pipefail

millstream=$(realpath "${MILLSTREAM_BIN:?the binary to test on}")
cd "$(dirname "${BASH_SOURCE[0]}")"

pins=$(cat requirements.txt requirements-test.txt | sha256sum | cut -c1-12)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/millstream/event-log-$pins
if [ ! -e "$venv/complete" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements-test.txt
  touch "$venv/complete"
fi

directory=$(mktemp -d)
"$millstream" up --data "$directory/data" --listen PLAINTEXT://127.0.0.1:0 --ready-file "$directory/ready" \
  --console-port 0 --log info --log-format json >"$directory/out" 2>"$directory/millstream.log" &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$directory"' EXIT
for _ in $(seq 300); do
  [ -e "$directory/ready" ] && break
  kill -0 "$pid" 2>/dev/null || { cat "$directory/millstream.log" >&2; exit 1; }
  sleep 0.1
done
bootstrap=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["bootstrap"])' "$directory/ready")

"$venv/bin/ruff" check
"$venv/bin/ruff" format --check
"$venv/bin/mypy"
EVENT_LOG_BOOTSTRAP=$bootstrap EVENT_LOG_MILLSTREAM=$millstream \
  EVENT_LOG_MILLSTREAM_LOG=$directory/millstream.log "$venv/bin/pytest" "$@"
