#!/usr/bin/env bash
# Black-box tests of the command-line tools: c_tests/tools.sh FOLDER [WRAPPER...]
# runs the programs in FOLDER, each through WRAPPER (valgrind, an emulator) if there is one. The last line is
# "N passed, N failed"; what failed stands on stderr.
. "$(dirname "$0")/check.sh"
# Reports of a sanitizer must not look like the tools' own exit statuses.
export ASAN_OPTIONS=exitcode=99 LSAN_OPTIONS=exitcode=99 UBSAN_OPTIONS=exitcode=99

tools=$(cd "$1" && pwd) || exit 1
shift
wrapper=("$@")
native=false # timing matters to some tests
case "${RUN_THROUGH-}${wrapper[*]-}$tools" in *valgrind* | *asan* | *qemu*) ;; *) native=true ;; esac

cd "$work" || exit 1

name=

# check WORDS...: the exit status of `test` or another command decides.
check() { if "$@"; then pass; else fail "$name: failed: $*"; fi; }

# run NAME STATUS TOOL ARGUMENTS...: output in ./stdout and ./stderr.
run() {
    name=$1
    local want=$2 tool=$3 status
    shift 3
    timeout 300 "${wrapper[@]}" "$tools/$tool" "$@" > stdout 2> stderr
    status=$?
    check test "$status" -eq "$want"
}

says() { grep -qE -- "$1" stdout; }
complains() { grep -qF -- "$1" stderr; }
quiet_errors() { test ! -s stderr; }
absent() { test ! -e "$1"; }
# Two models with the same weights: the header holds the times.
same_model() { cmp -s -i 1576 "$1" "$2"; }
other_model() { ! same_model "$1" "$2"; }
words() { wc -w < "$1"; }
# record FILE STEPS: metrics.csv has its head once and each step once, in order, in whole rows.
record() {
    awk -F , -v steps="$2" '
        NR == 1 { if ($0 != "step,epoch,train_loss,learning_rate,gradient_norm,tokens_per_second,val_loss,train_bits_per_byte,val_bits_per_byte,order0_bits_per_byte") exit 1; next }
        NF != 10 || $8 !~ /^[0-9.]+$/ || $1 != NR - 1 || $3 !~ /^[0-9.]+$/ || $4 !~ /^[0-9.e-]+$/ { exit 1 }
        END { if (NR != steps + 1) exit 1 }' "$1"
}
# What of a record depends on the run, not on the machine.
record_without_speed() { cut -d , -f 1-5,7-10 "$1"; }
same_record() { cmp -s <(record_without_speed "$1") <(record_without_speed "$2"); }
picture() { grep -q '^<svg' "$1" && tail -n 1 "$1" | grep -q '</svg>$'; }

# Nothing else can work if this does not.
"$tools/cllm_tokenize" --help > /dev/null || {
    fail "cllm_tokenize --help"
    finish
    exit 1
}

# 1500 words, 31 different ones, in an order that can be learnt.
awk 'BEGIN { for (i = 0; i < 1500; i++) printf "%s%s", "w" (i * i % 61), i % 12 == 11 ? "\n" : " " }' > text
small=(--tokens words --embed-dim 16 --num-layers 2 --num-heads 2 --seq-len 8 --batch-size 4)

# ---- train_model: what is refused ----
run "help" 0 train_model --help
for option in vocab-size min-freq vocab embed-dim num-layers num-heads batch-size seq-len short-windows learning-rate epochs \
    threads checkpoint-dir tokens block from mix minutes beta2 dropout shuffle in-order keep-weights precision warmup schedule weight-decay clip seed val-fraction resume max-steps \
    save-every keep overwrite sample quiet help; do
    name="help names --$option"
    check says "--$option"
