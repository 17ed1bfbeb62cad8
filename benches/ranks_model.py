#!/usr/bin/env python3
"""What an update of a training over ranks should take: the model of docs/SCALING.md.

    benches/ranks_model.py PARAMETERS BATCHES SECONDS_PER_BATCH LATENCY BANDWIDTH RANKS...

LATENCY in microseconds, BANDWIDTH in MB/s, both of one link and direction; BATCHES of an update, 0: one
for each rank. Prints a row for each number of ranks.
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


def exchange(parameters, batches, ranks, latency, bandwidth):
    """Seconds of the exchanges of an update, and bytes that a rank sends in them."""
    if ranks == 1:
        return 0.0, 0.0
    size, others = 4 * parameters, (ranks - 1) / ranks
    sent = (subtrees(batches, ranks) + 1) * size * others
    messages = ranks - 1 + 6 * math.ceil(math.log2(ranks))
    return sent / bandwidth + messages * latency + PASSES * size / MEMORY, sent


def main():
    parameters, batches = int(sys.argv[1]), int(sys.argv[2])
    each, latency, bandwidth = float(sys.argv[3]), float(sys.argv[4]) * 1e-6, float(sys.argv[5]) * 1e6
    print("ranks  batches  s computing  s in exchanges  share  MiB sent  batches/s  efficiency")
    for ranks in map(int, sys.argv[6:]):
        count = batches or ranks
        computing = math.ceil(count / ranks) * each
        exchanging, sent = exchange(parameters, count, ranks, latency, bandwidth)
        total = computing + exchanging
        print(f"{ranks:5}  {count:7}  {computing:11.3f}  {exchanging:14.4f}  {exchanging / total:5.0%}"
              f"  {sent / 2**20:8.2f}  {count / total:9.2f}  {count * each / total / ranks:10.0%}")


if __name__ == "__main__":
    main()
