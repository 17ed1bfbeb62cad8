#!/usr/bin/env bash
# train_model_mpi: the same model for any number of ranks, and what happens when one dies:
# c_tests/ranks.sh FOLDER [KILLS], with the programs in FOLDER. KILLS, or CLLM_KILLS: ranks killed at random moments
# (3); more of them are told in a table. MPIRUN: another MPI's (mpirun).
tools=$(cd "$1" && pwd) || exit 1
rounds=${2:-${CLLM_KILLS:-3}}
cd "$(dirname "$0")/.." || exit 1
. c_tests/check.sh
cd "$work" || exit 1
set +m
mpirun=("${MPIRUN:-mpirun}")
if "${mpirun[0]}" --version 2>&1 | grep -q 'Open MPI'; then
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

# Of the optimizer's moments all on each rank; sums that are rounded, which is another result.
run=("${shape[@]}" --accumulate 4 --max-steps 45 --save-every 20)
check "3 ranks of whole moments" try 0 3 text "${run[@]}" --checkpoint-dir whole --whole-moments
check "the same model (whole moments)" same_model alone4/final_model.cllm whole/final_model.cllm
check "the same checkpoint (whole moments)" cmp -i 16 alone4/checkpoint_step_20.cllm.state \
    whole/checkpoint_step_20.cllm.state
check "one process, sums in bfloat16" try 0 0 text "${run[@]}" --exchange bf16 --checkpoint-dir alone16
check "another model" eval '! same_model alone4/final_model.cllm alone16/final_model.cllm > /dev/null 2>&1'
for ranks in 1 2 3 4 7; do
    whole=()
    [ $((ranks % 2)) -eq 0 ] && whole=(--whole-moments)
    check "$ranks ranks, sums in bfloat16" try 0 $ranks text "${run[@]}" --exchange bf16 "${whole[@]}" \
        --checkpoint-dir "half$ranks"
    check "the same model ($ranks, bfloat16)" same_model alone16/final_model.cllm "half$ranks/final_model.cllm"
    check "the same checkpoint ($ranks, bfloat16)" cmp -i 16 alone16/checkpoint_step_20.cllm.state \
        "half$ranks/checkpoint_step_20.cllm.state"
done
check "going on in f32" try 0 0 text "${shape[@]}" --accumulate 4 --max-steps 48 --checkpoint-dir mixed \
    --resume alone16
check "that the sums were others is said" complains 'its gradients were added in bf16, these are in f32'

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
check "no such text" try 1 2 nowhere --checkpoint-dir never
check "no such text is said once" once "nowhere"
two() { # TEXT OPTIONS... of the second of two ranks
    timeout 120 "${mpirun[@]}" -n 1 "$tools/train_model_mpi" text "${shape[@]}" --checkpoint-dir never : \
        -n 1 "$tools/train_model_mpi" "$@" --checkpoint-dir never > "$work/stdout" 2> "$work/stderr" < /dev/null
    [ $? -eq 1 ]
}
check "another text on one rank" two other "${shape[@]}"
check "another text is found" complains "rank 1: the ranks differ in DATA: 'text' on rank 0, 'other' on rank 1"
check "another option on one rank" two text "${shape[@]}" --weight-decay 0.5
check "another option is found" complains "rank 1: the ranks differ in --weight-decay: 'not given' on rank 0, '0.5' on rank 1"
for option in '--max-steps 3' '--save-every 2' '--keep-weights last' '--val-fraction 0.3'; do
    check "$option on one rank" two text "${shape[@]}" $option # or they would wait for each other
    check "is found" complains "the ranks differ in ${option% *}: 'not given' on rank 0, '${option#* }' on rank 1"
done
check "nothing was trained" test ! -e never/final_model.cllm

# ---- Where the text is ----
run=("${shape[@]}" --accumulate 4 --max-steps 45 --quiet)
# The first rank alone reads it; another one may see none of it, nor of what became of it.
mkdir away
check "the text on the first rank alone" timeout 120 "${mpirun[@]}" \
    -n 1 "$tools/train_model_mpi" text "${run[@]}" --checkpoint-dir near : \
    -n 1 -wdir "$PWD/away" "$tools/train_model_mpi" text "${run[@]}" --checkpoint-dir near > stdout 2> stderr
check "the same model (text elsewhere)" same_model alone4/final_model.cllm near/final_model.cllm
check "nothing is left elsewhere" test -z "$(ls -A away)"
timeout 120 "${mpirun[@]}" -n 2 "$tools/train_model_mpi" - "${run[@]}" --checkpoint-dir piped < text > stdout 2> stderr
check "from standard input" test $? -eq 0
check "the same model (standard input)" same_model alone4/final_model.cllm piped/final_model.cllm
# hidden SIZE DIR: the second rank has a folder of its own under the same name, with so much room.
hidden() {
    mkdir -p "$2"
    timeout 120 "${mpirun[@]}" -n 1 "$tools/train_model_mpi" text "${run[@]}" --val-fraction 0.1 --checkpoint-dir "$2" : \
        -n 1 unshare -m sh -c "mount -t tmpfs -o size=$1 none $2 && exec $tools/train_model_mpi text ${run[*]} \
            --val-fraction 0.1 --checkpoint-dir $2" > stdout 2> stderr < /dev/null
}
if unshare -m sh -c "mount -t tmpfs none away" 2> log; then
    check "a copy for a rank that does not see the first one's files" hidden 1m hidden
    check "the same model (copied)" same_model alone4/final_model.cllm hidden/final_model.cllm
    hidden 4k full
    check "no room for the copy" test $? -eq 1
    check "that is said, of that rank" complains "rank 1: can't write .*a copy of the first rank's: No space left"
    check "before anything is trained" test ! -e full/final_model.cllm