done
run "no data" 2 train_model
check complains "DATA"
run "unknown option" 2 train_model text --bogus
check complains "--bogus"
run "unknown letter" 2 train_model text -q
check complains "-q"
run "option without value" 2 train_model text --epochs
check complains "--epochs"
run "no number" 2 train_model text --epochs three
check complains "three"
run "half a number" 2 train_model text --learning-rate 0.1x
check complains "0.1x"
run "not a number" 2 train_model text --clip nan
check complains "nan"
run "zero epochs" 2 train_model text --epochs 0
check complains "--epochs"
run "huge number" 2 train_model text --batch-size 99999999999999999999
check complains "--batch-size"
run "heads do not divide" 2 train_model text --tokens words --embed-dim 32 --num-heads 3
check complains "--num-heads"
run "unknown schedule" 2 train_model text --schedule steep
check complains "steep"
run "all held out" 2 train_model text --val-fraction 1
check complains "--val-fraction"
run "two texts" 2 train_model text more
check complains "more"
run "missing text" 1 train_model nowhere.txt --checkpoint-dir made
check complains "nowhere.txt"
check absent made
printf 'too short' > short
run "short text" 1 train_model short --checkpoint-dir made
check complains "short"
check absent made
: > empty
run "empty text" 1 train_model empty --checkpoint-dir made
check complains "empty"
mkdir no_files
run "empty folder" 1 train_model no_files --checkpoint-dir made
check complains "no_files"
check absent made
run "folder is a file" 1 train_model text "${small[@]}" --epochs 1 --checkpoint-dir short
check complains "short"
check test "$(cat short)" = "too short"

# ---- train_model: a run ----
run "training" 0 train_model text "${small[@]}" --epochs 2 --learning-rate 0.01 --val-fraction 0.1 \
    --threads 2 --checkpoint-dir a/b --sample "w1 w4"
number='[0-9]+\.[0-9]{4}'
for epoch in 1 2; do
    check says "^Epoch $epoch: Average Loss = $number, Best Loss = $number, Validation Loss = $number, Perplexity = [0-9.]+$"
done
for step in 1 2 3 4 5 6; do
    check says "^Step $step: "
done
check says "^  w1 w4 w[0-9]+"
check says "tokens/s, peak memory"
check quiet_errors
if $native; then
    name="the memory of the program that starts it does not count"
    peak=$(python3 -c 'import subprocess, sys; held = b"x" * (1 << 29); sys.exit(subprocess.run(sys.argv[1:]).returncode)' \
        "$tools/train_model" text "${small[@]}" --max-steps 2 --threads 1 --checkpoint-dir peak 2> log |
        sed -n 's/.*peak memory \([0-9]*\).*/\1/p')
    check test "${peak:-999}" -lt 400
fi
name="no progress bar in a file"
check test "$(tr -dc '\r' < stdout | wc -c)" -eq 0
name="files of a run"
steps=$((2 * ((1350 - 1) / 32)))
for file in vocab.txt dataset.bin held_out.bin "checkpoint_step_$steps.cllm" "checkpoint_step_$steps.cllm.state" \
    final_model.cllm; do
    check test -s "a/b/$file"
done
check test "$(find a/b -type f | wc -l)" -eq 8
check record a/b/metrics.csv $steps
check picture a/b/loss.svg
for part in training validation 'Learning rate'; do
    check grep -q "$part" a/b/loss.svg
done
name="validation loss at the end of each epoch"
check test "$(awk -F , 'NR > 1 && $7 != "" { printf "%d ", $1 }' a/b/metrics.csv)" = "$((steps / 2)) $steps "
check test "$(awk -F , 'END { printf "%.4f", $7 }' a/b/metrics.csv)" = \
    "$(sed -n 's/^Epoch 2: .*Validation Loss = \([0-9.]*\),.*/\1/p' stdout)"
name="a line of blocks for each epoch"
check test "$(grep -cE "^  loss $number (▁|▂|▃|▄|▅|▆|▇|█){42,48} $number  steps 1 to [0-9]+$" stdout)" -eq 2
distinct=$(tr -s ' \n' '\n\n' < text | head -n 1350 | sort -u | wc -l)
check test "$(wc -l < a/b/vocab.txt)" -eq $((distinct + 5))
check test "$(od -A n -t u8 -N 8 a/b/dataset.bin)" -eq 1350
check test "$(wc -c < a/b/dataset.bin)" -ge $((8 + 4 * 1350))

name="a second text file"
mkdir folder folder/deeper
head -n 60 text > folder/1.txt
tail -n +61 text > folder/deeper/2.txt
run "a folder" 0 train_model folder "${small[@]}" --epochs 2 --learning-rate 0.01 \
    --val-fraction 0.1 --checkpoint-dir c --quiet
name="a folder is the text in its files"
check same_model a/b/final_model.cllm c/final_model.cllm
name="--quiet prints one line"
check test "$(wc -l < stdout)" -eq 1

run "8-bit weights" 0 train_model folder "${small[@]}" --epochs 2 --learning-rate 0.01 \
    --val-fraction 0.1 --checkpoint-dir eight --save-8bit
