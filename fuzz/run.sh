#!/usr/bin/env bash
# Builds the fuzz targets with coverage and AddressSanitizer, and runs each for some seconds.
# Usage: fuzz/run.sh SECONDS [target...]. Exit status 77 where the toolchain can't build them.
set -u
cd "$(dirname "$0")" || exit 1
seconds=${1:?usage: fuzz/run.sh SECONDS [target...]}
shift
targets=(model state vocab dataset text)
[ $# -gt 0 ] && targets=("$@")
# The sanitizer flags are unstable; this lets a stable compiler take them.
export RUSTC_BOOTSTRAP=1
triple=x86_64-unknown-linux-gnu
coverage=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares)
RUSTFLAGS="${coverage[*]} -Zsanitizer=address --cfg fuzzing -Cdebug-assertions" \
    cargo build --release --target $triple || exit 77
status=0
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target"
    log=target/$target.log
    if "target/$triple/release/$target" "corpus/$target" "seeds/$target" -max_total_time="$seconds" \
        -timeout=20 -rss_limit_mb=2048 -max_len=8192 -artifact_prefix="target/$target-" 2> "$log"; then
        echo "$target: $(sed -n 's/^Done \([0-9]*\) runs in \([0-9]*\) second.*/\1 executions in \2 s, no finding/p' "$log")"
    else
        echo "$target: FINDING, see fuzz/$log"
        tail -n 30 "$log"
        status=1
    fi
done
exit $status
