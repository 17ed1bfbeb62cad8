#!/usr/bin/env bash
# Builds the wheel of python/ around the library of the tree, installs it into build/python and runs its
# tests there, away from its sources: `make test-python`.
cd "$(dirname "$0")/.." || exit 1
tree=$PWD venv=$PWD/build/python
left_out() { echo "Python package left out: $1" >&2; exit 0; }
command -v python3 > /dev/null || left_out "python3 is not installed"
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv" > /dev/null 2>&1 || left_out "python3 has no venv"
"$venv/bin/pip" install --quiet 'hatchling>=1.24' numpy pytest mypy tqdm > "$venv/log" 2>&1 ||
    left_out "pip can't fetch what it needs: $(tail -n 1 "$venv/log")"
set -e
unset CLLM_LIBRARY PYTHONPATH
CLLM_BUILT_LIBRARY=$tree/libcllm.so "$venv/bin/pip" install --quiet --force-reinstall --no-deps \
    --no-build-isolation ./python
cd python
PYTHONDONTWRITEBYTECODE=1 "$venv/bin/pytest" -q -p no:cacheprovider
"$venv/bin/mypy" --cache-dir "$venv/mypy"
