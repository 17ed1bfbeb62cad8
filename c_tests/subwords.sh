#!/usr/bin/env bash
# The tools with subwords and bytes: c_tests/subwords.sh FOLDER, with the programs in FOLDER.
tools=$(cd "$1" && pwd) || exit 1
cd "$(dirname "$0")/.." || exit 1
. c_tests/check.sh
headers=$PWD/include
cd "$work" || exit 1

# try STATUS TOOL ARGUMENT...: for check; the output is in stdout and stderr.
try() {
    local want=$1 tool=$2
    shift 2
    timeout 300 "$tools/$tool" "$@" > "$work/stdout" 2> "$work/stderr" < /dev/null
    local status=$?
    [ "$status" -eq "$want" ] || { echo "exit status $status"; return 1; }
}
says() { grep -qE -- "$1" "$work/stdout"; }
complains() { grep -qF -- "$1" "$work/stderr"; }
absent() { [ ! -e "$1" ]; }
same_model() { cmp -s -i 1576 "$1" "$2"; }
other_model() { ! same_model "$1" "$2"; }
silent() { [ ! -s "$work/stderr" ]; }
# last_bits FILE: what a score ends with.
last_bits() { sed -n 's/.* \([0-9.]*\) bits per byte$/\1/p' "$1"; }
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > 0 && b > 0 && a < b) }'; }

# A play: names in capitals with a colon, lines, empty lines, two orders of the same people.
play() { # play SEED SCENES
    awk -v seed="$1" -v scenes="$2" 'BEGIN {
        split("ROMEO JULIET MERCUTIO NURSE", name, " ")
        split("Good morrow, cousin.|Is the day so young?|But new struck nine.|Ay me! sad hours seem long.|Was that my father?", line, "|")
        for (i = 0; i < scenes; i++) {
            seed = (seed * 1103 + 12345) % 65536
            printf "%s:\n%s\n%s\n\n", name[seed % 4 + 1], line[int(seed / 4) % 5 + 1], line[int(seed / 32) % 5 + 1]
        }
    }'
}
play 1 400 > play
small=(--embed-dim 32 --num-layers 2 --num-heads 2 --seq-len 32 --batch-size 4 --threads 1)
fast=("${small[@]}" --learning-rate 0.01)

# ---- A run on a text ----
check "a run" try 0 train_model play "${fast[@]}" --epochs 4 --checkpoint-dir run
check "no warnings" silent
check "says what its tokens are" says 'byte-level BPE: [0-9]+ tokens, [0-9.]+ bytes of text in each \(size by the length'
check "says its block" says 'modern block$'
check "bits per byte" says '^  bits per byte: [0-9.]+ training, [0-9.]+ held out$'
check "the best weights" says '^run/final_model.cllm has the weights of step [0-9]+: held-out loss [0-9.]+, [0-9.]+ bits per byte$'
parameters=$(sed -n 's/.* context 32, \([0-9]*\) parameters; modern block$/\1/p' stdout)
samples() { sed -n '/^Samples:/,$p' stdout; }
check "samples have names in capitals" bash -c "$(declare -f samples); samples | grep -qE '^(ROMEO|JULIET|MERCUTIO|NURSE):$'"
check "and lines as the play's" bash -c "$(declare -f samples); samples | grep -qxE '(Good morrow, cousin|Is the day so young|But new struck nine|Ay me! sad hours seem long|Was that my father)[.?]'"
for file in vocab.txt tokenizer.json dataset.bin final_model.cllm metrics.csv loss.svg; do
    check "$file" test -s "run/$file"
