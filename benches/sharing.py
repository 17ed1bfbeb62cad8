#!/usr/bin/env python3
"""Training when the processors are not one's own: under a quota of a control group, and two runs side by
side. Tokens/s with a fixed number of threads and with the number that the library chooses.

    make && sudo benches/sharing.py [--quota 1.5] [--rounds 5] [--seconds 6]

The quota needs Linux, root, and a mounted `cpu` controller (version 1 or 2); without them that part is left
out. Shape S of README.md, by `tools/train_model`; medians of alternating rounds. The last column is the
share of the best fixed number.
"""

import argparse
import csv
import os
import random
import statistics
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOL = os.environ.get("TRAIN_MODEL", str(ROOT / "tools" / "train_model"))
CHOICES = ("1", "2", "0")
NAMES = {"1": "1 thread", "2": "2 threads", "0": "by itself"}


def words(path: Path) -> None:
    """A text of 1,000 words with neither beginning nor end, the same each time."""
    draw = random.Random(1)
    path.write_text(" ".join(f"w{draw.randrange(996)}" for _ in range(400_000)))


class Quota:
    """A control group whose processes together get so many processors; `None` where that can't be had."""

    @staticmethod
    def make(processors: float):
        period = 100_000
        for root, files in ((Path("/sys/fs/cgroup/cpu"), {"cpu.cfs_period_us": f"{period}",
                                                          "cpu.cfs_quota_us": f"{int(processors * period)}"}),
                            (Path("/sys/fs/cgroup"), {"cpu.max": f"{int(processors * period)} {period}"})):
            folder = root / "cllm_sharing"
            try:
                folder.mkdir(exist_ok=True)
                for name, value in files.items():
                    (folder / name).write_text(value)
                return folder
            except OSError:
                if folder.is_dir():
                    folder.rmdir()
        return None


def start(text: Path, folder: Path, threads: str, steps: int, quota: Path | None):
    enter = None
    if quota:
        enter = lambda: (quota / "cgroup.procs").write_text(str(os.getpid()))
    command = [TOOL, str(text), "--checkpoint-dir", str(folder), "--overwrite", "--tokens", "words",
               "--vocab-size", "1000", "--embed-dim", "128", "--num-layers", "4", "--num-heads", "4",
               "--seq-len", "128", "--batch-size", "16", "--epochs", "1000", "--max-steps", str(steps),
               "--threads", threads, "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=enter)


def speed(folder: Path) -> float:
    """Tokens a second of the steps after the first, all together: what a quota takes away comes in
    pieces, which a median of steps would not see."""
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))[1:]
    return len(rows) / sum(1 / float(row["tokens_per_second"]) for row in rows)


def run(text: Path, folder: Path, threads: str, steps: int, quota: Path | None, beside: int) -> float:
    """Tokens a second of `beside` runs at once, all together."""
    folders = [folder / str(i) for i in range(beside)]
    running = [start(text, f, threads, steps, quota) for f in folders]
    if any(process.wait() for process in running):
        raise SystemExit("train_model failed")
    return sum(map(speed, folders))


def compare(title: str, text: Path, folder: Path, steps: int, rounds: int, quota: Path | None, beside: int) -> None:
    rates: dict[str, list[float]] = {choice: [] for choice in CHOICES}
    for _ in range(rounds):
        for choice in CHOICES:
            rates[choice].append(run(text, folder, choice, steps, quota, beside))
    medians = {choice: statistics.median(rates[choice]) for choice in CHOICES}
    best = max(medians["1"], medians["2"])
    for choice in CHOICES:
        print(f"| {title} | {NAMES[choice]} | {medians[choice]:,.0f} | {medians[choice] / best:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quota", type=float, default=1.5, help="processors (1.5)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6, help="about so long for each run (6)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "text.txt"
        words(text)
        steps = max(int(run(text, folder, "1", 20, None, 1) * asked.seconds / 2048), 10)
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; {asked.rounds} rounds of {steps} steps\n")
        print("| | threads | tokens/s | share of the best fixed number |\n|---|---|---|---|")
        compare("alone", text, folder, steps, asked.rounds, None, 1)
        quota = Quota.make(asked.quota)
        if quota:
            compare(f"a quota of {asked.quota:g} processors", text, folder, steps, asked.rounds, quota, 1)
            quota.rmdir()
        else:
            print(f"| a quota of {asked.quota:g} processors | | left out: no control group can be made | |")
        compare("two runs side by side", text, folder, steps, asked.rounds, None, 2)


if __name__ == "__main__":
    main()
