# Sourced by test scripts, in the top folder of the tree: a scratch folder $work, and checks that
# are counted. A script ends with `finish`, whose line is "N passed, N failed".
set -u
export LC_ALL=C
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# check NAME COMMAND...: its exit status decides. If it fails, what it printed is shown, and what a
# program under test left in $work/stdout and $work/stderr.
check() {
    local name=$1 file
    shift
    if "$@" > "$work/log" 2>&1; then
        passed=$((passed + 1))
        return
    fi
    failed=$((failed + 1))
    echo "$(basename "$0" .sh): $name: failed: $*" >&2
    for file in log stdout stderr; do
        [ -s "$work/$file" ] && tail -n 20 "$work/$file" | sed "s/^/    $file: /" >&2
    done
}

# skip WHAT WHY
skip() { echo "$(basename "$0" .sh): $1 left out: $2" >&2; }

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