done
check "bits in the record" awk -F , 'NR == 1 { exit !($8 == "train_bits_per_byte" && $9 == "val_bits_per_byte") }' run/metrics.csv
check "held-out bits in the record" awk -F , 'NF != 10 || ($10 == "") != ($9 == "") || ($10 != "" && NR > 1 && !($10 > 3 && $10 < 6)) { exit 1 } $9 != "" && NR > 1 { n++; good += $9 > 0 && $9 < $7 } END { exit !(n == 4 && good == 4) }' run/metrics.csv
check "bits in the picture" grep -q 'bits per byte' run/loss.svg
check "the best in the picture" grep -q 'best: ' run/loss.svg
check "what knows nothing in the picture" grep -q 'order-0 entropy: ' run/loss.svg
check "the same again" try 0 train_model play "${fast[@]}" --epochs 4 --checkpoint-dir again --threads 3 --quiet
check "threads change nothing" same_model run/final_model.cllm again/final_model.cllm
check "another seed" try 0 train_model play "${fast[@]}" --epochs 4 --checkpoint-dir seeded --seed 7 --quiet
check "gives other weights" other_model run/final_model.cllm seeded/final_model.cllm
mkdir folder
cp play folder/play
cp run/tokenizer.json folder/t
check "a run's tokenizer is no text" try 0 train_model folder "${small[@]}" --max-steps 2 --checkpoint-dir f
check "and is named" complains "is a tokenizer"
cp play folder/t
check "two documents" try 0 train_model folder "${small[@]}" --max-steps 2 --checkpoint-dir f2 --val-fraction 0
check "the end token is between them" bash -c "od -An -v -t u4 -j 8 -w4 f2/dataset.bin | grep -cx ' *3' | grep -qx 1"

# ---- Exact resuming ----
long=("${fast[@]}" --epochs 3 --dropout 0.1 --quiet)
check "a whole run" try 0 train_model play "${long[@]}" --checkpoint-dir whole
for stop in 5 100; do
    check "stop at $stop" try 0 train_model play "${long[@]}" --checkpoint-dir "part$stop" --max-steps "$stop"
    check "go on from $stop" try 0 train_model play "${long[@]}" --checkpoint-dir "rest$stop" --resume "part$stop"
    check "the same weights ($stop)" same_model whole/final_model.cllm "rest$stop/final_model.cllm"
done
check "a resumed run has its tokens and shape from the checkpoint" try 0 train_model play --epochs 3 --quiet \
    --checkpoint-dir bare --resume part5 --threads 1
check "and its other options" same_model whole/final_model.cllm bare/final_model.cllm
check "another text" try 1 train_model run/vocab.txt "${long[@]}" --checkpoint-dir x --resume part5
check "is refused" complains "another text"
check "and says what would go on" complains "with --from a model goes on"

# ---- Precision ----
check "an unknown precision" try 2 train_model play "${small[@]}" --precision fp8
check "is named" complains "f32, bf16 or auto"
check "--precision auto" try 0 train_model play "${small[@]}" --max-steps 3 --precision auto --checkpoint-dir auto
check "says what it takes" says "matrix products in "
CLLM_SIMD=avx2 check "--precision bf16 where it is forbidden" try 1 train_model play "${small[@]}" \
    --max-steps 3 --precision bf16 --checkpoint-dir never
check "is refused" complains "AVX512_BF16"
check "and writes nothing" absent never
CLLM_SIMD=avx2 check "--precision auto where it is forbidden" try 0 train_model play "${small[@]}" \
    --max-steps 3 --precision auto --checkpoint-dir auto2
check "falls back and says so" says "matrix products in f32: .* no AVX512_BF16"
if grep -q avx512_bf16 /proc/cpuinfo && [[ ${CLLM_SIMD:-avx512} == avx512 ]]; then
    half=("${fast[@]}" --epochs 2 --quiet)
    check "--precision bf16" try 0 train_model play "${half[@]}" --precision bf16 --checkpoint-dir half
    check "is not f32" try 0 train_model play "${half[@]}" --checkpoint-dir full
    check "and gives other weights" other_model half/final_model.cllm full/final_model.cllm
    check "stopped" try 0 train_model play "${half[@]}" --precision bf16 --max-steps 20 --checkpoint-dir half20
    for asked in "" "--precision auto" "--precision bf16"; do
        # shellcheck disable=SC2086
        check "resumed ($asked)" try 0 train_model play "${half[@]}" $asked --resume half20 \
            --checkpoint-dir half_rest --overwrite
        check "is the same run" same_model half/final_model.cllm half_rest/final_model.cllm
    done
    check "resumed in f32" try 1 train_model play "${half[@]}" --precision f32 --resume half20 --checkpoint-dir never
    check "is refused" complains "with --precision bf16"
fi

