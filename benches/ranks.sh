#!/usr/bin/env bash
# Time of an update of train_model_mpi by the number of ranks, on this machine: benches/ranks.sh
# [ROUNDS [RANKS...]], after `make`. The numbers take turns, ROUNDS times (3), so that what else the machine
# does falls on all of them; the medians are printed. A rank has one thread.
#   RATE=20 benches/ranks.sh ...   as root: every rank in a network namespace of its own,
# behind a link of RATE Mbit/s.
#   EXTRA='--exchange bf16' ...    other options of train_model.
set -eu
cd "$(dirname "$0")/.."
rounds=${1:-3}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- 1 2 3 4 6 8
updates=${UPDATES:-4}
batches=${BATCHES:-8} # of an update
read -ra extra <<< "${EXTRA:-}"
read -ra shape <<< "${SHAPE:---embed-dim 128 --num-layers 4 --num-heads 4 --seq-len 128 --batch-size 8}"
work=$(mktemp -d)
made=0
clean() {
    local i
    for ((i = 1; i <= made; i++)); do
        ip netns del "cllm$i" 2> /dev/null || true
    done
    [ "$made" -eq 0 ] || ip link del cllmbridge
    rm -rf "$work"
}
trap clean EXIT
awk 'BEGIN { for (i = 0; i < 60000; i++) printf "w%d%s", i * i % 61, i % 12 == 11 ? "\n" : " " }' > "$work/text"
mpirun=(mpirun --allow-run-as-root --oversubscribe --bind-to none)
if [ -n "${RATE:-}" ]; then
    burst=$((RATE > 256 ? RATE / 8 : 32)) # a millisecond of it
    most=$(printf '%s\n' "$@" | sort -n | tail -n 1)
    ip link add cllmbridge type bridge
    ip link set cllmbridge up
    ip addr add 10.77.0.254/24 dev cllmbridge
    for ((i = 1; i <= most; i++)); do
        made=$i
        ip netns add "cllm$i"
        ip link add "cllmv$i" type veth peer name eth0 netns "cllm$i"
        ip link set "cllmv$i" master cllmbridge up
        ip -n "cllm$i" addr add "10.77.0.$i/24" dev eth0
        ip -n "cllm$i" link set eth0 up
        ip -n "cllm$i" link set lo up
        ip netns exec "cllm$i" tc qdisc add dev eth0 root tbf rate "${RATE}mbit" burst "${burst}kb" latency 400ms
        tc qdisc add dev "cllmv$i" root tbf rate "${RATE}mbit" burst "${burst}kb" latency 400ms
        echo "10.77.0.$i slots=1" >> "$work/hosts"
    done
    # mpirun's way onto another machine.
    # Each has a folder of its own for what Open MPI writes.
    cat > "$work/agent" << END
#!/bin/sh
space=cllm\${1##*.}
shift
mkdir -p "$work/\$space"
TMPDIR=$work/\$space exec ip netns exec "\$space" sh -c "\$*"
END
    chmod +x "$work/agent"
    mpirun+=(--mca plm_rsh_agent "$work/agent" --hostfile "$work/hosts" --mca btl tcp,self
        --mca oob_tcp_if_include 10.77.0.0/24 --mca btl_tcp_if_include 10.77.0.0/24)
fi
for ((round = 0; round < rounds; round++)); do
    for ranks in "$@"; do
        # With BATCHES=ranks each rank computes one batch.
        each=$batches
        [ "$batches" = ranks ] && each=$ranks
        "${mpirun[@]}" -n "$ranks" tools/train_model_mpi "$work/text" --tokens bytes "${shape[@]}" \
            --accumulate "$each" --max-steps $((updates * each)) --threads 1 --precision f32 --val-fraction 0.01 "${extra[@]}" \
            --keep-weights last --checkpoint-dir "$work/out" --overwrite > "$work/said" 2> "$work/errors" ||
            { cat "$work/errors" >&2; exit 1; }
        seconds=$(sed -nE 's/^Trained [0-9]+ steps in ([0-9.]+) s.*/\1/p' "$work/said")
        sed -nE 's/^[0-9]+ ranks: ([0-9.]+) MiB sent by the first, ([0-9.]+) s .*/\1 \2/p' "$work/said" |
            awk -v r="$ranks" -v t="$seconds" -v n="$updates" '{ print r, t / n, $2 / n, $1 / n }' >> "$work/times"
    done
done
sed -nE 's/.*, ([0-9]+) parameters.*/\1 parameters/p' "$work/said"
echo "load: $(cut -d ' ' -f 1-3 /proc/loadavg); processors: $(nproc)"
echo "ranks  s/update  s in exchanges  share  MiB sent/update"
for ranks in "$@"; do
    for column in 2 3 4; do
        awk -v r="$ranks" -v c=$column '$1 == r { print $c }' "$work/times" | sort -n |
            awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
    done | paste -sd ' ' | awk -v r="$ranks" '{ printf "%5d  %8.3f  %14.3f  %4.0f%%  %15.2f\n", r, $1, $2, 100 * $2 / $1, $3 }'
done
