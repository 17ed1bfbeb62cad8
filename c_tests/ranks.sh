#!/usr/bin/env bash
# train_model_mpi: the same model for any number of ranks, and what happens when one dies:
# c_tests/ranks.sh FOLDER [ROUNDS], with the programs in FOLDER. ROUNDS: ranks that are killed (3).
tools=$(cd "$1" && pwd) || exit 1
rounds=${2:-3}
cd "$(dirname "$0")/.." || exit 1
. c_tests/check.sh
cd "$work" || exit 1
set +m
mpirun=(mpirun)
if mpirun --version 2>&1 | grep -q 'Open MPI'; then
    mpirun+=(--allow-run-as-root --oversubscribe --bind-to none)
fi

# try STATUS RANKS ARGUMENT...: for check; the output is in stdout and stderr. RANKS 0: train_model.
try() {
    local want=$1 ranks=$2 status
    shift 2
    if [ "$ranks" -eq 0 ]; then
        timeout 120 "$tools/train_model" "$@" > "$work/stdout" 2> "$work/stderr" < /dev/null
    else
        timeout 120 "${mpirun[@]}" -n "$ranks" "$tools/train_model_mpi" "$@" \
            > "$work/stdout" 2> "$work/stderr" < /dev/null
    fi
    status=$?
    [ "$status" -eq "$want" ] || { echo "exit status $status"; return 1; }
}
says() { grep -qE -- "$1" "$work/stdout"; }
complains() { grep -qE -- "$1" "$work/stderr"; }
once() { [ "$(grep -cE -- "$1" "$work/stderr")" -eq 1 ]; }
same_model() { cmp -i 1576 "$1" "$2"; } # but for the times in the header
same_record() { cmp <(cut -d , -f 1-5,7- "$1") <(cut -d , -f 1-5,7- "$2"); } # but for the speed

awk 'BEGIN { for (i = 0; i < 2500; i++) printf "w%d%s", i * i % 61, i % 12 == 11 ? "\n" : " " }' > text
awk 'BEGIN { for (i = 0; i < 2500; i++) printf "v%d%s", i * i % 97, i % 12 == 11 ? "\n" : " " }' > other
shape=(--tokens bytes --embed-dim 16 --num-layers 1 --num-heads 2 --seq-len 16 --batch-size 2 --dropout 0.1)
shape+=(--epochs 1)

# ---- The same bits ----
for update in 7 4 1; do
    run=("${shape[@]}" --accumulate $update --max-steps 45 --save-every 20)
    check "one process, updates of $update" try 0 0 text "${run[@]}" --checkpoint-dir "alone$update"
    counts=(1 2 3 4 7)
    [ $update -eq 7 ] || counts=(3)
    for ranks in "${counts[@]}"; do
        for threads in 1 2; do
            dir=ranks${update}_${ranks}_$threads
            check "$ranks ranks of $threads threads" try 0 "$ranks" text "${run[@]}" --threads $threads \
                --checkpoint-dir "$dir"
            check "the same model ($dir)" same_model "alone$update/final_model.cllm" "$dir/final_model.cllm"
            check "the same checkpoint ($dir)" cmp -i 16 "alone$update/checkpoint_step_20.cllm.state" \
                "$dir/checkpoint_step_20.cllm.state"
            check "the same record ($dir)" same_record "alone$update/metrics.csv" "$dir/metrics.csv"
        done
    done
done
check "what the ranks do" grep -q '^  3 ranks, which compute 0 or 1 of these batches each' "$work/stdout"
check "ranks without work are named" complains 'of 1 batch: 2 of the 3 ranks have none to compute'
check "what it cost" says '^3 ranks: [0-9.]+ MiB sent by the first, [0-9.]+ s of its training in exchanges'

# ---- Going on with another number of ranks ----
run=("${shape[@]}" --accumulate 7 --max-steps 45 --quiet)
for pair in "1 4" "4 1" "2 3" "3 7" "7 2" "4 0"; do
    read -r before after <<< "$pair"
    rm -rf part
    # In the middle of an update.
    check "$before ranks" try 0 "$before" text "${shape[@]}" --accumulate 7 --max-steps 20 --quiet --checkpoint-dir part
    check "$before, then $after ranks" try 0 "$after" text "${run[@]}" --checkpoint-dir "rest${before}_$after" --resume part
    check "the same model ($pair)" same_model alone7/final_model.cllm "rest${before}_$after/final_model.cllm"
done

