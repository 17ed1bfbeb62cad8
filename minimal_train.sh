#!/usr/bin/env bash
# The smallest complete run: builds what is missing, trains a small model on a text of 173 bytes,
# checks what came out and lets the model speak. Exit status 1 with a reason if anything is wrong.
set -u
cd "$(dirname "$0")" || exit 1

die() {
    echo "minimal_train.sh: $*" >&2
    exit 1
}

make --no-print-directory || die "the build failed"

work=$(mktemp -d) || die "no temporary folder"
trap 'rm -rf "$work"' EXIT
cat > "$work/sum.c" <<'TEXT'
int main ( int argc )
{
    int sum = 0 ;
    for ( int i = 1 ; i < 10 ; i ++ )
    {
        sum = sum + i * argc ;
    }
    print_total ( sum , argc ) ;
    return 0 ;
}
TEXT
bytes=$(wc -c < "$work/sum.c")
[ "$bytes" -eq 173 ] || die "the training text has $bytes bytes, not 173"

# --overwrite: every file checked below must come from this run.
LD_LIBRARY_PATH=. ./tools/train_model "$work/sum.c" --batch-size 2 --seq-len 8 --embed-dim 32 \
    --num-layers 1 --num-heads 1 --threads 1 --learning-rate 0.01 --epochs 14 \
    --tokens words --checkpoint-dir checkpoints --overwrite --sample "int main" | tee "$work/log"
[ "${PIPESTATUS[0]}" -eq 0 ] || die "training failed"

# The loss of an epoch: "Epoch 3: Average Loss = 2.0123, Best Loss = 1.9876"
loss_of() {
    sed -n "s/^Epoch $1: Average Loss = \([0-9.]*\),.*/\1/p" "$work/log"
}
first=$(loss_of 1)
last=$(loss_of 14)
[ -n "$first" ] && [ -n "$last" ] || die "there are no lines of epochs 1 and 14"
awk "BEGIN { exit !($last < $first) }" || die "the loss did not fall: $first, then $last"

for file in final_model.cllm checkpoint_step_28.cllm vocab.txt dataset.bin; do
    [ -s "checkpoints/$file" ] || die "checkpoints/$file is missing"
done
entries=$(wc -l < checkpoints/vocab.txt)
[ "$entries" -eq 27 ] || die "checkpoints/vocab.txt has $entries entries, not 27"

text=$(LD_LIBRARY_PATH=. ./tools/cllm_inference checkpoints/final_model.cllm \
    checkpoints/vocab.txt -p "int main" -n 20 -s 1) || die "generation failed"
case "$text" in
    "int main "?*) ;;
    *) die "no continuation of 'int main', only '$text'" ;;
esac

echo
echo "Loss $first -> $last. The model continues \"int main\":"
echo "  $text"
echo "Everything is in checkpoints/."
