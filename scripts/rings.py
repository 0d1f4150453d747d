"""Processor time of an image and of an iteration of training in both rings, in turn, in one run: two networks and the paper's
five settings, three processes with TLS and nothing beside what the parties do (no plaintext, no check of ranges).

    python3 scripts/rings.py [--program target/release/cryptgpu] [--out records.jsonl] [NAME...]

A command with many images or iterations, less one with few, is what many cost without what comes before them. Each line of the
output, and of the record, has all of a setting's measurements. A quarter of an hour on two cores; nothing else should run."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

# By name: few, many, how often in turn, and the command.
SETTINGS = {}
for network, few, many, turns in [("vgg16-cifar10", 2, 62, 4), ("resnet50", 1, 9, 2)]:
    SETTINGS[network] = (few, many, turns, ["inference", "--networks", network, "--compare", "0"])
for network, batch, few, many, turns in [
    ("lenet", 128, 2, 22, 3),
    ("alexnet-cifar10", 128, 2, 12, 2),
    ("vgg16-cifar10", 32, 1, 3, 2),
    ("alexnet-tiny", 128, 1, 3, 1),
    ("vgg16-tiny", 8, 1, 3, 1),
]:
    command = ["train", "--networks", network, "--dataset", "random", "--batch", str(batch), "--rate", "0.01"]
    SETTINGS[f"train {network}"] = (few, many, turns, command)


def run(program, command, iterations, ring):
    """Processor seconds of a command and of all its processes, and its record."""
    before = os.times()
    command = [program, "run", *command, "--iterations", str(iterations), "--ring", str(ring), "--check-range=off", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"{' '.join(map(str, command))}:\n{ended.stderr}")
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, json.loads(ended.stdout.splitlines()[-1])


def measure(program, name):
    few, many, turns, command = SETTINGS[name]
    measured = {64: [], 32: []}
    for turn in range(turns):
        for ring in ((64, 32), (32, 64))[turn % 2]:
            (less, _), (more, record) = (run(program, command, n, ring) for n in (few, many))
            measured[ring].append(round((more - less) / (many - few), 4))
    return {
        "setting": name,
        "iterations": [few, many],
        "cpu_seconds": measured,
        "medians": round(statistics.median(measured[32]) / statistics.median(measured[64]), 3),
        "pairs": [round(short / long, 3) for long, short in zip(measured[64], measured[32])],
        "isa": os.environ.get("CRYPTGPU_ISA", "detected"),
        "commit": record["commit"],
        "machine": record["machine"],
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def main():
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=root / "target/release/cryptgpu")
    parser.add_argument("--out", type=Path, help="a file to which records are added")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SETTINGS)}; all unless given")
    given = parser.parse_args()
    if not given.program.is_file():
        parser.error(f"no program at {given.program}: `cargo build --release` makes it, or name another by --program")
    unknown = [name for name in given.names if name not in SETTINGS]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(SETTINGS)}")
    for name in given.names or SETTINGS:
        line = measure(given.program, name)
        long, short = line["cpu_seconds"].values()
        print(f"{name}: {long} and {short} s, of the medians {line['medians']}, in turn {line['pairs']}", flush=True)
        if given.out:
            with given.out.open("a") as out:
                print(json.dumps(line), file=out)


if __name__ == "__main__":
    main()
