#!/usr/bin/env python3
"""The smallest files of both LeNets on MNIST: five seeds, a curve, and what each part is worth.

Runs `secateur train`, `secateur compress` (LeNet-300-100 by the search, LeNet-5 by the recipe
`smallest`) and `secateur eval` of the file; prints Markdown tables. `moved` trains dense networks on
moved pictures, to tell what of a gain is theirs. `ablation` stores the networks of the recipes
`deep-compression` and `smallest` through one coder alone each. Every run's JSON stays in the folder,
and a run that is there already is not repeated.

    cargo build --release
    cargo build --release -p secateur-io --example coders
    python3 bench/smallest.py target/smallest                # hours
    python3 bench/smallest.py target/smallest --seeds 1 --parts table
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECIPE = ROOT / "recipes" / "smallest.toml"
DEEP = ROOT / "recipes" / "deep-compression.toml"
# How each network is compressed for the table.
WAYS = {"lenet-300-100": "search", "lenet-5": RECIPE}
# Prices of a bit for the curve, in nats; the recipe's own is among the tables.
CURVE = {
    "lenet-300-100": [3e-6, 6e-6, 1e-5, 2e-5],
    "lenet-5": [2e-6, 4e-6, 8e-6, 1.2e-5],
}
CODERS = ["gap", "huffman", "rans", "context"]


class Bench:
    def __init__(self, args):
        self.command = args.command.resolve()
        self.folder = args.folder
        self.threads = max(1, (os.cpu_count() or 1) // args.jobs)

    def call(self, program, *arguments):
        counts = {"RAYON_NUM_THREADS": str(self.threads), "SECATEUR_THREADS": str(self.threads)}
        done = subprocess.run(
            [program, *map(str, arguments)],
            cwd=self.folder,
            check=True,
            env={**os.environ, **counts},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return done.stdout

    def json(self, name, *arguments):
        """What a command writes with `--json`, kept in a file of that name."""
        file = self.folder / f"{name}.json"
        if not file.exists():
            part = self.folder / f"{name}.part.json"
            self.call(self.command, *arguments, "--json", part.name)
            part.rename(file)
        return json.loads(file.read_text())

    def dense(self, network, seed, shift):
        stem = f"{network}-{seed}" + ("-moved" if shift else "")
        more = ["--shift", shift] if shift else []
        return self.json(
            f"{stem}.train", "train", network, "--data", "mnist", "--seed", seed, *more, "-o", f"{stem}.onnx"
        )

    def small(self, network, seed, way, label):
        """The file of a recipe, or of a search, from the dense network that saw no moved pictures."""
        self.dense(network, seed, 0)
        stem = f"{network}-{seed}-{label}"
        recipe = [] if way == "search" else ["--recipe", way]
        compressed = self.json(
            f"{stem}.compress",
            "compress", f"{network}-{seed}.onnx", "--data", "mnist", "--seed", seed, *recipe, "-o", f"{stem}.sct",
        )
        scored = self.json(f"{stem}.eval", "eval", f"{stem}.sct", "--data", "mnist")
        return compressed, scored

    def coders(self, stem):
        """Bytes of a file's planes through each coder alone."""
        out = self.call(ROOT / "target" / "release" / "examples" / "coders", f"{stem}.sct")
        return json.loads(out)


def priced(folder, network, price):
    """The recipe with another price for a network."""
    lines, inside = [], False
    for line in RECIPE.read_text().splitlines():
        if line.startswith("["):
            inside = line.startswith(f'[step.network."{network}')
        lines.append(f"nats_per_bit = {price}" if inside and line.startswith("nats_per_bit") else line)
    path = folder / f"{network}-{price}.toml"
    path.write_text("\n".join(lines) + "\n")
    return path.resolve()


def spread(values, digits=2):
    mean = statistics.mean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


ERROR = "top1_error_percent"


def table(bench, pool, networks, seeds):
    print("| network | seeds | dense, % | `.sct`, % | bytes | ratio | compress, s |")
    print("|---|---|---|---|---|---|---|")
    lines = []
    for network in networks:
        way = WAYS[network]
        label = "search" if way == "search" else way.stem
        def one(seed):
            return (bench.dense(network, seed, 0), *bench.small(network, seed, way, label))
        runs = list(pool.map(one, range(1, seeds + 1)))
        print(
            f"| {network} ({label}) | {len(runs)} | {spread([r[0][ERROR] for r in runs])} "
            f"| {spread([r[2][ERROR] for r in runs])} | {spread([r[2]['bytes'] for r in runs], 0)} "
            f"| {spread([r[1]['ratio'] for r in runs], 0)} | {statistics.mean([r[1]['seconds'] for r in runs]):.0f} |",
            flush=True,
        )
        for seed, (dense, _, scored) in enumerate(runs, 1):
            lines.append(f"{network}, seed {seed}: {dense[ERROR]:.2f} -> {scored[ERROR]:.2f} %, {scored['bytes']} B")
    print("\n" + "\n".join(lines), flush=True)


def moved(bench, pool, networks, seeds):
    print("\n| network | seeds | dense, % | dense on moved pictures, % |\n|---|---|---|---|")
    for network in networks:
        def one(seed):
            return [bench.dense(network, seed, shift)[ERROR] for shift in (0, 1)]
        runs = list(pool.map(one, range(1, seeds + 1)))
        plain, shifted = zip(*runs)
        print(f"| {network} | {len(runs)} | {spread(plain)} | {spread(shifted)} |", flush=True)


def curve(bench, pool, networks):
    print("\n| network, seed 1 | price of a bit, nats | bytes | ratio | test error, % |\n|---|---|---|---|---|")
    for network in networks:
        bench.dense(network, 1, 0)
        def one(price):
            recipe = priced(bench.folder, network, price)
            return price, bench.small(network, 1, recipe, f"price-{price}")
        for price, (compressed, scored) in pool.map(one, CURVE[network]):
            print(
                f"| {network} | {price:.1e} | {scored['bytes']} | {compressed['ratio']:.0f} "
                f"| {scored[ERROR]:.2f} |",
                flush=True,
            )


def ablation(bench, networks):
    print("\n| network, seed 1 | trained for | non-zeros | " + " | ".join(CODERS) + " |")
    print("|---|---|---|" + "---|" * len(CODERS))
    for network in networks:
        for recipe, what in [(DEEP, "accuracy"), (RECIPE, "bits")]:
            bench.small(network, 1, recipe, recipe.stem)
            sizes = bench.coders(f"{network}-1-{recipe.stem}")
            print(f"| {network} | {what} (`{recipe.stem}`) | {sizes['nonzeros']} | " + " | ".join(str(sizes[c]) for c in CODERS) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--networks", nargs="+", default=["lenet-300-100", "lenet-5"])
    parser.add_argument("--parts", nargs="+", default=["table", "moved", "curve", "ablation"])
    parser.add_argument("--jobs", type=int, default=2, help="runs at once; the processors are shared out")
    parser.add_argument("--command", type=pathlib.Path, default=ROOT / "target" / "release" / "secateur")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(args)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        if "table" in args.parts:
            table(bench, pool, args.networks, args.seeds)
        if "moved" in args.parts:
            moved(bench, pool, args.networks, args.seeds)
        if "curve" in args.parts:
            curve(bench, pool, args.networks)
    if "ablation" in args.parts:
        ablation(bench, args.networks)


if __name__ == "__main__":
    main()