name="the same model beside its 8-bit weights"
check says "^Saved eight/final_model_8bit.cllm, with 8-bit weights$"
check same_model a/b/final_model.cllm eight/final_model.cllm
check test "$(stat -c %s eight/final_model_8bit.cllm)" -lt "$(stat -c %s eight/final_model.cllm)"
run "they generate" 0 cllm_inference eight/final_model_8bit.cllm -p "w1 w4" -n 5
check test -s stdout
run "they are shown" 0 cllm_info eight/final_model_8bit.cllm
check says "^weights +8 bits$"
run "they are shown in JSON" 0 cllm_info --json eight/final_model_8bit.cllm
check says '"weights": "8 bits"'
run "they can't be trained" 1 train_model text --from eight/final_model_8bit.cllm --checkpoint-dir no
check complains "final_model.cllm"
run "an earlier run's are set aside" 0 train_model folder "${small[@]}" --epochs 1 --checkpoint-dir eight --quiet
check test -s eight/earlier-1/final_model_8bit.cllm
check absent eight/final_model_8bit.cllm

run "one thread" 0 train_model text "${small[@]}" --epochs 2 --learning-rate 0.01 \
    --val-fraction 0.1 --checkpoint-dir one --threads 1 --quiet
run "three threads" 0 train_model text "${small[@]}" --epochs 2 --learning-rate 0.01 \
    --val-fraction 0.1 --checkpoint-dir three --threads 3 --quiet
name="threads do not change the weights"
check same_model one/final_model.cllm a/b/final_model.cllm
check same_model one/final_model.cllm three/final_model.cllm
run "another seed" 0 train_model text "${small[@]}" --epochs 2 --learning-rate 0.01 \
    --val-fraction 0.1 --checkpoint-dir seeded --seed 7 --quiet
check other_model one/final_model.cllm seeded/final_model.cllm

run "small vocabulary" 0 train_model text "${small[@]}" --epochs 1 --vocab-size 10 --max-steps 2 \
    --checkpoint-dir limited --quiet
check test "$(wc -l < limited/vocab.txt)" -eq 10
for schedule in cosine linear step; do
    run "schedule $schedule" 0 train_model text "${small[@]}" --epochs 1 --schedule "$schedule" \
        --max-steps 3 --warmup 1 --weight-decay 0 --clip 0 --checkpoint-dir "s_$schedule" --quiet
    check test -s "s_$schedule/checkpoint_step_3.cllm"
done
# Each step multiplies the matrices by -9999.
run "a loss that is no number" 1 train_model text "${small[@]}" --learning-rate 100 --weight-decay 100 \
    --warmup 0 --epochs 30 --checkpoint-dir diverged --quiet
check complains "--learning-rate"
check complains "step"
check absent diverged/final_model.cllm
check test -z "$(find diverged -name '.cllm-*')"
if [ -w /dev/full ]; then
    name="a full disk behind stdout"
    "${wrapper[@]}" "$tools/train_model" text "${small[@]}" --max-steps 1 --checkpoint-dir full \
        > /dev/full 2> stderr
    check test $? -eq 1
    check complains "standard output"
fi

# ---- train_model: texts and vocabularies ----
tiny=(--epochs 1 --max-steps 2 "${small[@]}")
sixty='BEGIN { for (i = 0; i < 60; i++) printf "The cat sat on the mat%s", i % 2 ? "\r\n" : " " }'
awk "$sixty" > dress_bytes
{ printf '\xef\xbb\xbf'; cat dress_bytes; } > dress_mark
if command -v iconv > /dev/null; then
    { printf '\xff\xfe'; iconv -f UTF-8 -t UTF-16LE dress_bytes; } > dress_16
    iconv -f UTF-8 -t UTF-16BE dress_bytes > dress_16_bare
    iconv -f UTF-8 -t UTF-32LE dress_bytes > dress_32_bare
fi
for dress in dress_bytes dress_mark dress_16 dress_16_bare dress_32_bare; do
    [ -e "$dress" ] || continue
    run "$dress" 0 train_model "$dress" "${tiny[@]}" --checkpoint-dir "in_$dress" --quiet
    check cmp -s in_dress_bytes/vocab.txt "in_$dress/vocab.txt"
    check cmp -s in_dress_bytes/dataset.bin "in_$dress/dataset.bin"
    run "$dress in a prompt" 0 cllm_tokenize -v in_dress_bytes/vocab.txt -f "$dress"
    check test "$(cut -d ' ' -f 1-6 stdout)" = "5 6 7 8 5 9"
    run "$dress in a vocabulary" 0 cllm_vocab_build "$dress" -o v
    check cmp -s in_dress_bytes/vocab.txt v
