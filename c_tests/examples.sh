#!/usr/bin/env bash
# Builds and runs everything in examples/ against the built tree. The last line is
# "N passed, N failed"; reasons on stderr.
cd "$(dirname "$0")/.." || exit 1
. c_tests/check.sh
tree=$PWD
CC=${CC:-cc}
CXX=${CXX:-c++}
read -ra sanitize <<< "${SANITIZE:-}"
ran=" "

# run NAME STATUS ARGUMENTS...: builds examples/NAME and runs it; output in $work/stdout, stderr.
run() {
    local name=$1 want=$2 program status
    shift 2
    program=$work/$(echo "${name%.*}" | tr / _)
    if [[ $ran != *" $name "* ]]; then
        ran+="$name "
        case $name in
        *.c) check "$name builds" "$CC" -std=c11 -Wall -Wextra -Wpedantic -Werror "${sanitize[@]}" -Iinclude \
            "examples/$name" -L. -lcllm -lpthread -lm "-Wl,-rpath,$tree" -o "$program" ;;
        *.cpp) check "$name builds" "$CXX" -std=c++17 -Wall -Wextra -Wpedantic -Werror "${sanitize[@]}" -Iinclude \
            "examples/$name" -L. -lcllm "-Wl,-rpath,$tree" -o "$program" ;;
        esac
    fi
    case $name in
    *.py) timeout 60 env CLLM_LIBRARY="$tree/libcllm.so.1" PYTHONDONTWRITEBYTECODE=1 \
        python3 "examples/$name" "$@" > "$work/stdout" 2> "$work/stderr" ;;
    *) timeout 60 "$program" "$@" > "$work/stdout" 2> "$work/stderr" ;;
    esac
    status=$?
    check "$name $*: status $status, wanted $want" test "$status" -eq "$want"
}
says() { grep -qE -- "$1" "$work/stdout"; }
# goes_on PROMPT: the output is that and some more, in its line or below.
goes_on() { [[ $(cat "$work/stdout") == "$1"?* ]]; }
complains() { grep -qE -- "$1" "$work/stderr"; }
quiet() { ! grep . "$work/stderr"; }

model=$work/cats.cllm
run c/train_from_memory.c 2
run c/train_from_memory.c 0 "$model"
check "the loss falls" says '^step [0-9]+: loss 0\.0'
check "the model speaks" says '^the cat (sat|saw|ran) '
check "the model is there" test -s "$model"
check "nothing on stderr" quiet

run c/generate.c 2
run c/generate.c 0 "$model" "the dog"
check "continues" says '^the dog [a-z.]+ '
cp "$work/stdout" "$work/first"
run c/generate.c 0 "$model" "the dog"
check "the same seed, the same text" cmp "$work/first" "$work/stdout"
run c/generate.c 1 "$work/missing.cllm" "the dog"
check "says what is missing" complains 'missing\.cllm'

run c/stream.c 2
run c/stream.c 0 "$model" "the dog" "$work/stream.state"
check "streams" says '^the dog [a-z.]+ [a-z.]+'
check "keeps its state" test -s "$work/stream.state"
check "nothing on stderr" quiet
run c/stream.c 1 "$model" "the dog" "$work/no/folder/state"
check "says why" complains 'no/folder'

printf 'the dog sat on the mat . the zebra ran to the dog .' > "$work/held_out.txt"
printf 'the dog sat on the mat . the cat ran from the log .' > "$work/known.txt"
tools/cllm_vocab_build "$work/known.txt" -o "$work/vocab.txt" > /dev/null 2>&1
run c/evaluate.c 2
tools/train_model "$work/known.txt" --tokens words --quiet --batch-size 1 --seq-len 4 --embed-dim 16 \
    --num-layers 1 --num-heads 1 --epochs 1 --checkpoint-dir "$work/run" > /dev/null
run c/evaluate.c 0 "$work/run/final_model.cllm" "$work/run/vocab.txt" "$work/held_out.txt"
check "counts and evaluates" says '^14 words, 2 unknown: loss [0-9.]+ nats per word, perplexity [0-9.]+$'

# A log with a pattern, a model of it, and a day on which something happened.
for day in {1..40}; do
    for user in alice bob carol; do
        echo "sshd: session opened for user $user"
        echo "sshd: session closed for user $user"
    done
    printf '%s\n' "kernel: disk sda mounted read and write" "" "cron: backup finished without errors"
done > "$work/week.log"
tools/train_model "$work/week.log" --tokens words --quiet --batch-size 4 --seq-len 16 --embed-dim 32 --num-layers 1 \
    --num-heads 2 --epochs 30 --learning-rate 0.003 --checkpoint-dir "$work/log_run" > /dev/null
{ head -n 60 "$work/week.log"; echo "cron: backup finished write session closed"; tail -n 60 "$work/week.log"; } \
    > "$work/today.log"
