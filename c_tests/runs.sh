#!/usr/bin/env bash
# What runs of train_model do to folders, files and each other, and how they end and go on:
# c_tests/runs.sh FOLDER, with the programs in FOLDER.
tools=$(cd "$1" && pwd) || exit 1
cd "$(dirname "$0")/.." || exit 1
. c_tests/check.sh
cd "$work" || exit 1
set +m

# try STATUS TOOL ARGUMENT...: for check; the output is in stdout and stderr.
try() {
    local want=$1 tool=$2
    shift 2
    timeout 120 "$tools/$tool" "$@" > "$work/stdout" 2> "$work/stderr" < /dev/null
    local status=$?
    [ "$status" -eq "$want" ] || { echo "exit status $status"; return 1; }
}
complains() { grep -qF -- "$1" "$work/stderr"; }
silent() { ! grep -qF -- "$1" "$work/stderr"; }
absent() { [ ! -e "$1" ]; }
same_model() { cmp -s -i 1576 "$1" "$2"; }
other_model() { ! same_model "$1" "$2"; }
whole() { [ -s "$1" ] && [ -s "$1.state" ]; }
other_content() { ! cmp -s -n 3 "$1" <(echo old); }
nothing_half() { [ -z "$(find "$1" -name '.cllm-*')" ]; }
steps() { awk -F , 'NR > 1 && $1 != NR - 1 { exit 1 } END { print NR - 1 }' "$1"; }
# rate FILE STEP
rate() { awk -F , -v step="$2" '$1 == step { print $4 }' "$1"; }
wait_for() {
    for _ in $(seq 600); do
        [ -e "$1" ] && return
        sleep 0.05
    done
    return 1
}

awk 'BEGIN { for (i = 0; i < 1500; i++) printf "w%d%s", i * i % 61, i % 12 == 11 ? "\n" : " " }' > text
awk 'BEGIN { for (i = 0; i < 1500; i++) printf "v%d%s", i * i % 97, i % 12 == 11 ? "\n" : " " }' > other
shape=(--tokens words --embed-dim 16 --num-layers 1 --num-heads 2 --seq-len 8 --batch-size 4 --learning-rate 0.01)
small=("${shape[@]}" --threads 1 --quiet) # 46 steps an epoch
long=("${small[@]}" --epochs 2000) # to be stopped

# ---- Outputs are not inputs ----
mkdir -p data/.git data/sub
cp text data/text
echo "secret-token" > data/.git/config
echo "hidden-word" > data/.notes
printf 'a\0b' > data/sub/picture
cd data || exit 1
check "a folder" try 0 train_model . "${shape[@]}" --epochs 1 --save-every 20
check "hidden folders are named" complains "'./.git': is hidden"
check "hidden files are named" complains "'./.notes': is hidden"
check "binary files are named" complains "'./sub/picture': is binary"
cp checkpoints/vocab.txt ../first
for folder in checkpoints copies; do # where a run put them, and where somebody else did
    check "a folder with a run's files in it" try 0 train_model . "${shape[@]}" --epochs 1
    check "the words are those of the text ($folder)" cmp checkpoints/vocab.txt ../first
    mkdir -p copies
    cp checkpoints/vocab.txt copies/words
    cp checkpoints/metrics.csv copies/numbers
    cp checkpoints/loss.svg copies/figure
    cp checkpoints/final_model.cllm copies/model
    (printf '\357\273\277'; sed 's/$/\r/' checkpoints/vocab.txt) > copies/edited
    cp "$work/stdout" copies/log
    cp "$work/stderr" copies/complaints
done
check "copies alone" try 0 cllm_vocab_build copies ../text -o ../built
for name in "words': is a vocabulary" "edited': is a vocabulary" "numbers': is the record" "figure': is the picture" \
    "model': is a model" "log': is the messages" "complaints': is the messages"; do
    check "$name" complains "copies/$name"
done
"$tools/train_model" . "${shape[@]}" --epochs 1 --checkpoint-dir ../elsewhere > printed 2> errors
check "what is printed into the folder" test $? -eq 0
check "is no text" cmp ../elsewhere/vocab.txt ../first
rm printed errors
check "no word of theirs" test -z "$(cut -f 1 checkpoints/vocab.txt | grep -vE '^(w[0-9]+|<[A-Z]+>)$')"
check "a vocabulary of the folder" try 0 cllm_vocab_build . -o ../built
check "many are counted" complains "files and folders in all"
check "the same words" cmp <(cut -f 1 ../built | sort) <(cut -f 1 ../first | sort)
check "a hidden folder by its name" try 0 cllm_vocab_build .git -o ../built
check "has its words" grep -q secret-token ../built
cd ..
mkdir unread
cp text unread/text
cp text unread/locked
chmod 000 unread/locked
as_nobody=()
if [ "$(id -u)" -eq 0 ]; then
    command -v setpriv > /dev/null && as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    chmod 755 .
    mkdir open && chmod 777 open