check "more epochs" try 0 train_model play "${long[@]}" --epochs 5 --checkpoint-dir longer --resume whole
check "learn more" other_model whole/final_model.cllm longer/final_model.cllm
check "at a third of the rate" awk -F , -v peak="$(awk -F , 'NR > 1 && $4 + 0 > m { m = $4 + 0 } END { print m }' whole/metrics.csv)" \
    '$1 == 139 { good = $4 > 0.3 * peak && $4 < 0.34 * peak } END { exit !good }' longer/metrics.csv

# ---- Kinds of tokens ----
for kind in bytes words run/tokenizer.json run/vocab.txt run/final_model.cllm; do
    check "--tokens $kind" try 0 train_model play "${small[@]}" --tokens "$kind" --max-steps 3 \
        --checkpoint-dir kind --overwrite
done
check "--tokens FILE has the tokens of it" cmp kind/tokenizer.json run/tokenizer.json
for others in gpt2 llama3 qwen2; do
    json=$headers/../crates/engine/tests/bpe/$others.json
    check "--tokens of $others" try 0 train_model play "${small[@]}" --tokens "$json" --max-steps 1 \
        --checkpoint-dir others --overwrite --quiet
    check "ids by its vocab.txt" try 0 cllm_tokenize -v others/vocab.txt -f play
    cp stdout ids
    check "ids by itself" try 0 cllm_tokenize -v "$json" -f play
    check "are the same" cmp stdout ids
done
check "--tokens bytes has 261" try 0 train_model play "${small[@]}" --tokens bytes --max-steps 3 --checkpoint-dir kind --overwrite
check "lines of vocab.txt" test "$(wc -l < kind/vocab.txt)" -eq 261
check "--vocab-size" try 0 train_model play "${small[@]}" --vocab-size 300 --max-steps 3 --checkpoint-dir kind --overwrite
check "300 lines" test "$(wc -l < kind/vocab.txt)" -eq 300
check "too few tokens" try 1 train_model play "${small[@]}" --vocab-size 100 --max-steps 3 --checkpoint-dir never
check "are named" complains "261"
check "nothing is written" absent never
check "the original block with subwords" try 0 train_model play "${small[@]}" --block original --max-steps 3 --checkpoint-dir original
check "is no modern one" try 0 cllm_info original/final_model.cllm
check "cllm_info says it" says '^block +original$'
check "the modern block with words" try 0 train_model play "${small[@]}" --tokens words --block modern --max-steps 3 --checkpoint-dir modern_words
check "--keep-weights last" try 0 train_model play "${small[@]}" --keep-weights last --max-steps 3 --checkpoint-dir last
check "keeps no best ones" bash -c "! grep -q 'has the weights of step' stdout"
check "--min-freq without words" try 2 train_model play --min-freq 2 --tokens bpe
check "--vocab with bpe" try 2 train_model play --vocab run/vocab.txt --tokens bpe
check "an odd head" try 2 train_model play --embed-dim 6 --num-heads 2
check "names the other block" complains "--block original"

# ---- Bad tokenizer files ----
head -c 2000 run/tokenizer.json > cut.json
echo '{"model": {"type": "WordPiece", "vocab": {}}}' > piece.json
echo 'no json at all' > no.json
sed 's/$/ x/' run/vocab.txt > bad.txt
head -c 100000 run/final_model.cllm > cut.cllm
for file in cut.json piece.json no.json bad.txt cut.cllm missing.json; do
    check "$file is refused" try 1 train_model play "${small[@]}" --tokens "$file" --checkpoint-dir never
    check "$file is named" complains "$file"
    check "$file is refused by cllm_tokenize" try 1 cllm_tokenize -v "$file" text
    check "$file is named by cllm_tokenize" complains "$file"
done
check "the kind is named" try 1 cllm_tokenize -v piece.json text
check "WordPiece" complains WordPiece
check "still nothing is written" absent never