# ---- What is refused ----
check "--help" try 0 2 --help
check "--help once" test "$(grep -c '^Usage: ' stdout)" -eq 1
check "a wrong option" try 2 3 text --bogus
check "a wrong option is said once" once "unknown option '--bogus'"
check "standard input" try 2 2 - --quiet
check "standard input is refused" complains "each rank reads DATA"
check "no such text" try 1 2 nowhere --checkpoint-dir never
check "no such text is said once" once "nowhere"
two() { # TEXT OPTIONS... of the second of two ranks
    timeout 120 "${mpirun[@]}" -n 1 "$tools/train_model_mpi" text "${shape[@]}" --checkpoint-dir never : \
        -n 1 "$tools/train_model_mpi" "$@" --checkpoint-dir never > "$work/stdout" 2> "$work/stderr" < /dev/null
    [ $? -eq 1 ]
}
check "another text on one rank" two other "${shape[@]}"
check "another text is found" complains 'the ranks differ in the (number of )?training ids.* on rank 0, .* on rank 1'
check "another option on one rank" two text "${shape[@]}" --weight-decay 0.5
check "another option is found" complains 'the ranks differ in the weight decay: 0\.1 on rank 0, 0\.5 on rank 1'
check "no text on one rank" two nowhere "${shape[@]}"
check "the rank is named" complains "rank 1: .*nowhere"
check "nothing was trained" test ! -e never/final_model.cllm

# ---- Ranks that die ----
# rank_of PID: its number in its job.
rank_of() { tr '\0' '\n' < "/proc/$1/environ" 2> /dev/null | sed -nE 's/^(OMPI_COMM_WORLD_RANK|PMI_RANK)=//p' | head -n 1; }
# process_of RANK ANCESTOR: its process; it may be a grandchild.
process_of() {
    local child grandchild
    for child in $(ps -o pid= --ppid "$2") $(for c in $(ps -o pid= --ppid "$2"); do ps -o pid= --ppid "$c"; done); do
        if [ "$(rank_of "$child")" = "$1" ] && [[ $(cat "/proc/$child/comm") == train_model_mpi ]]; then
            echo "$child"
            return 0
        fi
    done
    return 1
}
seconds() { date +%s.%N; }
# Longer than any machine takes until the kill.
long=("${shape[@]}" --epochs 20000 --accumulate 4 --save-every 8 --keep 3 --threads 1 --quiet)
for ((round = 0; round < rounds; round++)); do
    victim=$((round % 3))
    rm -rf killed
    "${mpirun[@]}" -n 3 "$tools/train_model_mpi" text "${long[@]}" --checkpoint-dir killed \
        > stdout 2> stderr < /dev/null &
    job=$!
    for _ in $(seq 600); do
        [ -e killed/checkpoint_step_8.cllm ] && break
        sleep 0.05
    done
    sleep "0.$((RANDOM % 10))"
    process=$(process_of $victim $job)
    began=$(seconds)
    kill -9 "$process" 2> log
    said=
    while kill -0 $job 2> /dev/null; do
        [ -z "$said" ] && grep -q " died; go on" stderr && said=$(seconds)
        awk -v a="$began" -v b="$(seconds)" 'BEGIN { exit b - a < 30 }' && kill -9 $job
        sleep 0.05
    done
    ended=$(seconds)
    took=$(awk -v a="$began" -v b="${said:-$ended}" -v c="$ended" 'BEGIN { printf "%.1f to the message, %.1f to the end", b - a, c - a }')
    [ "$rounds" -gt 3 ] && echo "round $round, rank $victim: $took" >&2
    check "rank $victim died: the others ended ($took)" awk -v a="$began" -v b="$ended" 'BEGIN { exit b - a >= 15 }'
    check "the rank is named" complains "rank $victim \\(process $process on .*\\) died; go on with the same options and --resume killed/checkpoint_step_[0-9]+\\.cllm"
    newest=$(grep -oE -- '--resume killed/checkpoint_step_[0-9]+\.cllm' stderr | head -n 1 | cut -d ' ' -f 2)
    check "the checkpoint is whole" test -s "${newest:-none}" -a -s "${newest:-none}.state"
    check "nothing half is left" test -z "$(find killed -name '.cllm-*' -newer killed/vocab.txt -size 0)"
done
step=$(echo "$newest" | grep -oE '[0-9]+' | tail -n 1)
check "going on after a death" try 0 2 text "${long[@]}" --max-steps $((step + 10)) --checkpoint-dir killed --resume "$newest"
check "as if nobody had died" try 0 0 text "${long[@]}" --max-steps $((step + 10)) --checkpoint-dir unharmed
check "the same model after a death" same_model unharmed/final_model.cllm killed/final_model.cllm

# ---- An end that is asked for ----
"${mpirun[@]}" -n 3 "$tools/train_model_mpi" text "${long[@]}" --checkpoint-dir asked > stdout 2> stderr < /dev/null &
job=$!
for _ in $(seq 600); do
    [ -e asked/checkpoint_step_8.cllm ] && break
    sleep 0.05
done
kill -USR1 $job
wait $job
check "SIGUSR1 ends with a status" test $? -eq 130
check "SIGUSR1 leaves a checkpoint" complains 'interrupted after step [0-9]+; go on with the same options and --resume asked/checkpoint_step_[0-9]+\.cllm'

finish
