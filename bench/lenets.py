#!/usr/bin/env python3
"""Trains and compresses both LeNets on MNIST and Fashion-MNIST, five seeds each.

Each run is `secateur train` with its defaults, `secateur compress --recipe deep-compression`, and
`secateur eval` of the file that comes out. Prints one Markdown table; every
run's JSON stays in the folder, and a run that is there already is not repeated.

    cargo build --release
    python3 bench/lenets.py target/lenets            # about an hour and a half
    python3 bench/lenets.py target/lenets --seeds 1  # one seed
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
NETWORKS = ["lenet-300-100", "lenet-5"]
SETS = ["mnist", "fashion-mnist"]


def secateur(command, folder, threads, *arguments):
    counts = {"RAYON_NUM_THREADS": str(threads), "SECATEUR_THREADS": str(threads)}
    subprocess.run(
        [command, *arguments],
        cwd=folder,
        check=True,
        env={**os.environ, **counts},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def run(command, folder, network, data, seed, threads):
    stem = f"{network}-{data}-{seed}"
    common = ["--data", data, "--seed", str(seed)]
    results = {}
    steps = {
        "train": ["train", network, *common, "-o", f"{stem}.onnx"],
        "compress": ["compress", f"{stem}.onnx", *common, "--recipe", "deep-compression", "-o", f"{stem}.sct"],
        "eval": ["eval", f"{stem}.sct", "--data", data],
    }
    for step, arguments in steps.items():
        file = folder / f"{stem}.{step}.json"
        if not file.exists():
            secateur(command, folder, threads, *arguments, "--json", file.name)
        results[step] = json.loads(file.read_text())
    return results


def spread(values, digits=2):
    mean = statistics.mean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def row(network, data, runs):
    dense = [r["train"]["top1_error_percent"] for r in runs]
    small = [r["eval"]["top1_error_percent"] for r in runs]
    size = [r["eval"]["bytes"] for r in runs]
    ratio = [r["compress"]["ratio"] for r in runs]
    seconds = [r["train"]["seconds"] + r["compress"]["seconds"] for r in runs]
    change = [s - d for s, d in zip(small, dense)]
    validation = [
        r["compress"]["steps"][-1]["validation_error_percent"]
        - r["train"]["validation_error_percent"]
        for r in runs
    ]
    return (
        f"| {network}, {data} | {len(runs)} | {spread(dense)} | {spread(small)} | {spread(change)} "
        f"| {spread(validation)} | {spread(size, 0)} | {spread(ratio, 1)} | {statistics.mean(seconds):.0f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, one thread each")
    parser.add_argument("--command", type=pathlib.Path, default=ROOT / "target" / "release" / "secateur")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)

    cells = [(n, d) for n in args.networks for d in args.sets]
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = {
            cell: [pool.submit(run, args.command.resolve(), args.folder, *cell, seed, threads) for seed in range(1, args.seeds + 1)]
            for cell in cells
        }
        print("| network, data | seeds | dense error, % | `.sct` error, % | change | change on validation | bytes | ratio | train + compress, s |")
        print("|---|---|---|---|---|---|---|---|---|")
        for cell, runs in futures.items():
            print(row(*cell, [future.result() for future in runs]), flush=True)


if __name__ == "__main__":
    main()