run c/next_words.c 2
run c/next_words.c 0 "$work/log_run/final_model.cllm" "kernel: disk sda"
check "three words" test "$(wc -l < "$work/stdout")" -eq 3
check "the likeliest is the right one" bash -c "head -n 1 '$work/stdout' | grep -qE '^ *[0-9.]+ %  kernel: disk sda mounted$'"
check "nothing on stderr" quiet
run c/next_words.c 1 "$work/missing.cllm" "kernel:"
run c/strange_lines.c 2
run c/strange_lines.c 0 "$work/log_run/final_model.cllm" "$work/today.log"
check "ten lines" test "$(wc -l < "$work/stdout")" -eq 10
check "the strangest is the strange one" \
    bash -c "head -n 1 '$work/stdout' | grep -qE '^ *[0-9.]+  cron: backup finished write session closed$'"
check "nothing on stderr" quiet
run c/strange_lines.c 1 "$work/log_run/final_model.cllm" "$work/missing.log"
check "in at most 40 lines" test "$(wc -l < examples/c/next_words.c)" -le 40 -a "$(wc -l < examples/c/strange_lines.c)" -le 40

run c/learn.c 2
run c/learn.c 0 "$work/learnt.cllm" "$work/week.log" 2
check "says what was chosen" says '^Model: width '
check "the model is there" test -s "$work/learnt.cllm"
check "nothing on stderr" quiet
for line in {1..200}; do echo "mail: a letter has come for user dora, the ${line}th"; done > "$work/new.log"
before=$(tools/cllm_inference "$work/learnt.cllm" --score "$work/new.log" | grep -oE '[0-9.]+ bits per byte')
run c/learn.c 0 "$work/learnt.cllm" "$work/new.log" 2
after=$(tools/cllm_inference "$work/learnt.cllm" --score "$work/new.log" | grep -oE '[0-9.]+ bits per byte')
check "goes on: $before, then $after" awk -v a="${before%% *}" -v b="${after%% *}" 'BEGIN { exit !(b + 0 < a + 0 && b != "") }'
cp "$work/learnt.cllm" "$work/before.cllm"
run c/learn.c 1 "$work/learnt.cllm" "$work/missing.log" 1
check "a text that is missing" complains 'missing\.log'
check "the model stays" cmp "$work/before.cllm" "$work/learnt.cllm"
run c/learn.c 1 "$work/week.log" "$work/new.log" 1
check "no model" complains 'week\.log: is not a model file'

run c/small_model.c 2
run c/small_model.c 0 "$work/log_run/final_model.cllm" "$work/small.cllm" "kernel: disk sda mounted"
check "two models" test "$(grep -cE '^(floats|8 bits) +[0-9]+ bytes, [0-9.]+ nats per token$' "$work/stdout")" -eq 2
check "the second is smaller" test "$(stat -c %s "$work/small.cllm")" -lt "$(stat -c %s "$work/log_run/final_model.cllm")"
check "nothing on stderr" quiet
run c/small_model.c 1 "$work/missing.cllm" "$work/small.cllm" "kernel:"

run c/hand_made_model.c 0
check "one season after the other" says '^spring summer autumn winter$'
check "the logits are as computed by hand" says '^summer -> autumn \(logits 2\.0 8\.0 16\.0 0\.0\)$'

run c/log_callback.c 0
check "logs" says '^\[error\] cllm_read_model: there-is-no-such-file'
check "remembers" says '^last error: cllm_read_model: nor-this-one'
check "nothing on stderr" quiet

run c/threads.c 0 "$model" "the cat"
check "eight texts" test "$(grep -c '(seed [0-3]): the cat ' "$work/stdout")" -eq 8

run cpp/generate.cpp 2
run cpp/generate.cpp 0 "$model" "the cat"
check "continues" says '^the cat [a-z.]+ '
run cpp/generate.cpp 1 "$work/missing.cllm" "the cat"
check "an error is an exception with its reason" complains '^cllm_read_model: .*missing\.cllm'
run cpp/train.cpp 0 "$work/numbers.cllm"
check "40 epochs" says '^[1-9][0-9]+ batches, 40 epochs, loss [0-9.e-]+$'
check "trains" says '^one two three four five six seven eight nine ten'
check "exceptions of callbacks come back" says '^thrown in a callback: enough$'

