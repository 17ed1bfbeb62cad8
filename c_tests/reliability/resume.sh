#!/usr/bin/env bash
# Kills train_model at random moments, again and again, resuming from its latest checkpoint each
# time, until it ends: the model is the one of a run that nothing interrupted, bit for bit.
# Usage: resume.sh TOOLS KILLS
. "$(dirname "$0")/../check.sh"
tools=$(cd "$1" && pwd)
kills=$2
cd "$work" || exit 1

awk 'BEGIN { for (i = 0; i < 1500; i++) printf "w%d%s", i * i % 61, i % 12 == 11 ? "\n" : " " }' > text
options=(--tokens words --embed-dim 32 --num-layers 2 --num-heads 2 --seq-len 8 --batch-size 4 --epochs 60
    --learning-rate 0.01 --save-every 3 --quiet)
began=$(date +%s%3N)
"$tools/train_model" text "${options[@]}" --checkpoint-dir calm > /dev/null 2> errors
took=$(($(date +%s%3N) - began))
check "a calm run ends" test -s calm/final_model.cllm

hit=0
resume=()
while [ "$hit" -lt "$kills" ]; do
    "$tools/train_model" text "${options[@]}" --checkpoint-dir hit "${resume[@]}" > /dev/null 2> errors &
    pid=$!
    # On average a sixteenth of the whole run.
    milliseconds=$((RANDOM % (took / 8 + 1) + 20))
    sleep "$(printf '%d.%03d' $((milliseconds / 1000)) $((milliseconds % 1000)))"
    kill -KILL "$pid" 2> /dev/null
    wait "$pid" 2> /dev/null
    status=$?
    [ "$status" -eq 0 ] && break
    check "killed" test "$status" -eq 137
    hit=$((hit + 1))
    # The latest state file; whatever else the kill left, this one is whole.
    latest=$(ls -t hit/*.state 2> /dev/null | head -n 1)
    resume=()
    [ -n "$latest" ] && resume=(--resume "${latest%.state}")
done
if [ ! -e hit/final_model.cllm ]; then
    "$tools/train_model" text "${options[@]}" --checkpoint-dir hit "${resume[@]}" > /dev/null 2> errors
    check "the last run ends" test $? -eq 0
fi
check "three kills at least" test "$hit" -ge 3
check "the same model" cmp -s -i 1576 calm/final_model.cllm hit/final_model.cllm
# The record has each step once, in order.
without_speed() { cut -d , -f 1-5,7 "$1"; }
check "the same record" cmp -s <(without_speed calm/metrics.csv) <(without_speed hit/metrics.csv)
echo "$hit kills" >&2
finish