# ---- cllm_vocab_build and cllm_tokenize ----
check "a tokenizer" try 0 cllm_vocab_build --tokens bpe --size 1000 "$headers" -o t.json -s
check "its size" says '^Wrote t.json: 1000 tokens$'
check "statistics" says '^Bytes per token: [2-9]'
cut=(-c 100000) # two texts, and a pipe: the same as one after the other with a line end between them
head "${cut[@]}" "$headers/cllm_ext.h" > one && head "${cut[@]}" "$headers/cllm.h" > two
{ cat one && echo && cat two; } > joined
check "of two texts" try 0 cllm_vocab_build --tokens bpe --size 600 one two -o two.txt
check "of both in one" try 0 cllm_vocab_build --tokens bpe --size 600 joined -o joined.txt
check "is the same" cmp two.txt joined.txt
"$tools/cllm_vocab_build" --tokens bpe --size 600 - -o piped.txt < <(cat joined) > stdout 2> stderr
check "through a pipe" cmp piped.txt joined.txt
check "bytes of two texts" try 0 cllm_vocab_build --tokens bytes one two -o bytes.txt -s
check "are counted" says "^Tokens: +$(cat one two | wc -c)$"
check "line ends" grep -qF "$(printf '\\n\t%d' "$(cat one two | wc -l)")" bytes.txt
check "as vocab.txt" try 0 cllm_vocab_build --tokens bpe --size 1000 "$headers" -o t.txt
check "bytes" try 0 cllm_vocab_build --tokens bytes "$headers" -o b.json
check "sizes of bytes" try 2 cllm_vocab_build --tokens bytes --size 300 "$headers"
check "another kind" try 2 cllm_vocab_build --tokens letters "$headers"
{ head -c 3000 "$tools/cllm_info"; printf '\0\xff\xfe caf\xc3\xa9 \xe6\x97\xa5<EOS>\r\n\n'; } > binary
for vocabulary in t.json t.txt b.json run/final_model.cllm run/tokenizer.json run/vocab.txt; do
    check "ids by $vocabulary" try 0 cllm_tokenize -v "$vocabulary" -f binary -o ids
    check "back by $vocabulary" try 0 cllm_tokenize -v "$vocabulary" -f ids -d -o back
    check "every byte is there ($vocabulary)" cmp binary back
    check "count" try 0 cllm_tokenize -v "$vocabulary" -f binary -c
    check "is that of the ids" test "$(cat stdout)" -eq "$(wc -w < ids)"
done
cmp -s <("$tools/cllm_tokenize" -v t.json -f play) <("$tools/cllm_tokenize" -v t.txt -f play)
check "both files have the same tokens" test $? -eq 0
check "pieces" try 0 cllm_tokenize -v t.json -p 'the model'
check "are shown readably" says $'^[0-9]+\t␣model$'
check "a text is text" try 0 cllm_tokenize -v t.json -c '<EOS>'
check "of several tokens" test "$(cat stdout)" -gt 1
check "--specials" try 0 cllm_tokenize -v t.json --specials '<EOS>'
check "is the end token" says '^3$'
check "statistics of subwords" try 0 cllm_tokenize -v t.json -s -f play
check "bytes" says "^Bytes +$(wc -c < play)$"
check "two actions" try 2 cllm_tokenize -v t.json -p -c text