fi

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
# wait_for SECONDS COMMAND...
wait_for() {
    local left=$((20 * $1))
    shift
    until "$@"; do
        ((left-- > 0)) || return 1
        sleep 0.05
    done
}
# ended: waits for the job that was hit at $began, half a minute at most. Sets $took, and $in_time.
ended() {
    local said= end
    while kill -0 $job 2> /dev/null; do
        [ -z "$said" ] && grep -qE " died; |interrupted " stderr && said=$(seconds)
        awk -v a="$began" -v b="$(seconds)" 'BEGIN { exit b - a < 30 }' && kill -9 $job
        sleep 0.05
    done
    wait $job
    status=$?
    end=$(seconds)
    took=$(awk -v a="$began" -v b="${said:-$end}" -v c="$end" 'BEGIN { printf "%.1f s to the message, %.1f s to the end", b - a, c - a }')
    in_time=$(awk -v a="$began" -v b="$end" 'BEGIN { print b - a < 15 }')
}
hit() { # SIGNAL PROCESS
    began=$(seconds)
    kill "-$1" "$2" 2> log
}
for ((round = 0; round < rounds; round++)); do
    victim=$((round % 3))
    rm -rf killed went_on unharmed
    "${mpirun[@]}" -n 3 "$tools/train_model_mpi" text "${long[@]}" --checkpoint-dir killed \
        > stdout 2> stderr < /dev/null &
    job=$!
    wait_for 30 test -d killed # all have met
    [ $round -eq 0 ] && wait_for 30 test -e killed/checkpoint_step_8.cllm
    sleep "$((RANDOM % 3)).$((RANDOM % 10))"
    process=$(process_of $victim $job)
    hit KILL "$process"
    ended
    check "rank $victim died: the others ended ($took)" test "$in_time" -eq 1
    check "the rank is named" complains "rank $victim \\(process $process on .*\\) died; (go on with the same options and --resume killed/checkpoint_step_[0-9]+\\.cllm|no checkpoint was saved yet)"
    check "it is said once" once " died; "
    newest=$(grep -oE -- '--resume killed/checkpoint_step_[0-9]+\.cllm' stderr | head -n 1 | cut -d ' ' -f 2)
    step=0
    resume=()
    if [ -n "$newest" ]; then
        check "the checkpoint is whole" test -s "$newest" -a -s "$newest.state"
        check "it is the newest" test "$(ls -v killed/checkpoint_step_*.cllm | tail -n 1)" = "$newest"
        step=$(echo "$newest" | grep -oE '[0-9]+' | tail -n 1)
        resume=(--resume "$newest")
    fi
    # SIGKILL in the middle of saving leaves what has no name yet; nobody takes that for a checkpoint.
    cp -r killed went_on
    check "going on after a death" try 0 2 text "${long[@]}" --max-steps $((step + 10)) --checkpoint-dir went_on "${resume[@]}"
    check "as if nobody had died" try 0 0 text "${long[@]}" --max-steps $((step + 10)) --checkpoint-dir unharmed
    check "the same model after a death" same_model unharmed/final_model.cllm went_on/final_model.cllm
    same=$(same_model unharmed/final_model.cllm went_on/final_model.cllm > log 2>&1 && echo "the same bits" || echo "OTHER BITS")
    [ "$rounds" -gt 3 ] && echo "kill $((round + 1)): rank $victim: $took; from step $step: $same" >&2
done

# ---- With a copy of the first rank's files, in a folder where it sees none of them ----
if unshare -m sh -c "mount -t tmpfs none away" 2> log; then
    for _ in $(seq 3000); do cat text; done > longer
    mkdir lent
    "${mpirun[@]}" -n 1 "$tools/train_model_mpi" longer "${long[@]}" --checkpoint-dir lent : \
        -n 1 -wdir "$PWD/away" unshare -m sh -c "mount -t tmpfs none '$PWD/lent' && exec '$tools/train_model_mpi' \
            longer ${long[*]} --checkpoint-dir lent" > stdout 2> stderr < /dev/null &
    job=$!
    has_copy() { process=$(process_of 1 $job) && find "/proc/$process/fd" -lname "$PWD/away/.cllm-*" | grep -q .; }
    check "a rank gets a copy" wait_for 60 has_copy
    hit KILL "$process"
    ended
    check "it died ($took)" complains "rank 1 \\(process $process on .*\\) died"
    check "nothing is left of its copy" test -z "$(ls -A away)"
    rm -r longer lent
fi

# ---- While the text is read, of which there is no end ----
mkfifo endless
for how in "KILL 0" "KILL 2" "USR1 mpirun"; do
    read -r signal victim <<< "$how"
    rm -rf never
    (while echo some text; do sleep 0.05; done) > endless 2> log &
    "${mpirun[@]}" -n 3 "$tools/train_model_mpi" - "${shape[@]}" --checkpoint-dir never < endless > stdout 2> stderr &
    job=$!
    wait_for 30 test -d never
    sleep 0.5
    process=$job
    [ "$victim" = mpirun ] || process=$(process_of "$victim" $job)
    hit "$signal" "$process"
    ended
    if [ "$signal" = KILL ]; then
        check "rank $victim died in the preparation ($took)" complains "rank $victim \\(process $process on .*\\) died; no checkpoint was saved yet"
        check "in time" test "$in_time" -eq 1
    else
        check "an end in the preparation: its status" test $status -eq 130
        check "an end in the preparation ($took)" once "interrupted before the first step"
    fi
done

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
