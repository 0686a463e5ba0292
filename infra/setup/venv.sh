#!/bin/sh
# Makes the virtual environment from requirements.lock, and nothing when it is already that.
# Usage: venv.sh [directory]   (default: .venv beside pyproject.toml)
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
venv=${1:-$root/.venv}
python=${DR_PYTHON:-python3}
cd "$root"

locked=$(cat requirements.lock infra/setup/uv.lock.txt | sha256sum | cut -d' ' -f1)
# Console scripts and packages are installed from pyproject.toml, so it counts too; $root because it may move.
own="$root $(sha256sum <pyproject.toml | cut -d' ' -f1)"
lock_stamp=$venv/.dr-locked
stamp=$venv/.dr-installed
has() { [ -x "$venv/bin/python" ] && [ "$(cat "$1" 2>/dev/null || true)" = "$2" ]; }

if has "$lock_stamp" "$locked" && has "$stamp" "$own $locked"; then
    exit 0
fi
rm -f "$stamp"

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "venv: $python is missing or older than 3.11; install Python 3.11 or name one in DR_PYTHON" >&2
    exit 1
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
if [ "$("$venv/bin/uv" --version 2>/dev/null | cut -d' ' -f2)" != "$(sed -n 's/^uv==\([^ ]*\).*/\1/p' infra/setup/uv.lock.txt)" ]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r infra/setup/uv.lock.txt
fi
VIRTUAL_ENV=$venv
export VIRTUAL_ENV
# A sync takes our own package out for a moment, under whatever runs from here: only for a new lock.
if ! has "$lock_stamp" "$locked"; then
    rm -f "$lock_stamp"
    "$venv/bin/uv" pip sync --quiet --require-hashes requirements.lock
    echo "$locked" >"$lock_stamp"
fi
# No build isolation: the build back end comes from the lock as well.
"$venv/bin/uv" pip install --quiet --no-deps --no-build-isolation -e .
echo "$own $locked" >"$stamp"