done
head -c 3000 /dev/zero > dress_none
run "no text" 1 train_model dress_none "${tiny[@]}" --checkpoint-dir never --quiet
check complains "is no text"
check absent never

{ cat text; echo "once never rarely"; } > rare
run "words seen once" 0 train_model rare "${tiny[@]}" --val-fraction 0.02 --checkpoint-dir rare_all
held=$(sed -n 's/.*of the held-out ones \([0-9.]*\)%$/\1/p' stdout)
check test "$held" = 10.00
run "words seen once in the text" 0 train_model rare "${tiny[@]}" --checkpoint-dir rare_all
check says "^  3 entries were seen once; --min-freq 2"
run "--min-freq" 0 train_model rare "${tiny[@]}" --min-freq 2 --checkpoint-dir rare_less
check test "$(grep -c -E '^(once|never|rarely)\b' rare_less/vocab.txt)" -eq 0
check test "$(wc -l < rare_less/vocab.txt)" -eq $(($(wc -l < rare_all/vocab.txt) - 3))
run "nothing left" 1 train_model rare "${tiny[@]}" --min-freq 10000 --checkpoint-dir never
check absent never
run "--vocab" 0 train_model rare "${tiny[@]}" --vocab rare_less/vocab.txt --checkpoint-dir given --quiet
check cmp -s rare_less/vocab.txt given/vocab.txt
check same_model rare_less/final_model.cllm given/final_model.cllm
name="--vocab from a pipe"
"${wrapper[@]}" "$tools/train_model" rare "${tiny[@]}" --vocab - --checkpoint-dir piped --quiet \
    < <(cat rare_less/vocab.txt) > stdout 2> stderr
check same_model rare_less/final_model.cllm piped/final_model.cllm
run "--vocab and --vocab-size" 2 train_model rare --vocab v --vocab-size 9
check complains "--vocab"

# ---- train_model: going on where a run stood ----
long=("${small[@]}" --epochs 3 --learning-rate 0.01 --threads 2 --quiet)
run "whole run" 0 train_model text "${long[@]}" --checkpoint-dir whole
per_epoch=$(((1500 - 1) / 32))
for stop in 1 $per_epoch $((per_epoch + 10)) $((3 * per_epoch)); do
    run "stop at $stop" 0 train_model text "${long[@]}" --checkpoint-dir "part$stop" --max-steps "$stop"
    run "resume from $stop" 0 train_model text "${long[@]}" --checkpoint-dir "rest$stop" \
        --resume "part$stop/checkpoint_step_$stop.cllm"
    check same_model whole/final_model.cllm "rest$stop/final_model.cllm"
    check record "part$stop/metrics.csv" "$stop"
    check same_record whole/metrics.csv "rest$stop/metrics.csv"
    check cmp -s "whole/checkpoint_step_$((3 * per_epoch)).cllm.state" \
        "rest$stop/checkpoint_step_$((3 * per_epoch)).cllm.state"
done
run "--save-every" 0 train_model text "${long[@]}" --checkpoint-dir every --save-every 50
for step in 50 100 138; do
    check test -s "every/checkpoint_step_$step.cllm.state"
done
check test "$(find every -name '*.state' | wc -l)" -eq 3
check same_model whole/final_model.cllm every/final_model.cllm

run "resume in the same folder" 0 train_model text "${long[@]}" --checkpoint-dir every --save-every 50 \
    --resume every/checkpoint_step_50.cllm
check same_record whole/metrics.csv every/metrics.csv
name="a record that ends in half a row"
printf '139,4,2.' >> every/metrics.csv
run "resume from a torn record" 0 train_model text "${long[@]}" --checkpoint-dir every \
    --resume every/checkpoint_step_138.cllm
check same_record whole/metrics.csv every/metrics.csv
printf 'a,b\n1,2\n' > every/metrics.csv
run "resume beside another metrics.csv" 0 train_model text "${small[@]}" --epochs 3 --learning-rate 0.01 \
    --threads 2 --checkpoint-dir every --resume every/checkpoint_step_100.cllm
