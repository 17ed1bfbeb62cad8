#!/usr/bin/env bash
# Builds the wheel of python/ around the library of the tree, installs it into an environment of its own,
# build/python, and runs its tests there: `make test-python`. Sources are not on Python's path: what is
# tested is what a wheel holds. Where venv or what pip fetches is missing, nothing is tested and the exit
# status is 0. The last line is the total.
cd "$(dirname "$0")/.." || exit 1
venv=$PWD/build/python
left_out() { echo "Python package left out: $1" >&2; exit 0; }
command -v python3 > /dev/null || left_out "python3 is not installed"
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv" > /dev/null 2>&1 || left_out "python3 has no venv"
"$venv/bin/pip" install --quiet 'hatchling>=1.24' numpy pytest mypy tqdm > "$venv/log" 2>&1 ||
    left_out "pip can't fetch what it needs: $(tail -n 1 "$venv/log")"
unset CLLM_LIBRARY PYTHONPATH
export PYTHONDONTWRITEBYTECODE=1 CLLM_BUILT_LIBRARY=$PWD/libcllm.so
passed=0 failed=0
# step NAME COMMAND...
step() {
    echo "== $1"
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}
the_tests() {
    "$venv/bin/pytest" -q -p no:cacheprovider 2>&1 | tee "$venv/log"
    local status=${PIPESTATUS[0]} # above what pytest counts: errors of collecting, no test at all
    passed=$((passed + $(sed -n 's/^\(.* \)*\([0-9]*\) passed.*/\2/p' "$venv/log" | tail -n 1) + 0))
    return "$status"
}
rm -rf "$venv/wheel"
step wheel "$venv/bin/pip" wheel --quiet --no-deps --no-build-isolation --wheel-dir "$venv/wheel" ./python
ls -l "$venv/wheel"
step install "$venv/bin/pip" install --quiet --force-reinstall --no-deps --no-index "$venv"/wheel/cllm-*.whl
cd python || exit 1
step tests the_tests
step types "$venv/bin/mypy" --cache-dir "$venv/mypy"
printf 'total (python): %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