# ---- cllm_inference and cllm_info ----
check "text" try 0 cllm_inference run/final_model.cllm -p 'ROMEO:' -n 60 -s 1
check "goes on in lines" bash -c 'head -n 1 stdout | grep -qx ROMEO: && [ $(wc -l < stdout) -ge 3 ]'
"$tools/cllm_inference" run/final_model.cllm -n 60 -s 1 < <(echo ROMEO:) > piped
check "what is piped in is the same prompt" cmp stdout piped
"$tools/cllm_inference" run/final_model.cllm --map -p ROMEO: -n 60 -s 1 > mapped
check "a mapped model says the same" cmp stdout mapped
check "--verify of a whole file" try 0 cllm_inference run/final_model.cllm --verify -v -p ROMEO: -n 1
check "says that it is mapped" complains ' parameters, mapped'
cp run/final_model.cllm damaged.cllm
printf '\377\377' | dd of=damaged.cllm bs=1 seek=$(($(stat -c %s damaged.cllm) / 2)) conv=notrunc status=none
check "a damaged file is not read" try 1 cllm_inference damaged.cllm -p ROMEO: -n 1
check "for the same reason" complains 'the checksum does not match'
check "--map does not look at checksums" try 0 cllm_inference damaged.cllm --map -p ROMEO: -n 1
check "--verify does" try 1 cllm_inference damaged.cllm --verify -p ROMEO: -n 1
check "and says what is damaged" complains 'the checksum does not match'
check "--next" try 0 cllm_inference run/final_model.cllm -p 'ROMEO:' --next 3
check "three tokens" test "$(wc -l < stdout)" -eq 3
check "a line end is the likeliest" bash -c "head -n 1 stdout | grep -qE '^0\.[5-9][0-9]*"$'\t'"[0-9]+"$'\t'".n'"
check "--next-words" try 0 cllm_inference run/final_model.cllm -p 'Good morrow,' --next-words 1
check "the word" says '^[01]\.[0-9]+.* cousin\.$'
check "--score" try 0 cllm_inference run/final_model.cllm --score play
check "ends in bits per byte" says '^play: [0-9]+ bytes, [0-9]+ tokens, .* [0-9.]+ bits per byte$'
known=$(last_bits stdout)
check "--score of another text" try 0 cllm_inference run/final_model.cllm --score "$headers/cllm.h"
strange=$(last_bits stdout)
check "which is stranger" less "$known" "$strange"
check "--score --dynamic" try 0 cllm_inference run/final_model.cllm --score "$headers/cllm.h" --dynamic
check "learns on the way" less "$(last_bits stdout)" "$strange"
check "--score --dynamic with threads" try 0 cllm_inference run/final_model.cllm --score play --dynamic --threads 2
check "--dynamic alone" try 2 cllm_inference run/final_model.cllm --dynamic
check "says what it belongs to" complains "belongs to --score"
check "--score and --next" try 2 cllm_inference run/final_model.cllm --score play --next 2
printf x > one_token
check "--score of one token" try 1 cllm_inference run/final_model.cllm --score one_token
check "measures nothing" complains "single token"
check "an empty prompt" try 1 cllm_inference run/final_model.cllm -p ''
check "is said to be empty" complains "the prompt is empty"
check "--score of nothing" try 1 cllm_inference run/final_model.cllm --score missing
check "cllm_info" try 0 cllm_info run/final_model.cllm
check "says the tokens" says '^tokens +subwords \(BPE\)$'
check "says the block" says '^block +modern$'
check "as many parameters as train_model says" says "^parameters +${parameters:-missing}$"
# as_recorded LOSS BITS: a loss that metrics.csv has last, of training or held out, and its bits: those of the
# text that the tokens were learnt from, so of held-out text they are near.
as_recorded() {
    awk -F , -v loss="$1" -v bits="$2" '{ train = $3; of_train = $8 } $7 != "" { held = $7; of_held = $9 }
        function near(a, b, share) { return a > 0 && a - b < share * b && b - a < share * b }
        END { exit !(near(loss, train, 1e-3) && near(bits, of_train, 1e-3) ||
                     near(loss, held, 1e-3) && near(bits, of_held, 1e-2)) }' run/metrics.csv
}
# shellcheck disable=SC2046 # two numbers
check "the last loss in bits" as_recorded $(sed -n 's/^training .* loss \([0-9.]*\), \([0-9.]*\) bits per byte,.*/\1 \2/p' stdout)
check "cllm_info --json" try 0 cllm_info run/final_model.cllm --json
check "too" says '"block": "modern"'
# shellcheck disable=SC2046 # two numbers
check "and the bits" as_recorded $(sed -n 's/.*"loss": \([0-9.]*\), "bits_per_byte": \([0-9.]*\),.*/\1 \2/p' stdout)
for way in '' --map; do
    # shellcheck disable=SC2086 # no option or one
    check "cllm_inference -v $way" try 0 cllm_inference run/final_model.cllm -v $way -p ROMEO: -n 1
    check "counts the same" grep -qE "^  ${parameters:-missing} parameters(, mapped)?$" stderr
    # shellcheck disable=SC2046 # two numbers
    check "and says the bits" as_recorded $(sed -n 's/.*last loss \([0-9.]*\), \([0-9.]*\) bits per byte$/\1 \2/p' stderr)
done