check complains "metrics.csv"
check test "$(sed -n 2p every/metrics.csv | cut -d , -f 1)" -eq 101
check test "$(wc -l < every/metrics.csv)" -eq 39
rm every/metrics.csv
run "resume without a record" 0 train_model text "${long[@]}" --checkpoint-dir every \
    --resume every/checkpoint_step_100.cllm
check test "$(wc -l < every/metrics.csv)" -eq 39
rm every/loss.svg && mkdir every/loss.svg
run "a picture that can't be drawn" 0 train_model text "${small[@]}" --epochs 3 --learning-rate 0.01 \
    --threads 2 --checkpoint-dir every --resume every/checkpoint_step_138.cllm
check complains "loss.svg"
check same_model whole/final_model.cllm every/final_model.cllm

run "resume without a file" 1 train_model text "${long[@]}" --checkpoint-dir gone --resume gone.cllm
check complains "gone.cllm"
check absent gone
head -c 5000 part1/checkpoint_step_1.cllm.state > broken.cllm.state
cp part1/checkpoint_step_1.cllm broken.cllm
run "resume from half a file" 1 train_model text "${long[@]}" --checkpoint-dir gone --resume broken.cllm
check complains "broken.cllm"
check absent gone
run "resume another shape" 1 train_model text "${long[@]}" --embed-dim 32 --checkpoint-dir gone \
    --resume part1/checkpoint_step_1.cllm
check absent gone
sed 's/w/v/g' text > renamed
run "resume another text" 1 train_model renamed "${long[@]}" --checkpoint-dir gone \
    --resume part1/checkpoint_step_1.cllm
check complains "vocabulary"
check absent gone
# The same without the model beside the state; other text of the same words; other batches; other heads.
cp part1/checkpoint_step_1.cllm.state alone.cllm.state
run "resume another text, the state alone" 1 train_model renamed "${long[@]}" --checkpoint-dir gone \
    --resume alone.cllm
check complains "another text"
cat text text > twice
run "resume twice the text" 1 train_model twice "${long[@]}" --checkpoint-dir gone \
    --resume part1/checkpoint_step_1.cllm
check complains "another text"
run "resume in other batches" 1 train_model text "${long[@]}" --batch-size 3 --checkpoint-dir gone \
    --resume part1/checkpoint_step_1.cllm
check complains "batches"
run "resume with other heads" 1 train_model text "${long[@]}" --num-heads 1 --checkpoint-dir gone \
    --resume part1/checkpoint_step_1.cllm
check complains "heads"
check absent gone

# wait_for FILE: up to 30 s.
wait_for() {
    for _ in $(seq 600); do
        [ -e "$1" ] && return
        sleep 0.05
    done
    return 1
}

if $native; then
    # Long enough to be caught in the middle.
    slow=("${small[@]}" --epochs 60 --learning-rate 0.01 --threads 1 --quiet --embed-dim 48)
    run "uninterrupted" 0 train_model text "${slow[@]}" --checkpoint-dir calm
    for signal in KILL INT TERM; do
        name="SIG$signal"
        "$tools/train_model" text "${slow[@]}" --save-every 20 --checkpoint-dir "hit_$signal" \
            > stdout 2> stderr &
        pid=$!
        check wait_for "hit_$signal/checkpoint_step_60.cllm.state"
        kill "-$signal" "$pid"
        wait "$pid" 2> /dev/null
        status=$?
        check absent "hit_$signal/final_model.cllm"
        if [ "$signal" = KILL ]; then
            check test "$status" -eq 137
            checkpoint=hit_KILL/checkpoint_step_60.cllm
        else
            check test "$status" -eq 130
            check complains "--resume"
            checkpoint=$(sed -n 's/.*--resume //p' stderr)
        fi
        run "resume after SIG$signal" 0 train_model text "${slow[@]}" --checkpoint-dir "on_$signal" \
            --resume "$checkpoint"
        check same_model calm/final_model.cllm "on_$signal/final_model.cllm"
        check same_record calm/metrics.csv "on_$signal/metrics.csv"
    done
fi