# The tests of the package itself are in python/tests.
if python3 -c 'import numpy' 2> /dev/null; then
    export PYTHONPATH=$tree/python/src
    run python/generate.py 2
    run python/generate.py 0 "$model" "the cat"
    check "continues" says '^the cat [a-z.]+ '
    run python/generate.py 1 "$work/missing.cllm" "the cat"
    check "an error is an exception with its reason" complains '^cllm_read_model: .*missing\.cllm'
else
    skip Python "python3 or numpy is not installed"
    ran+="python/generate.py "
fi

if command -v cargo > /dev/null; then
    # A package of its own, in a folder outside of the tree, with the versions that the tree uses.
    mkdir "$work/rust"
    cp Cargo.lock examples/rust/*.rs "$work/rust"
    sed "s|\.\./\.\./crates|$tree/crates|" examples/rust/Cargo.toml > "$work/rust/Cargo.toml"
    for page in README docs/GUIDE; do
        name=$(basename "$page" | tr '[:upper:]' '[:lower:]')
        awk '/^```rust/ { on = 1; next } /^```/ { on = 0 } on' "$page.md" > "$work/rust/$name.rs"
        printf '[[bin]]\nname = "%s"\npath = "%s.rs"\n' "$name" "$name" >> "$work/rust/Cargo.toml"
    done
    rust() { rust_program train_and_generate "$@"; }
    rust_program() {
        local name=$1
        shift
        (cd "$work/rust" && timeout 900 cargo run --quiet --offline --release --bin "$name" \
            --target-dir "$tree/target/examples" -- "$@") > "$work/stdout" 2> "$work/stderr"
    }
    for _ in {1..40}; do echo "the cat sat on the mat . the dog sat on the log ."; done > "$work/pets.txt"
    rust
    check "rust/train_and_generate.rs without arguments" test $? -eq 2
    rust "$work/pets.txt" "$work/pets.cllm" "the cat"
    check "rust/train_and_generate.rs: $(tail -n 1 "$work/stderr")" test $? -eq 0
    check "the loss falls" says '^epoch 40: loss 0\.[0-4]'
    check "the model speaks" says '^the cat sat on the (mat|log) \. the (cat|dog) '
    check "the C library reads the model" tools/cllm_info "$work/pets.cllm"
    rust "$work/missing.txt" "$work/pets.cllm" "the cat"
    check "a text that is not there" test $? -eq 1
    check "an error says its reason" complains 'missing\.txt'
    check "and the model is as it was" test -s "$work/pets.cllm"
    for _ in {1..10}; do cat examples/c/*.c; done > "$work/programs.txt"
    rust_program learn "$work/programs.txt" "$work/programs.cllm" 6
    check "rust/learn.rs: $(tail -n 1 "$work/stderr")" test $? -eq 0
    check "says what it chose" says '^Training: [0-9]+ steps of '
    check "ends on time" says '^[0-5]\.[0-9]+ bits for a byte of the last tenth, after [67] s$'
    check "its model is one" tools/cllm_info "$work/programs.cllm"
    mkdir -p "$work/rust/checkpoints" && cp "$work/pets.cllm" "$work/rust/checkpoints/final_model.cllm"
    rust_program readme
    check "the program of the README: $(tail -n 1 "$work/stderr")" says '^int main.'
    rust_program guide "$work/pets.cllm"
    check "the program of the guide: $(tail -n 1 "$work/stderr")" goes_on 'the library'
    check "in fewer than 60 lines" test "$(wc -l < examples/rust/train_and_generate.rs)" -lt 60
    check "without unsafe" bash -c "! grep -q unsafe examples/rust/*"
else
    skip Rust "cargo is not installed"
fi
ran+="rust/Cargo.toml rust/train_and_generate.rs rust/learn.rs "

# ---- A job of several machines: here two processes ----
if [ -x tools/train_model_mpi ] && command -v mpirun > /dev/null; then
    seq 1 400 > "$work/numbers"
    job() {
        env PATH="$PWD/tools:$PATH" DATA="$work/numbers" FOLDER="$work/job" SLURM_CPUS_PER_TASK=1 OMPI_MCA_rmaps_base_oversubscribe=1 \
            LAUNCH="mpirun $(mpirun --version | grep -q 'Open MPI' && echo --allow-run-as-root) -n 2" \
            sh examples/slurm/train.sbatch < /dev/null
    }
    check "the job trains" job
    check "its model is there" test -s "$work/job/final_model.cllm"
else
    skip "the job of several machines" "MPI is not installed"
fi
ran+="slurm/train.sbatch "

# Nothing lies around that is not tried here, and the page names everything.
for file in examples/*/*; do
    name=${file#examples/}
    check "$name is tried" bash -c "[[ '$ran' == *' $name '* ]]"
    check "$name is on the page" grep -qF "($name)" examples/README.md
done

finish
