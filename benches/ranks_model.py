#!/usr/bin/env python3
"""What an update of a training over ranks should take: the model of docs/SCALING.md.

    benches/ranks_model.py [--bf16] [--whole-moments] PARAMETERS BATCHES SECONDS_PER_BATCH LATENCY BANDWIDTH RANKS...

LATENCY in microseconds, BANDWIDTH in MB/s, both of one link and direction; BATCHES of an update, 0: one
for each rank. Prints a row for each number of ranks; the last column is the efficiency if exchanges were
overlapped with the backward pass, which they are not.
"""

import math
import sys

MEMORY = 10e9  # bytes a second that a processor copies or adds up
PASSES = 8  # over the gradient in memory, beside the network: packing, adding up, unpacking


def subtrees(batches, ranks):
    """The most whole subtrees that a rank's share of the batches is made of, with more than one rank."""
    most, height = 0, (batches - 1).bit_length()
    for rank in range(ranks):
        each, rest = divmod(batches, ranks)
        start = rank * each + min(rank, rest)
        nodes = []
        for leaf in range(start, start + each + (rank < rest)):
            level, index = 0, leaf
            while True:
                if index % 2 == 0 and not (level < height and (index + 1) << level >= batches):
                    break
                if index % 2 == 1 and (not nodes or nodes[-1] != (level, index - 1)):
                    break
                if index % 2 == 1:
                    nodes.pop()
                level, index = level + 1, index // 2
            nodes.append((level, index))
        most = max(most, len(nodes))
    return most


def exchange(parameters, batches, ranks, latency, bandwidth, rounded=False, whole=False):
    """Seconds of the exchanges of an update: those of the sums and those of the results; and bytes that a
    rank sends in them."""
    if ranks == 1:
        return 0.0, 0.0, 0.0
    size, others = 4 * parameters, (ranks - 1) / ranks
    narrow = 0.5 if rounded else 1
    sums = subtrees(batches, ranks) * narrow * size * others
    results = (narrow if whole else 1) * size * others
    rounds = math.ceil(math.log2(ranks))
    first = sums / bandwidth + (ranks - 1 + 4 * rounds) * latency + PASSES / 2 * size / MEMORY
    second = results / bandwidth + 4 * rounds * latency + PASSES / 2 * size / MEMORY
    return first, second, sums + results


def main():
    options = [a for a in sys.argv[1:] if a.startswith("--")]
    arguments = [a for a in sys.argv[1:] if not a.startswith("--")]
    if len(arguments) < 6 or not set(options) <= {"--bf16", "--whole-moments"}:
        sys.exit(__doc__)
    parameters, batches = int(arguments[0]), int(arguments[1])
    each, latency, bandwidth = float(arguments[2]), float(arguments[3]) * 1e-6, float(arguments[4]) * 1e6
    print("ranks  batches  s computing  s in exchanges  share  MiB sent  batches/s  efficiency  overlapped")
    for ranks in map(int, arguments[5:]):
        count = batches or ranks
        computing = math.ceil(count / ranks) * each
        first, second, sent = exchange(parameters, count, ranks, latency, bandwidth,
                                       "--bf16" in options, "--whole-moments" in options)
        total = computing + first + second
        # If the sums were exchanged while the last batch of a rank goes backward, two thirds of it.
        best = computing + max(first - 2 / 3 * each, 0) + second
        print(f"{ranks:5}  {count:7}  {computing:11.3f}  {first + second:14.4f}  {(first + second) / total:5.0%}"
              f"  {sent / 2**20:8.2f}  {count / total:9.2f}  {count * each / total / ranks:10.0%}"
              f"  {count * each / best / ranks:10.0%}")


if __name__ == "__main__":
    main()
