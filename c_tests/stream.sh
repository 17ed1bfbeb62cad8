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

# run NAME ARGUMENT...: what train_model says, in NAME.log.
run() {
    local name=$1
    shift
    "$tools/train_model" "$@" --max-steps 2 --val-fraction 0.002 > "$name.log" 2>&1 || { tail -n 5 "$name.log"; return 1; }
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
check "standard input" run piped - --batch-size 4 --checkpoint-dir piped --tokens first/tokenizer.json --threads 1 < text.txt
check "has the same ids" same_ids first piped
check "within the limit, too" within piped
rm -r piped

# Words, too, and by any number of threads the same.
check "words" run words text.txt --batch-size 4 --checkpoint-dir words --tokens words
check "within the limit" within words
check "by one thread" run alone text.txt --batch-size 4 --checkpoint-dir words_alone --tokens words --threads 1
check "the same words" cmp words/vocab.txt words_alone/vocab.txt
check "with the same ids" same_ids words words_alone
rm -r words words_alone

# A tokenizer and a vocabulary of more text than their limit, a quarter where it is a short one.
texts=()
bound=$((megabytes < limit ? limit / 4 : limit))
for ((bytes = 0; bytes < bound; bytes += megabytes)); do texts+=(text.txt); done
build() { (ulimit -v $((1000 * bound)) && exec "$tools/cllm_vocab_build" "$@") > build.log 2>&1; }
check "learns from it within the limit" build --tokens bpe --size 2048 "${texts[@]}" -o build.json
check "counts its words within the limit" build "${texts[@]}" -o build.txt
check "its bytes, too" build --tokens bytes "${texts[@]}" -o bytes.txt -s
check "each one" grep -qxF "Bytes per token: 1.00" build.log
check "and finds many" test "$(wc -l < build.txt)" -gt 10000
rm build.json build.txt bytes.txt

# More different words than are held while words are counted.
seq 4400000 | tr 0-9 a-j > different.txt
check "bytes of words that are all different" build --tokens bytes different.txt -o different.vocab -s
check "each one of them" grep -qE "^Tokens: +$(wc -c < different.txt)$" build.log
check "a letter" grep -qxF "$(printf 'b\t%d' "$(tr -cd b < different.txt | wc -c)")" different.vocab
rm different.txt different.vocab

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
check "and the next run begins anew" run killed text.txt --batch-size 4 --checkpoint-dir killed --tokens first/tokenizer.json
check "with the same ids" same_ids first killed
check "and nothing else left" absent killed/dataset.bin.new.partial

ended TERM asked
check "a run that is asked to end" test $? -eq 130
check "says so" grep -q "interrupted before the first step" asked.log
check "and leaves nothing" absent asked

# Killed at any moment, again and again: what is there of dataset.bin is whole, the next run begins anew or
# takes what is finished, and in the end nothing is left but what a run leaves that nobody killed.
head -c 6000000 text.txt > part.txt
few=(part.txt --vocab-size 1024 --max-steps 1 --batch-size 4 --embed-dim 16 --num-layers 1 --seq-len 16)
whole_or_absent() { # the ids of a finished file are all there
    [ ! -e "$1" ] && return
    local count
    count=$(od -A n -t u8 -N 8 "$1")
    [ "$count" -gt 0 ] && [ "$(stat -c %s "$1")" -ge $((8 + 4 * count)) ]
}
began=$(date +%s%N)
"$tools/train_model" "${few[@]}" --checkpoint-dir alone > alone.log 2>&1
check "a run that nobody kills" test $? -eq 0
took=$((($(date +%s%N) - began) / 1000000)) # ms
ls -A alone > alone.list
RANDOM=7
for ((i = 0; i < 12; i++)); do
    [ $((i % 2)) = 0 ] && signal=KILL || signal=TERM
    "$tools/train_model" "${few[@]}" --checkpoint-dir killed_often > killed_often.log 2>&1 &
    pid=$!
    moment=$((took * RANDOM / 32768))
    sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
    kill -"$signal" "$pid" 2> /dev/null
    wait "$pid" 2> /dev/null
    for file in killed_often/{dataset,held_out}.bin{,.new}; do
        check "after $signal $i, $file is whole or absent" whole_or_absent "$file"
    done
done
"$tools/train_model" "${few[@]}" --checkpoint-dir killed_often --overwrite > killed_often.log 2>&1
check "and then a run to its end" test $? -eq 0
check "has the ids of the other" same_ids alone killed_often
# What a kill in the middle of saving leaves is nobody's to remove: docs/RELIABILITY.md.
check "and leaves nothing else" diff alone.list <(ls -A killed_often | grep -vE '^(earlier-|\.cllm-.*\.tmp$)')

# The files of an earlier run go, those of this one come, also under the same names.
for again in --overwrite ''; do
    # shellcheck disable=SC2086 # no option or one
    "$tools/train_model" "${few[@]}" --checkpoint-dir killed_often $again > again.log 2>&1
    check "once more in that folder $again" same_ids alone killed_often
done

# A text that was changed is not taken for the old one.
printf x | dd of=text.txt bs=1 seek=1000 conv=notrunc 2> /dev/null
check "another text" run other text.txt --batch-size 4 --checkpoint-dir killed --tokens first/tokenizer.json
check "is made anew" test "$(grep -c "was there already" other.log)" = 0
check "with other ids" test -z "$(same_ids first killed > /dev/null 2>&1 && echo same)"
finish
