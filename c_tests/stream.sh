#!/usr/bin/env bash
# Texts that do not fit: makes one, prepares it and trains some steps on it with the default model, each
# within a limit of memory. Usage: c_tests/stream.sh FOLDER_OF_TOOLS [MEGABYTES [LIMIT_MB]], after `make`.
# With the numbers that are not given, 40 and 600, it belongs to `make test`; with 10000 it takes an hour
# and 30 GB of disk, and prints what it measured.
. "$(dirname "$0")/check.sh"
tools=$(cd "$1" && pwd) || exit 1
megabytes=${2:-40}
limit=${3:-600}
"${CC:-cc}" -O2 -std=c11 -Wall -Wextra -Werror "$(dirname "$0")/make_text.c" -o "$work/make_text" -lm ||
    exit 1
cd "$work" || exit 1
./make_text "$megabytes" > text.txt

# run NAME ARGUMENT...: what train_model says, in NAME.log. Batches of 32 windows: the default ones for long
# texts are larger, and their memory is not that of the text.
run() {
    local name=$1
    shift
    "$tools/train_model" "$@" --batch-size 32 --max-steps 2 --val-fraction 0.002 > "$name.log" 2>&1
}
peak() { sed -n 's/.*peak memory \([0-9.]*\) MiB.*/\1/p' "$1.log"; }
within() { awk -v peak="$(peak "$1")" -v limit="$limit" 'BEGIN { exit !(peak > 0 && peak < limit) }'; }
# The ids of two folders, without the record behind them.
ids_of() { head -c $((8 + 4 * $(od -A n -t u8 -N 8 "$1"))) "$1"; }
same_ids() {
    cmp <(ids_of "$1/dataset.bin") <(ids_of "$2/dataset.bin") &&
        cmp <(ids_of "$1/held_out.bin") <(ids_of "$2/held_out.bin")
}
absent() { [ ! -e "$1" ]; }

check "prepares and trains" run first text.txt --checkpoint-dir first --vocab-size 2048
check "within the limit of memory" within first
[ "$megabytes" -lt 1000 ] || cat first.log >&2

# Through a pipe, by one thread: the same ids.
check "standard input" run piped - --checkpoint-dir piped --tokens first/tokenizer.json --threads 1 < text.txt
check "has the same ids" same_ids first piped
check "within the limit, too" within piped
rm -r piped

# A run that goes on takes the ids as they are.
before=$(stat -c %i first/dataset.bin)
check "a run that goes on" run again text.txt --checkpoint-dir first --resume first --epochs 6
check "takes the ids that are there" grep -q "was there already" again.log
check "as they are" test "$before" = "$(stat -c %i first/dataset.bin)"

# ended SIGNAL NAME: a run that gets the signal while it makes tokens; its status.
ended() {
    local pid
    "$tools/train_model" text.txt --checkpoint-dir "$2" --tokens first/tokenizer.json --threads 1 \
        > "$2.log" 2>&1 &
    pid=$!
    until [ -e "$2/dataset.bin.new.partial" ] || ! kill -0 "$pid" 2> /dev/null; do sleep 0.02; done
    kill -"$1" "$pid"
    wait "$pid" 2> /dev/null
}

ended KILL killed
check "after a kill no half file has the name of a whole one" absent killed/dataset.bin.new
check "and the next run begins anew" run killed text.txt --checkpoint-dir killed --tokens first/tokenizer.json
check "with the same ids" same_ids first killed
check "and nothing else left" absent killed/dataset.bin.new.partial

ended TERM asked
check "a run that is asked to end" test $? -eq 130
check "says so" grep -q "interrupted before the first step" asked.log
check "and leaves nothing" absent asked

# A text that was changed is not taken for the old one.
printf x | dd of=text.txt bs=1 seek=1000 conv=notrunc 2> /dev/null
check "another text" run other text.txt --checkpoint-dir killed --tokens first/tokenizer.json
check "is made anew" test "$(grep -c "was there already" other.log)" = 0
check "with other ids" test -z "$(same_ids first killed > /dev/null 2>&1 && echo same)"
finish