# ---- cllm_inference ----
model=a/b/final_model.cllm
run "generation" 0 cllm_inference $model -p "w1 w4" -n 12 -s 3
cp stdout first
check says "^w1 w4 w[0-9]+"
check test "$(words stdout)" -eq 14 # special words are not drawn
check quiet_errors
name="every word is one of the vocabulary's"
check test -z "$(tr -s ' \n' '\n\n' < stdout | sed '/^$/d' | sort -u | comm -23 - <(cut -f 1 a/b/vocab.txt | sort))"
run "a thousand words" 0 cllm_inference $model -p "w1 w4" -n 1000 -s 3
check test "$(words stdout)" -eq 1002
check quiet_errors
run "unknown words" 0 cllm_inference $model -p "w1 Zeitgeist W4 <EOS>" -n 3 -s 3
check complains "does not know 2 of 4 words: Zeitgeist, <EOS>"
run "many unknown words" 0 cllm_inference $model -p "a b c d e f w1" -n 3 -s 3
check complains "does not know 6 of 7 words: a, b, c, d, e, ..."
run "same seed" 0 cllm_inference $model -p "w1 w4" -n 12 -s 3 --threads 2
check cmp -s stdout first
run "long options" 0 cllm_inference $model a/b/vocab.txt --prompt "w1 w4" --tokens 12 --seed 3 \
    --temperature 0.8 --top-k 40 --top-p 0.9 --repeat-penalty 1 --threads 1
check cmp -s stdout first
run "greedy" 0 cllm_inference $model -p "w1 w4" -n 12 --greedy
cp stdout greedy
run "greedy again" 0 cllm_inference $model -p "w1 w4" -n 12 -t 0
check cmp -s stdout greedy
run "top-k 1" 0 cllm_inference $model -p "w1 w4" -n 12 -k 1
check cmp -s stdout greedy
run "no prompt" 0 cllm_inference $model -n 3 -s 1 < /dev/null
check says "^w[0-9]+ "
name="prompt from stdin"
printf 'w1\nw4\n' | "${wrapper[@]}" "$tools/cllm_inference" $model -p - -n 12 -s 3 > stdout 2> stderr
check test "$(tr -s ' \n' '  ' < stdout)" = "$(tr -s ' \n' '  ' < first)"
run "verbose" 0 cllm_inference $model -p "w1 w4" -n 12 -s 3 -v
check cmp -s stdout first
check complains "$model"
check complains "tokens/s"
check complains "Done."
if [ -e "$tools/cllm_inference_fixed" ]; then
    run "old name" 0 cllm_inference_fixed $model a/b/vocab.txt -p "w1 w4" -n 12 -s 3
    check cmp -s stdout first
fi
name="a reader that leaves"
(trap '' PIPE; "${wrapper[@]}" "$tools/cllm_inference" $model -p "w1 w4" -n 400 2> stderr; echo $? > status) |
    head -c 1 > /dev/null
check test "$(cat status)" -eq 0
check quiet_errors

run "no model" 2 cllm_inference
check complains "MODEL"
run "missing model" 1 cllm_inference nowhere.cllm -p w1
check complains "nowhere.cllm"
run "a text as model" 1 cllm_inference text -p w1
check complains "text"
head -c 3000 $model > cut.cllm
run "half a model" 1 cllm_inference cut.cllm -p w1
check complains "cut.cllm"
check test ! -s stdout
run "missing vocabulary" 1 cllm_inference $model nowhere.txt -p w1
check complains "nowhere.txt"
run "empty prompt" 1 cllm_inference $model -p " "
check complains "prompt"
run "three names" 2 cllm_inference $model a/b/vocab.txt more -p w1
check complains "more"
run "unknown option" 2 cllm_inference $model --beam 4
check complains "--beam"
run "no number" 2 cllm_inference $model -p w1 -n many
check complains "many"
run "temperature" 2 cllm_inference $model -p w1 -t -1
check complains "--temperature"
run "top-p" 2 cllm_inference $model -p w1 --top-p 1.5
check complains "--top-p"
run "help" 0 cllm_inference -h
for option in --prompt --tokens --temperature --top-k --seed --verbose --help --top-p \
    --repeat-penalty --greedy --threads; do
    check says "$option"
done