# ---- Models that go on learning ----
{ play 7 20 | sed 's/Good morrow/Good night/; s/father/mother/'; head -c 20000 "$headers/cllm.h"; } > new
check "--from" try 0 train_model new --from run/final_model.cllm --epochs 2 --checkpoint-dir from --threads 1
check "says the rate" says 'a third of the rate'
check "keeps the tokens" cmp from/tokenizer.json run/tokenizer.json
check "score before" try 0 cllm_inference run/final_model.cllm --score new
before=$(last_bits stdout)
check "score after" try 0 cllm_inference from/final_model.cllm --score new
check "it has learnt" less "$(last_bits stdout)" "$before"
check "--mix" try 0 train_model new --from run/final_model.cllm --mix play:0.5 --epochs 2 --checkpoint-dir mixed --threads 1
check "says how much" says 'tokens to train on \([0-9]+ of them of the old text\)'
check "old text after --from" try 0 cllm_inference from/final_model.cllm --score play
forgot=$(last_bits stdout)
check "old text after --mix" try 0 cllm_inference mixed/final_model.cllm --score play
check "is remembered better" less "$(last_bits stdout)" "$forgot"
check "--from and a shape" try 2 train_model new --from run/final_model.cllm --embed-dim 64
check "--from and other tokens" try 2 train_model new --from run/final_model.cllm --vocab-size 500
check "are none" complains "excludes --vocab-size"
# Texts of which no ids can be made are named: those of --mix, from standard input.
head -c 600000 /dev/urandom | base64 > noise
(ulimit -f 1000; exec "$tools/train_model" new --from run/final_model.cllm --mix -:0.5 --checkpoint-dir no_room \
    --threads 1) < noise > stdout 2> stderr
check "no room for the ids of --mix" test $? -eq 1
check "names what they were to be made of" complains "can't make tokens of 'standard input': "
check "--mix alone" try 2 train_model new --mix play:0.5
check "--mix without a share" try 2 train_model new --from run/final_model.cllm --mix play
check "--from a file that is no model" try 1 train_model new --from play
check "--from a folder" try 1 train_model new --from run
check "says what is in it" complains "'run' is a folder: name a model in it, such as final_model.cllm"
check "a folder to generate from" try 1 cllm_inference run -p the
check "says so, too" complains "'run' is a folder"
check "a folder to look into" try 1 cllm_info run
check "says it, too" complains "'run' is a folder"
check "two texts" try 2 train_model new play
check "says where they belong" complains "also 'play': a folder holds the texts of one run"
check "words" try 0 train_model play "${small[@]}" --tokens words --epochs 2 --checkpoint-dir words --quiet
check "words go on" try 0 train_model new --from words/final_model.cllm --epochs 1 --checkpoint-dir more_words --threads 1
check "with new ones" says ': [1-9][0-9]* words are new to it$'
check "in the vocabulary" grep -q '^night,' more_words/vocab.txt