else
    mkdir open
fi
if [ "$(id -u)" -ne 0 ] || [ ${#as_nobody[@]} -gt 0 ]; then
    timeout 60 "${as_nobody[@]}" "$tools/train_model" unread "${shape[@]}" --epochs 1 \
        --checkpoint-dir open/unread > stdout 2> stderr
    check "an unreadable file is no end" test $? -eq 0
    check "it is named with the reason" grep -q "'unread/locked': Permission denied" stderr
    echo keep > open/read_only
    chmod 444 open/read_only
    timeout 60 "${as_nobody[@]}" "$tools/cllm_tokenize" -o open/read_only a b > stdout 2> stderr
    check "a read-only file is refused" test $? -eq 1
    check "it stays" test "$(cat open/read_only)" = keep
else
    skip "unreadable files" "setpriv is not installed"
fi
"$tools/train_model" - "${small[@]}" --epochs 1 --checkpoint-dir piped < text > stdout 2> stderr
check "standard input" test $? -eq 0
check "a file" try 0 train_model text "${small[@]}" --epochs 1 --checkpoint-dir named
check "are the same text" same_model piped/final_model.cllm named/final_model.cllm

# ---- One folder, one run ----
cp named/metrics.csv record
cp named/final_model.cllm model
chmod 600 named/final_model.cllm
check "another run in its folder" try 0 train_model other "${shape[@]}" --threads 1 --epochs 2 \
    --checkpoint-dir named
check "says where the earlier one is" complains "named/earlier-1"
check "the earlier record" cmp named/earlier-1/metrics.csv record
check "the earlier model" cmp named/earlier-1/final_model.cllm model
check "the earlier checkpoint is whole" whole named/earlier-1/checkpoint_step_46.cllm
check "no file of it stays behind" absent named/checkpoint_step_46.cllm
check "the words are the new run's" grep -q '^v1' named/vocab.txt
check "the new files are as private" test "$(stat -c %a named/final_model.cllm)" = 600
check "--overwrite" try 0 train_model text "${shape[@]}" --threads 1 --epochs 1 --overwrite \
    --checkpoint-dir named
check "says so" complains "replacing"
check "nothing more is set aside" absent named/earlier-2
check "and nothing is left of the other" absent named/checkpoint_step_92.cllm
check "what was set aside is found by its old name" try 0 train_model text "${small[@]}" --epochs 2 \
    --checkpoint-dir onward --resume named/earlier-1/checkpoint_step_46.cllm
rm named/checkpoint_step_46.cllm*
check "in the folder of the run too" try 0 train_model text "${small[@]}" --epochs 2 \
    --checkpoint-dir named --resume named/checkpoint_step_46.cllm
check "it says which it took" complains "named/earlier-1/checkpoint_step_46.cllm"
check "the same result" same_model onward/final_model.cllm named/final_model.cllm

"$tools/train_model" text "${long[@]}" --checkpoint-dir busy > /dev/null 2> busy.err &
pid=$!
check "a run" wait_for busy/metrics.csv
check "a second one in its folder" try 1 train_model other "${small[@]}" --epochs 1 --checkpoint-dir busy
check "is refused by name" complains "another run is writing into 'busy'"
check "its words stay" grep -q '^w1' busy/vocab.txt
kill -KILL $pid
wait $pid 2> /dev/null
check "a killed run holds no lock" try 0 train_model other "${small[@]}" --epochs 1 --checkpoint-dir busy
check "what it left is set aside" test -s busy/earlier-1/vocab.txt

# Two runs into a folder that neither has found: the second waits for its tokens until the first has the lock.
mkfifo tokens
{ touch opened; wait_for go_on; cat first; } > tokens &
writer=$!
"$tools/train_model" text "${small[@]}" --tokens tokens --epochs 1 --checkpoint-dir both > stdout 2> stderr &
second=$!
check "the second has looked for the folder" wait_for opened
{ wait_for more; cat text; } | "$tools/train_model" - "${small[@]}" --epochs 1 --checkpoint-dir both > log.both 2>&1 &
pid=$!
wait_for both
for _ in $(seq 100); do
    grep -q '^lock:' "/proc/$pid/fdinfo/"* 2> /dev/null && break
    sleep 0.05
done
made=(both/{dataset.bin,held_out.bin,tokenizer.json,tokenizer.shared}.new both/dataset.bin.new.partial)
touch "${made[@]}"
touch go_on
wait $second
check "the second of two runs" test $? -eq 1
check "is refused by name, too" complains "another run is writing into 'both'"
check "what the first is making stays" ls "${made[@]}"
touch more
wait $pid
check "the first goes on to its end" test $? -eq 0
check "and leaves nothing half made" test -z "$(find both -name '*.new' -o -name '*.partial')"
kill $writer 2> /dev/null

# ---- A checkpoint is one thing ----
saved=("${small[@]}" --epochs 2 --save-every 20)
check "checkpoints" try 0 train_model text "${saved[@]}" --checkpoint-dir pairs
rm pairs/checkpoint_step_92.cllm.state
check "half of one" try 1 train_model text "${saved[@]}" --checkpoint-dir pairs \
    --resume pairs/checkpoint_step_92.cllm
check "the newest whole one is named" complains "'pairs/checkpoint_step_80.cllm'"
check "a model is none" try 1 train_model text "${saved[@]}" --checkpoint-dir pairs \
    --resume pairs/final_model.cllm
check "the newest whole one is named again" complains "'pairs/checkpoint_step_80.cllm'"
check "the newest of a folder" try 0 train_model text "${saved[@]}" --checkpoint-dir from --resume pairs
check "is the newest whole one" test "$(steps from/metrics.csv)" -eq 92
check "the result is that of the whole run" same_model pairs/final_model.cllm from/final_model.cllm
check "a folder without" try 1 train_model text "${saved[@]}" --checkpoint-dir x --resume data/sub
check "is named" complains "data/sub"
cp pairs/checkpoint_step_60.cllm kept
check "from an earlier step" try 0 train_model text "${shape[@]}" --threads 1 --epochs 2 \
    --checkpoint-dir pairs --resume pairs/checkpoint_step_40.cllm.state
check "later checkpoints are set aside" cmp pairs/earlier-1/checkpoint_step_60.cllm kept
check "with the record" test "$(steps pairs/earlier-1/metrics.csv)" -eq 92
check "earlier ones stay" whole pairs/checkpoint_step_20.cllm
check "--keep" try 0 train_model text "${small[@]}" --epochs 2 --save-every 20 --keep 2 --checkpoint-dir two
check "the newest two stay" test "$(cd two && echo checkpoint*)" = \
    "checkpoint_step_80.cllm checkpoint_step_80.cllm.state checkpoint_step_92.cllm checkpoint_step_92.cllm.state"
# Whenever it is killed: what has the name of a checkpoint can be resumed from.
for k in 1 2 3; do
    "$tools/train_model" text "${long[@]}" --save-every 1 --checkpoint-dir "kill$k" > /dev/null 2>&1 &
    pid=$!
    wait_for "kill$k/checkpoint_step_$((4 * k)).cllm"
    kill -KILL $pid
    wait $pid 2> /dev/null
    for model in "kill$k"/checkpoint_step_*.cllm; do
        whole "$model" || break
    done
    check "each is whole after a kill" whole "$model"
done

# ---- A full disk, limits of the system ----
check "a checkpoint's sizes" whole two/checkpoint_step_92.cllm
limit=$(($(stat -c %s two/checkpoint_step_92.cllm.state) / 1024 - 1))
check "where the state has no room but the model has" test \
    "$(stat -c %s two/final_model.cllm)" -lt $((limit * 1024))
(ulimit -f "$limit"; exec "$tools/train_model" text "${shape[@]}" --epochs 2 --save-every 20 \
    --checkpoint-dir tight) > stdout 2> stderr
check "files above the limit" test $? -eq 1
check "the file is named" complains "tight/checkpoint_step_20.cllm.state: File too large"
check "the run goes on" complains "the run goes on"
check "to its end" test "$(steps tight/metrics.csv)" -eq 92
check "the model is there" same_model two/final_model.cllm tight/final_model.cllm
check "no half checkpoint" test -z "$(find tight -name 'checkpoint*')"
check "no temporary file" nothing_half tight
# on_tmpfs SIZE COMMAND...: in a mount namespace of its own, with a small file system in disk/
on_tmpfs() { unshare -m bash -c 'mount -t tmpfs -o size='"$1"' tmpfs disk && shift && "$@"' bash "$@"; }
mkdir disk
if on_tmpfs 64k true 2> /dev/null; then
    pair=$((($(stat -c %s two/checkpoint_step_92.cllm.state) + $(stat -c %s two/final_model.cllm)) / 1024))
    on_tmpfs $((4 * pair + 100))k bash -c '"$@" > stdout 2> stderr; echo $? > status; cp -r disk/run after' \
        bash "$tools/train_model" text "${shape[@]}" --epochs 4 --save-every 10 --checkpoint-dir disk/run
    check "a full disk does not end the run" test "$(cat status)" -eq 0
    check "the oldest checkpoint makes room" complains "removing 'disk/run/checkpoint_step_10.cllm'"
    check "the last one is there" whole after/checkpoint_step_184.cllm
    check "and the model" test -s after/final_model.cllm
    check "the record is complete" test "$(steps after/metrics.csv)" -eq 184
    for state in after/*.state; do check "no half checkpoint" whole "${state%.state}"; done
    check "no temporary file" nothing_half after
else
    skip "a full disk, mounted files" "no right to mount"
fi
mkdir -p mounted/run
echo old > host
if unshare -m true 2> /dev/null; then
    echo x > mounted/run/final_model.cllm
    unshare -m bash -c 'mount --bind host mounted/run/final_model.cllm && shift && "$@" > stdout 2> stderr
        echo $? > status' bash x "$tools/train_model" text "${small[@]}" --epochs 1 --checkpoint-dir mounted/run
    [ -s status ] || echo 1 > status
    check "a mounted file" test "$(cat status)" -eq 0
    check "is written in its place" same_model host piped/final_model.cllm
    check "no temporary file" nothing_half mounted/run
fi

# ---- Signals ----
for signal in HUP XCPU TERM INT; do
    "$tools/train_model" text "${long[@]}" --checkpoint-dir "on_$signal" > stdout 2> stderr &
    pid=$!
    wait_for "on_$signal/metrics.csv"
    kill -"$signal" $pid
    [ $signal = HUP ] && kill -HUP $pid 2> /dev/null # a shell and the system may both say it
    wait $pid 2> /dev/null
    check "SIG$signal ends the run" test $? -eq 130
    checkpoint=$(sed -n 's/.*--resume //p' stderr)
    check "after a checkpoint" whole "${checkpoint:-none}"
done
(trap '' HUP; exec "$tools/train_model" text "${small[@]}" --epochs 60 --checkpoint-dir nohup > stdout 2> stderr) &
pid=$!
wait_for nohup/metrics.csv
kill -HUP $pid
wait $pid
check "nohup: SIGHUP does not end it" test $? -eq 0
"$tools/train_model" text "${shape[@]}" --epochs 20 --checkpoint-dir pipe 2> stderr | head -n 1 > /dev/null
check "a reader that leaves" test "${PIPESTATUS[0]}" -eq 0
check "does not end the run" test -s pipe/final_model.cllm
check "and is no error" silent "standard output"
"$tools/train_model" text "${shape[@]}" --epochs 1 --checkpoint-dir closed <&- >&- 2>&-
check "closed standard streams" test $? -eq 0
check "the record is the record" test "$(head -c 5 closed/metrics.csv)" = "step,"
check "all of it" test "$(steps closed/metrics.csv)" -eq 46
"$tools/cllm_tokenize" a b 2> stderr >&-
check "a result that nobody can get is an error" test $? -eq 1
check "it says so" complains "standard output"

# ---- A run that goes on is the same run ----
for schedule in none cosine linear step; do
    plan=("${small[@]}" --schedule $schedule)
    check "two epochs" try 0 train_model text "${plan[@]}" --epochs 2 --save-every 30 --max-steps 60 \
        --checkpoint-dir "two_$schedule"
    check "four" try 0 train_model text "${plan[@]}" --epochs 4 --save-every 30 \
        --checkpoint-dir "four_$schedule" --resume "two_$schedule"
    check "the rate does not jump ($schedule)" awk -F , -v from=$((60 - 5)) '
        NR > 1 && $1 > from { if (before && ($4 > before * 1.000001 || $4 < before - 0.0005)) exit 1; before = $4 }' \
        "four_$schedule/metrics.csv"
    check "four, resumed" try 0 train_model text "${plan[@]}" --epochs 4 --save-every 30 \
        --checkpoint-dir "again_$schedule" --resume "four_$schedule/checkpoint_step_120.cllm"
    check "the same run" same_model "four_$schedule/final_model.cllm" "again_$schedule/final_model.cllm"
    check "the same rates" cmp <(cut -d , -f 1-5 "four_$schedule/metrics.csv") \
        <(cut -d , -f 1-5 "again_$schedule/metrics.csv")
done
check "in the warm-up" try 0 train_model text "${small[@]}" --epochs 2 --max-steps 3 --checkpoint-dir warm
check "with more epochs" try 0 train_model text "${small[@]}" --epochs 20 --checkpoint-dir warmer --resume warm
check "it warms up as it was planned" test "$(rate warmer/metrics.csv 9)" = 0.01

# ---- Seeds and numbers ----
for seed in 0 1 2 4294967295; do
    check "seed $seed" try 0 train_model text "${small[@]}" --epochs 1 --max-steps 1 --seed $seed \
        --checkpoint-dir "seed$seed"
done
check "0 is not 1" other_model seed0/final_model.cllm seed1/final_model.cllm
check "1 is not 2" other_model seed1/final_model.cllm seed2/final_model.cllm
check "0 again" try 0 train_model text "${small[@]}" --epochs 1 --max-steps 1 --seed 0 --checkpoint-dir seed00
check "is 0" same_model seed0/final_model.cllm seed00/final_model.cllm
for number in 0x10 ' .01' '.01 ' inf 1e-60 1e999 ''; do
    check "--learning-rate '$number'" try 2 train_model text --learning-rate "$number"
    check "is named" complains "--learning-rate"
done
for number in -1 4294967296 9223372036854775808 99999999999999999999 ' 1' 0x1 1.5; do
    check "--seed '$number'" try 2 train_model text --seed "$number"
    check "is named" complains "--seed"
done
check "less than a batch" try 1 train_model <(echo one two three) "${small[@]}" --checkpoint-dir few
check "says how much it takes" complains "too short"
check "writes nothing" absent few

# ---- Links, modes, owners, names ----
mkdir real linked
for file in metrics.csv loss.svg vocab.txt dataset.bin final_model.cllm ids; do
    echo old > "real/$file"
    chmod 600 "real/$file"
    ln -s "../real/$file" "linked/$file"
done
check "through links" try 0 train_model text "${small[@]}" --epochs 1 --checkpoint-dir linked
check "ids through a link" try 0 cllm_tokenize -o linked/ids a b
for file in metrics.csv loss.svg vocab.txt dataset.bin final_model.cllm ids; do
    check "linked/$file is still a link" test -L "linked/$file"
    check "its file is new" other_content "real/$file"
    check "with its mode" test "$(stat -c %a "real/$file")" = 600
done
name=$(printf '%0255d' 0)
check "a name of 255 bytes" try 0 cllm_tokenize -o "$name" a b
check "is written" test -s "$name"
mkdir pipes
mkfifo pipes/metrics.csv
check "a pipe for the record" try 0 train_model text "${shape[@]}" --epochs 1 --checkpoint-dir pipes
check "is refused by name" complains "pipes/metrics.csv"
if [ "$(id -u)" -eq 0 ] && mkdir theirs && chown 12345:54321 theirs && chmod 755 theirs; then
    check "root in somebody's folder" try 0 train_model text "${small[@]}" --epochs 1 --checkpoint-dir theirs
    check "leaves files of theirs" test -z "$(find theirs ! -user 12345)"
    check "again" try 0 train_model text "${small[@]}" --epochs 1 --checkpoint-dir theirs
    check "leaves files of theirs again" test -z "$(find theirs ! -user 12345)"
fi

# ---- Terminals ----
if command -v script > /dev/null; then
    for terminal in dumb '' xterm; do
        TERM=$terminal script -qec "'$tools/train_model' text ${shape[*]} --epochs 4 --checkpoint-dir term" \
            screen < /dev/null > stdout 2>&1
        escapes=$(grep -c $'\033\\[' stdout)
        if [ "$terminal" = xterm ]; then
            check "TERM=xterm has a bar" test "$escapes" -gt 0
        else
            check "TERM='$terminal' has none" test "$escapes" -eq 0
        fi
    done
else
    skip "terminals" "script is not installed"
fi
finish
