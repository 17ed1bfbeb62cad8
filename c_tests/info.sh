#!/usr/bin/env bash
# cllm_info on whole and on damaged files: c_tests/info.sh [FOLDER of the tools]. The last line is
# "N passed, N failed".
cd "$(dirname "$0")/.." || exit 1
. c_tests/check.sh
tools=${1:-tools}
# A sanitizer's report must not look like the status of a damaged file.
export ASAN_OPTIONS=exitcode=99 LSAN_OPTIONS=exitcode=99 UBSAN_OPTIONS=exitcode=99

# info STATUS ARGUMENTS...
info() {
    local want=$1 status
    shift
    timeout 20 "$tools/cllm_info" "$@" > "$work/stdout" 2> "$work/stderr"
    status=$?
    check "cllm_info $*: status $status" test "$status" -eq "$want"
}
says() { grep -qE -- "$1" "$work/stdout"; }
complains() { grep -qE -- "$1" "$work/stderr"; }
json() { ! command -v python3 > /dev/null || python3 -m json.tool < "$work/stdout" > /dev/null; }
# put FILE OFFSET BYTES: overwrites some bytes.
put() { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

printf 'the cat sat on the mat and the dog sat on the cat %.0s' 1 2 3 4 5 6 > "$work/text"
"$tools/train_model" "$work/text" --tokens words --batch-size 2 --seq-len 8 --embed-dim 16 --num-layers 1 \
    --num-heads 2 --epochs 1 --checkpoint-dir "$work/run" > "$work/said"
model=$work/run/final_model.cllm
size=$(stat -c %s "$model")
info 0 --help
info 2
info 2 "$model" more
info 2 "$model" --words x
info 2 "$model" --bogus
info 1 "$work/missing"
check "says why" complains 'No such file'
info 1 "$work/text"
check "says why" complains 'not a model file'
info 1 "$work"

info 0 "$model"
check "shape" says '^shape +12 words, width 16, 1 layers, 2 heads, context 8$'
check "weights" says '^weights +floats$'
parameters=$(sed -n 's/.* context 8, \([0-9]*\) parameters$/\1/p' "$work/said")
check "parameters, as train_model counts them" says "^parameters +${parameters:-missing}$"
for part in header body SHAP NORM WORD TSET META; do
    check "$part" says "^$part +[0-9]+ +[0-9]+  ok +[a-z]+"
done
steps=$(($(wc -l < "$work/run/metrics.csv") - 1))
check "training" says "^training +$steps steps of adamw; the last: loss [0-9.]+, learning rate [0-9.]+$"
check "words" says '^words +<PAD> <UNK> <BOS> <EOS> <MASK> the cat sat on mat and dog$'
info 0 --words 6 "$model"
check "six words" says '^words +<PAD> <UNK> <BOS> <EOS> <MASK> the \.\.\.$'
info 0 --json "$model"
check "JSON" json
check "whole" says '"whole": true'
check "training" says "\"training\": \{\"steps\": $steps, "
check "parameters" says "\"parameters\": $parameters,"
check "words say no bits" says '"bits_per_byte": null'

# A byte of the body, of the words, of a section's head, of the header.
"$tools/cllm_info" "$model" > "$work/parts"
words=$(awk '$1 == "WORD" { print $2 }' "$work/parts")
damaged=$work/damaged.cllm
cp "$model" "$damaged" && put "$damaged" 2000 '\x01'
info 1 "$damaged"
check "the body is damaged" says '^body: damaged somewhere in bytes 1576 to [0-9]+: its checksum'
check "the words are fine" says '^WORD +[0-9]+ +[0-9]+  ok'
cp "$model" "$damaged" && put "$damaged" 1600 '\x00\x00\xc0\x7f'
info 1 "$damaged"
check "a NaN is found" says '^body: 1 weights are NaN or infinite, the first at byte 1600$'
cp "$model" "$damaged" && put "$damaged" $((words + 9)) '\x1b"'
info 1 "$damaged"
check "the words are damaged" says '^WORD: damaged'
check "and still shown" says '^words '
check "without control characters" bash -c "! grep -q $'\x1b' '$work/stdout'"
info 1 --json "$damaged"
check "JSON" json
check "not whole" says '"whole": false'
cp "$model" "$damaged" && put "$damaged" $((words - 12)) '\x7f'
info 1 "$damaged"
check "the head of a section is damaged" says 'the head of section [0-9]+ is damaged, in bytes'
check "what is before it is there" says '^SHAP .* ok '
cp "$model" "$damaged" && put "$damaged" 20 'name'
info 1 "$damaged"
check "the header is damaged" says '^header: damaged somewhere in bytes 0 to 1575'
cp "$model" "$damaged" && put "$damaged" 1400 '\xff\xff\xff\xff\xff\xff\xff\xff'
info 1 "$damaged"

# Texts that would end a string, colour the terminal, or are no UTF-8.
cp "$model" "$damaged" && put "$damaged" 12 'a"b\\c\x1b[31m\xff\n{"name": 1}\x7f\x00'
info 1 "$damaged"
check "no control characters" bash -c "! grep -q $'[\x1b\x7f]' '$work/stdout'"
info 1 --json "$damaged"
hostile='import json, sys
name = json.load(open(sys.argv[1], encoding="utf-8"))["name"]
assert name == "a\"b\\c\x1b[31m\ufffd\n{\"name\": 1}\x7f", name'
command -v python3 > /dev/null && check "JSON of a hostile name" python3 -c "$hostile" "$work/stdout"
cp "$model" "$work/\"quoted\".cllm"
info 0 --json "$work/\"quoted\".cllm"
check "JSON of a hostile path" json

# Cut at many places: never a crash, always an error, and valid JSON.
for ((n = 0; n < size; n += n < 1600 ? 157 : 911)); do
    head -c "$n" "$model" > "$damaged"
    info 1 --json "$damaged"
    if [ -s "$work/stdout" ]; then check "JSON of $n bytes" json; fi
done
head -c $((size - 1)) "$model" > "$damaged"
info 1 "$damaged"
check "cut short" says 'META: should have [0-9]+ bytes from [0-9]+ on, the file ends at'
cat "$model" <(echo more) > "$damaged"
info 1 "$damaged"
check "bytes too many" says '^the sections end at byte [0-9]+, the file at'

# Noise behind the magic number: nothing but messages.
for seed in 1 2 3 4 5 6; do
    awk -v seed=$seed 'BEGIN { srand(seed); for (i = 0; i < 3000; i++) printf "%c", 1 + int(rand() * 254) }' > "$damaged"
    put "$damaged" 0 'CLLM'
    [ $((seed % 2)) -eq 0 ] && put "$damaged" 1384 'CLLM-EXT'
    info 1 --json "$damaged"
    check "JSON of noise" json
done

# Files of the original have no checksums: their length tells.
old=tests/data/v1/model_v100_d64_l2.cllm
info 0 "$old"
check "of the original" says 'a file of the original library$'
check "no checksum" says '^body +1576 +[0-9]+  none '
for n in 1576 1580 100000 100001 $(($(stat -c %s "$old") - 4)); do
    head -c "$n" "$old" > "$damaged"
    info 1 "$damaged"
    check "$n bytes of it" says '^not a model: .*cut short'
done

# Sections that are whole, but hostile: a tag that JSON must escape, the words twice.
if command -v python3 > /dev/null; then
    python3 - "$model" "$damaged" << 'EOF'
import struct, sys, zlib
data = bytearray(open(sys.argv[1], "rb").read())
first, = struct.unpack_from("<Q", data, 1400)
sections, at = [], first
while at < len(data):
    size, = struct.unpack_from("<Q", data, at + 8)
    sections.append((bytes(data[at:at + 4]), bytes(data[at + 24:at + 24 + size])))
    at += 24 + size
words = struct.pack("<I", 2) + b"".join(struct.pack("<I", len(w)) + w for w in [b'\x07"\\\xff', b"\xe2\x82"])
sections += [(b'"\\\x01\xff', b"hello"), (b"WORD", words)]
body = bytearray()
for tag, payload in sections:
    head = tag + struct.pack("<IQI", 0, len(payload), zlib.crc32(payload))
    body += head + struct.pack("<I", zlib.crc32(head)) + payload
data = data[:first] + body
data[12:18] = b'"a\\\x1b\xc3\n'
struct.pack_into("<I", data, 1396, len(sections))
struct.pack_into("<Q", data, 1408, len(body))
struct.pack_into("<I", data, 1420, 0)
struct.pack_into("<I", data, 1420, zlib.crc32(data[:1576]))
open(sys.argv[2], "wb").write(data)
EOF
    info 1 "$damaged"
    check "all checksums are right" test "$(grep -cE '^.+ +[0-9]+ +[0-9]+  ok ' "$work/stdout")" -eq 11
    check "and yet refused" says '^not a model: '
    check "the words of the first section" says '^words +<PAD> <UNK> '
    check "without control characters" bash -c "! grep -q $'[\x01\x07\x1b]' '$work/stdout'"
    info 1 --json "$damaged"
    check "JSON" json
    check "the tag" says '"part": "\\"\\\\\?\?"'
fi

finish
