#!/usr/bin/env bash
# Builds the fuzz targets with coverage and AddressSanitizer, and runs each for some seconds of
# processor time. What libFuzzer learns stays in fuzz/corpus for the next run.
# Usage: fuzz/run.sh SECONDS [target...]. Exit status 77 where the toolchain can't build such programs.
# FUZZ_TIMEOUT: seconds after which one input counts as a hang (20).
set -u
cd "$(dirname "$0")" || exit 1
seconds=${1:?usage: fuzz/run.sh SECONDS [target...]}
shift
targets=(model state vocab dataset text tokenizer)
[ $# -gt 0 ] && targets=("$@")
# The sanitizer flags are unstable; this lets a stable compiler take them.
export RUSTC_BOOTSTRAP=1
triple=x86_64-unknown-linux-gnu
coverage=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares)
export RUSTFLAGS="${coverage[*]} -Zsanitizer=address --cfg fuzzing -Cdebug-assertions"
if ! cargo build --release --target $triple; then
    probe=$(mktemp)
    # shellcheck disable=SC2086 # The flags are words.
    echo 'fn main() {}' | rustc - --target $triple $RUSTFLAGS -o "$probe"
    built=$?
    rm -f "$probe"
    [ "$built" -eq 0 ] && exit 1
    exit 77
fi

# Seconds of processor time that process $1 has had.
processor_time() {
    awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) / hz) }' "/proc/$1/stat" 2> /dev/null || echo 0
}

status=0
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target"
    log=target/$target.log
    # A machine that is busy with other work gives less time: ten times as long is the end.
    "target/$triple/release/$target" "corpus/$target" "seeds/$target" \
        -max_total_time=$((10 * seconds)) -timeout="${FUZZ_TIMEOUT:-20}" -rss_limit_mb=2048 \
        -max_len=8192 -print_final_stats=1 -artifact_prefix="target/$target-" 2> "$log" &
    pid=$!
    used=0
    while kill -0 $pid 2> /dev/null && [ "$used" -lt "$seconds" ]; do
        sleep 1
        now=$(processor_time $pid)
        [ "$now" -gt "$used" ] && used=$now
    done
    kill -USR1 $pid 2> /dev/null # libFuzzer ends after the input that it is at.
    if wait $pid; then
        executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "$target: $executions executions in $used s of processor time, no finding"
    else
        echo "$target: FINDING, see fuzz/$log"
        tail -n 30 "$log"
        status=1
    fi
done
exit $status
