# Sourced by test scripts: a scratch folder $work, and checks that are counted. A script ends with
# `finish`, whose line is "N passed, N failed", and ", N skipped" where something could not be tried.
set -u
export LC_ALL=C
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0
failed=0
skipped=0

pass() { passed=$((passed + 1)); }

# fail WHAT: with what a program under test left in $work/stdout and $work/stderr, and a command in
# $work/log.
fail() {
    local file
    failed=$((failed + 1))
    echo "$(basename "$0" .sh): ${1:0:400}" >&2
    for file in log stdout stderr; do
        [ -s "$work/$file" ] && awk 'NR <= 10; NR > 10 { last[NR % 15] = $0 }
            END { for (i = NR > 25 ? NR - 14 : 11; i <= NR; i++) print last[i % 15] }' "$work/$file" |
            cut -c 1-200 | sed "s/^/    $file: /" >&2
    done
}

# check NAME COMMAND...: its exit status decides.
check() {
    local name=$1
    shift
    if "$@" > "$work/log" 2>&1; then pass; else fail "$name: failed: $*"; fi
}

# skip WHAT WHY
skip() {
    skipped=$((skipped + 1))
    echo "$(basename "$0" .sh): $1 skipped: $2" >&2
}

finish() {
    local note=
    [ "$skipped" -eq 0 ] || note=", $skipped skipped"
    echo "$passed passed, $failed failed$note"
    [ "$failed" -eq 0 ]
}
