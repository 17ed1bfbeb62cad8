#!/usr/bin/env bash
# Models whose files are larger than 4 GiB, through saving, reading, mapping, a step and its continuation,
# and what is said where memory is short. Usage: c_tests/large.sh PROGRAM_LARGE_MODEL. Takes 6 GiB of memory and
# as much disk, so it runs only where CLLM_LARGE is set: `CLLM_LARGE=1 c_tests/run.sh plain large`.
program=$(realpath "$1") || exit 1
. "$(dirname "$0")/check.sh"
cd "$work" || exit 1
GIB=$((1 << 20)) # KiB

# value NAME FILE: what the program printed.
value() { sed -n "s/^$1 //p" "$2"; }
below() { [ -n "$1" ] && [ "$1" -lt "$2" ]; }

check "a model of 5 GiB" test "$(df --output=avail -k . | tail -n 1)" -gt $((7 * GIB))
"$program" make large.cllm 27 > make.log 2> stderr
check "is made and saved" test $? -eq 0
check "its file is larger than 5 GiB" test "$(stat -c %s large.cllm)" -gt $((5 << 30))
check "saving takes no second copy of it" below "$(value saving make.log)" $((64 << 10))
for way in read map; do
    "$program" $way large.cllm 27 > $way.log 2> stderr
    check "$way" test $? -eq 0
    check "says the same" test "$(value loss $way.log)" = "$(value loss make.log)"
done
check "has the same weights" test "$(value sum read.log)" = "$(value sum make.log)"
check "is mapped" test "$(value mapped map.log)" = 1
check "and takes no memory of its own" below "$(value anonymous map.log)" $((64 << 10))

# Where memory is short: how much was needed.
# short GIB COMMAND FILE LAYERS
short() {
    local gib=$1
    shift
    (ulimit -v $((gib * GIB)) && exec "$program" "$@") > short.log 2> stderr && return 1
    grep -E 'no memory for .* \([0-9]{8,} bytes\)' stderr
}
check "no memory to make it" short 3 make other.cllm 27
check "to read it" short 3 read large.cllm 27
check "to train it" short 6 train other.cllm 27
check "nothing is left of that" test ! -e other.cllm
rm -f large.cllm

# With gradient and moments four times the weights: 1.5 GiB of those.
"$program" train step.cllm 8 > train.log 2> stderr
check "a step, its checkpoint, another step" test $? -eq 0
check "saving takes no second copy" below "$(value saving train.log)" $((64 << 10))
check "the checkpoint is larger than 4 GiB" \
    test $(($(stat -c %s step.cllm) + $(stat -c %s step.cllm.state))) -gt $((4 << 30))
"$program" resume step.cllm 8 > resume.log 2> stderr
check "a run that goes on" test $? -eq 0
check "is the same one" test "$(value sum resume.log)" = "$(value sum train.log)"
for log in make read map train resume; do
    echo "large: $log: $(value weights $log.log) weights, peak $(value peak $log.log) KiB" >&2
done
finish