# A v1 file: header without an extension, embeddings, attention, feed-forward, and no words.
vocabulary=$(wc -l < a/b/vocab.txt)
body=$((4 * (vocabulary * 16 + 2 * (3 * 16 * 16 + 2 * 16 * 64 + 64 + 16))))
{
    head -c 1384 $model
    head -c 192 /dev/zero
    tail -c +1577 $model | head -c "$body"
} > v1.cllm
run "v1 model with VOCAB" 0 cllm_inference v1.cllm a/b/vocab.txt -p "w1 w4" -n 8 -s 3 -v
check says "^w1 w4 w[0-9]+"
check complains "a/b/vocab.txt"
run "v1 model alone" 0 cllm_inference v1.cllm -p "w1 w4" -n 8 -s 3
check complains "warning"
check says "^w1 w4 token_[0-9]+"
name="VOCAB from standard input"
"${wrapper[@]}" "$tools/cllm_inference" v1.cllm - -p "w1 w4" -n 8 -s 3 < a/b/vocab.txt > stdout 2> stderr
check says "^w1 w4 w[0-9]+"
run "VOCAB and prompt from standard input" 2 cllm_inference v1.cllm -
check complains "standard input"
run "VOCAB of another size" 1 cllm_inference v1.cllm <(awk 'BEGIN { for (i = 0; i < 999; i++) print "x" i "\t1" }') -p x1

# ---- cllm_tokenize ----
vocab=a/b/vocab.txt
run "encode" 0 cllm_tokenize -v $vocab w1 "W4 nonsense"
id() { awk -F '\t' -v word="$1" '$1 == word { print NR - 1 }' $vocab; }
check test "$(cat stdout)" = "$(id w1) $(id w4) 1"
run "decode" 0 cllm_tokenize -v $vocab -d "$(id w4)" "$(id w1)"
check test "$(cat stdout)" = "w4 w1"
run "encode a file" 0 cllm_tokenize -v $vocab -f text -o ids
check test "$(words ids)" -eq 1500
check test ! -s stdout
run "decode a file" 0 cllm_tokenize -v $vocab -d -f ids
check test "$(tr -s ' \n' '  ' < stdout)" = "$(tr -s ' \n' '  ' < text)"
name="stdin"
printf 'one two one' | "${wrapper[@]}" "$tools/cllm_tokenize" > stdout 2> stderr
check test "$(cat stdout)" = "5 6 5"
run "the vocabulary is a pipe" 0 cllm_tokenize -v <(cat $vocab) w1 w4
check test "$(cat stdout)" = "$(id w1) $(id w4)"
name="the vocabulary is standard input"
"${wrapper[@]}" "$tools/cllm_tokenize" -v - w1 w4 < <(cat $vocab) > stdout 2> stderr
check test "$(cat stdout)" = "$(id w1) $(id w4)"
run "both are standard input" 2 cllm_tokenize -v -
check complains "standard input"
{ printf '\xef\xbb\xbf'; sed 's/$/\r/' $vocab; } > edited
run "a vocabulary of a Windows editor" 0 cllm_tokenize -v edited w1 w4
check test "$(cat stdout)" = "$(id w1) $(id w4)"
sed '9s/\t.*//' $vocab > edited
run "a line without a TAB" 1 cllm_tokenize -v edited w1
check complains "line 9 has no TAB"
sed '9s/.*//' $vocab > edited
run "an empty line" 1 cllm_tokenize -v edited w1
check complains "line 9 is empty"
sed '9p' $vocab > edited
run "a line twice" 1 cllm_tokenize -v edited w1
check complains "line 10 repeats"
sed '2d' $vocab > edited
run "a special word is missing" 1 cllm_tokenize -v edited w1
check complains "<UNK>"
name="white space of all kinds"
printf 'page\fchapter\vtwo\r\npage' | "${wrapper[@]}" "$tools/cllm_tokenize" > stdout 2> stderr
check test "$(cat stdout)" = "5 6 7 5"
if $native; then # under valgrind a gigabyte takes minutes
    run "a text that never ends" 1 cllm_tokenize -f /dev/zero
    check complains "more than"
fi
run "statistics" 0 cllm_tokenize -s "a b a c a"
check says "^Words +5$"
check says "^Distinct known words +3$"
check says "^ +3  a$"
run "nothing at all" 0 cllm_tokenize ""
check test "$(cat stdout)" = ""
if command -v python3 > /dev/null; then
    printf 'say "hi" back\\slash \x01bell caf\xc3\xa9 bad\xff\n' > odd
    run "JSON" 0 cllm_tokenize -j -f odd
    check python3 -c 'import json, sys
r = json.load(open("stdout", encoding="utf-8"))
assert r["ids"] == [5, 6, 7, 8, 9, 10], r
assert r["tokens"] == ["say", "\"hi\"", "back\\slash", "\x01bell", "caf\u00e9", "bad\ufffd"], r
assert r["count"] == 6 and r["vocab_size"] == 11, r'
    run "JSON statistics" 0 cllm_tokenize -j -s "a b a"
    check python3 -c 'import json