# ---- Minutes ----
check "--minutes" try 0 train_model play --minutes 0.1 --checkpoint-dir minutes --threads 1
check "ends" says '^Trained [0-9]+ steps'
check "the tokens that it chose" says '^Tokens: (a vocabulary of [0-9]+ |single bytes, for )'
check "the model" says '^Model: width [0-9]+, [0-9]+ layers?, .* windows of [0-9]+ tokens: '
check "the training" says '^Training: [0-9]+ steps of .* rate [0-9.]+ falling to 0, dropout [0-9.]+, weight decay [0-9.]+, beta2 '
head -c 60 play > short
check "a short text" try 0 train_model short --minutes 0.05 --checkpoint-dir minutes --overwrite --threads 1
check "has batches" says '^Trained [0-9]+ steps'
check "a shorter one than a batch" try 1 train_model short --checkpoint-dir few
check "what would do" complains ' or --batch-size 1 --seq-len '
check "a rate by minutes" try 0 train_model play --from run/final_model.cllm --minutes 0.05 --checkpoint-dir minutes --overwrite
rate=$(sed -n 's/.*AdamW, learning rate \([0-9.]*\) .*/\1/p' stdout)
check "is the one that is said" says "^Training: .* rate $(printf %.4f "$rate") falling to 0"
check "an option wins" try 0 train_model play --minutes 0.05 --embed-dim 64 --checkpoint-dir minutes --overwrite --threads 1
check "width 64" says 'width 64'
check "words by minutes" try 0 train_model play --tokens words --minutes 0.05 --checkpoint-dir minutes --overwrite --threads 1
check "ends, too" says '^Trained [0-9]+ steps'
check "says how many words" says '^Tokens: a vocabulary of at most [0-9]+ words'
check "of the modern block" says 'modern block'
check "few of them" try 0 train_model play --tokens words --vocab-size 12 --embed-dim 32 --minutes 0.05 --checkpoint-dir minutes --overwrite --threads 1
check "as asked" says '^  12 entries'
check "of that width" says 'width 32'
check "not of the other block" try 2 train_model play --tokens words --block original --minutes 0.05
check "not with --resume" try 2 train_model play --minutes 1 --resume minutes
for words in '' '--tokens words'; do # a run that goes on is measured on the way, as it was
    # shellcheck disable=SC2086 # no option or two
    check "by minutes, with checkpoints $words" try 0 train_model play $words --embed-dim 32 --batch-size 1 --seq-len 16 --minutes 0.1 \
        --save-every 10 --keep 1000 --checkpoint-dir minutes --overwrite --threads 1
    checkpoint=$(printf '%s\n' minutes/checkpoint_step_*.cllm | sort -V | head -n 1)
    # shellcheck disable=SC2086 # no option or two
    check "goes on $words" try 0 train_model play $words --resume "$checkpoint" --checkpoint-dir onward --overwrite --threads 1
    check "measured on the way" test "$(grep -cE '^At step [0-9]+, .* held out [0-9.]+$' stdout)" -ge 1
    check "not by epochs" test "$(grep -c '^Epoch ' stdout)" -eq 0
done
check "--size" try 0 train_model play --size small --max-steps 3 --checkpoint-dir size --threads 1
check "has its width" says '^Model: width 128, 4 layers'
check "and says how long" says '^Training: .* epochs in about [0-9]+ s at .* tokens a second'
check "as many epochs" says 'about 1 epoch|, [0-9]+ epochs?,'
check "with a time" try 0 train_model play --size small --minutes 0.05 --checkpoint-dir size --overwrite --threads 1
check "of that width, too" says '^Model: width 128, 4 layers'
check "no such size" try 2 train_model play --size huge
check "a size and a width" try 2 train_model play --size large --embed-dim 64
check "--minutes and --epochs" try 2 train_model play --minutes 1 --epochs 2

# ---- Short windows first ----
grow=(--embed-dim 32 --num-layers 2 --num-heads 2 --seq-len 16 --batch-size 2 --epochs 2 --threads 1)
check "short windows" try 0 train_model play "${grow[@]}" --short-windows 8 --save-every 7 --keep 1000 --checkpoint-dir grow
check "are said" says '^  windows of 8 at first, of 16 in the last 50 % of the run$'
first=$(printf '%s\n' grow/checkpoint_step_*.cllm | sort -V | head -n 1)
check "go on where they were" try 0 train_model play --epochs 2 --threads 1 --resume "$first" --checkpoint-dir grown
check "to the same model" same_model grow/final_model.cllm grown/final_model.cllm
check "the same windows throughout" try 0 train_model play "${grow[@]}" --short-windows 0 --checkpoint-dir even
check "are not" test "$(grep -c 'windows of' stdout)" -eq 0
same_model grow/final_model.cllm even/final_model.cllm
check "teach something else" test $? -eq 1
check "what does not divide" try 2 train_model play "${grow[@]}" --short-windows 5 --checkpoint-dir none
check "is named" complains 'does not divide --seq-len 16'
check "not for words" try 2 train_model play --tokens words --short-windows 8 --checkpoint-dir none

# ---- What the same minutes buy ----
compare() {
    TRAIN_MODEL=$tools/train_model timeout 300 python3 "$headers/../benches/learn/learn.py" play --minutes 0.05 \
        --threads 1 --only default,score,old,words,xz > stdout 2> stderr
}
check "the measure of learning" compare
# A play of five sentences: whoever has learnt it pays little, and nobody pays more than for uniform bytes.
check "its table" awk -F '|' '/^\| / && NF == 4 && $3 + 0 > 0.01 && $3 + 0 < 8 { n++ } END { exit n != 5 }' stdout
finish