r = json.load(open("stdout"))
assert r["words"] == 3 and r["distinct"] == 2 and r["unknown"] == 0, r
assert r["most_frequent"][0] == {"token": "a", "id": 5, "count": 2}, r'
    run "JSON decoding" 0 cllm_tokenize -j -d -v $vocab "$(id w1)"
    check python3 -c 'import json; assert json.load(open("stdout")) == {"text": "w1"}'
fi
run "decode without vocabulary" 2 cllm_tokenize -d 5
check complains "-v"
run "no id" 1 cllm_tokenize -v $vocab -d 5 six
check complains "six"
run "id out of range" 1 cllm_tokenize -v $vocab -d 99999
check complains "99999"
run "missing file" 1 cllm_tokenize -f nowhere.txt
check complains "nowhere.txt"
run "missing vocabulary" 1 cllm_tokenize -v nowhere.txt word
check complains "nowhere.txt"
run "no vocabulary" 1 cllm_tokenize -v text word
check complains "text"
run "output folder is missing" 1 cllm_tokenize -o nowhere/ids word
check complains "nowhere/ids"
run "unknown option" 2 cllm_tokenize -x
check complains "-x"
run "file and text" 2 cllm_tokenize -f text word
check complains "word"

# ---- cllm_vocab_build ----
mkdir -p tree/sub tree/.hidden
printf 'Apple pear apple plum' > tree/1.txt
printf 'pear apple fig' > tree/sub/2.md
printf 'apple\0binary' > tree/3.dat
printf 'secret' > tree/.4.txt
run "vocabulary" 0 cllm_vocab_build tree -o v
check test "$(tail -n +6 v | tr '\t\n' '= ')" = "apple=3 pear=2 plum=1 fig=1 "
check test "$(head -n 5 v | cut -f 1 | tr '\n' ' ')" = "<PAD> <UNK> <BOS> <EOS> <MASK> "
run "extensions" 0 cllm_vocab_build tree -e .md,c -o v
check test "$(tail -n +6 v | cut -f 1 | tr '\n' ' ')" = "pear apple fig "
run "frequency limits" 0 cllm_vocab_build tree --min-freq 2 --max-freq 2 -o v
check test "$(tail -n +6 v | cut -f 1)" = "pear"
run "size limit" 0 cllm_vocab_build tree -n 7 -o v -s
check test "$(tail -n +6 v | cut -f 1 | tr '\n' ' ')" = "apple pear "
check says "^Coverage: +71.43%"
run "no subfolders" 0 cllm_vocab_build tree --no-recursive -o v
check test "$(tail -n +6 v | cut -f 1 | tr '\n' ' ')" = "apple pear plum "
run "files" 0 cllm_vocab_build tree/sub/2.md tree/1.txt -r -o v
check test "$(tail -n +6 v | cut -f 1 | tr '\n' ' ')" = "pear apple fig plum "
run "the same as the tokenizer's" 0 cllm_tokenize -v v fig
check test "$(cat stdout)" = "7"
name="standard input"
printf 'pear apple pear' | "${wrapper[@]}" "$tools/cllm_vocab_build" - -o v > stdout 2> stderr
check test "$(tail -n +6 v | tr '\t\n' '= ')" = "pear=2 apple=1 "
if $native; then # more words than a vocabulary has room for at first: counting begins again
    awk 'BEGIN { for (i = 0; i < 1100000; i++) printf "%x\n", i; print "ff" }' > many
    run "a million words" 0 cllm_vocab_build many -o v
    check test "$(wc -l < v)" -eq 1100005
    check test "$(awk -F '\t' '$1 == "ff" { print $2 }' v)" -eq 2
fi
run "no path" 2 cllm_vocab_build
check complains "PATH"
run "missing path" 1 cllm_vocab_build nowhere -o never
check complains "nowhere"
check absent never
run "nothing left" 1 cllm_vocab_build tree --min-freq 100 -o never
check absent never
run "bad output" 1 cllm_vocab_build tree -o nowhere/v
check complains "nowhere/v"
run "limits that exclude each other" 2 cllm_vocab_build tree --min-freq 3 --max-freq 2
check complains "--min-freq"
run "words in a tokenizer.json" 2 cllm_vocab_build tree -o never.json
check complains "never.json"
check absent never.json
run "unknown option" 2 cllm_vocab_build tree --frequency 2
check complains "--frequency"

finish
