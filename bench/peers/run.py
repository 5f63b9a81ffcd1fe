#!/usr/bin/env python3
"""Secateur beside other engines: same files, same input, same threads, outputs compared.

    python3 bench/peers/run.py                       # everything; an hour or two
    python3 bench/peers/run.py --resume              # what the last run did not reach
    python3 bench/peers/run.py --networks resnet50,mobilenetv1 --settings 16x2
    python3 bench/peers/run.py --show                # the last run's tables again

The tables also lie in target/peers/results.md, the figures in results.json.
Installs the engines under target/peers on the first run. Engines take turns, round by
round; figures are medians of the rounds' medians. An engine that cannot run a network is
named below the tables. Build the command first: `cargo build --release`.
"""

import argparse
import json
import os
import pathlib
import platform
import sys
import time
import zlib

from engines import HOME, ROOT, Commands, Missing, python

RESULTS = HOME / "results.json"


def main() -> None:
    try:
        interpreter = python("main")
    except Missing as error:
        sys.exit(str(error))
    if os.path.realpath(sys.prefix) != os.path.realpath(interpreter.parent.parent):
        os.execv(interpreter, [str(interpreter), __file__, *sys.argv[1:]])
    options = parsed()
    kept = (options.resume or options.show) and options.results.exists()
    results = json.loads(options.results.read_text()) if kept else {}
    if not options.show:
        compare(options, results)
    import tables

    heading = f"{processor()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d %H:%M')}"
    text = f"{heading}\n\n{tables.show(results)}\n"
    print(text)
    options.results.with_suffix(".md").write_text(text)


def parsed() -> argparse.Namespace:
    from networks import LAYERS, NETWORKS
    from rows import LATENCY, ROWS, THROUGHPUT, Setting

    known = [*NETWORKS, *LAYERS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--networks", type=listed(known), default=known, help=f"some of {','.join(known)}")
    parser.add_argument("--rows", type=listed(ROWS), default=list(ROWS), help=f"some of {','.join(ROWS)}")
    parser.add_argument(
        "--settings", type=lambda text: [Setting.parse(s) for s in text.split(",")],
        default=[LATENCY, THROUGHPUT], help="batch x threads [1x1,16x2]; tables show these two",
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="an engine's turn")
    parser.add_argument("--limit", type=float, default=30, help="seconds of an engine in all its turns")
    parser.add_argument("--resume", action="store_true", help="keep what the last run measured")
    parser.add_argument("--show", action="store_true", help="measure nothing")
    parser.add_argument("--secateur", type=pathlib.Path, default=ROOT / "target/release/secateur")
    parser.add_argument("--folder", type=pathlib.Path, default=HOME / "networks")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    return parser.parse_args()


def listed(known):
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
        return names

    return parse


def compare(options: argparse.Namespace, results: dict) -> None:
    from files import Files
    from measure import Comparison, Timing
    from networks import LAYERS
    from rows import LATENCY, ROWS

    timing = Timing(options.rounds, options.seconds, options.limit)
    commands = Commands()
    rows = {name: ROWS[name] for name in options.rows}
    for setting in options.settings:
        for name in options.networks:
            case = f"{name} {setting.name}"
            if case in results or name in LAYERS and setting != LATENCY:
                continue
            start = time.time()
            files = Files(options.folder, name, options.secateur)
            try:
                results[case] = Comparison(files, setting, commands).measure(rows, timing)
                results.setdefault("sizes", {})[name] = sizes(files)
            except Exception as error:  # The other networks shall be measured all the same.
                print(f"{case}: {error!r}", file=sys.stderr)
                continue
            options.results.parent.mkdir(parents=True, exist_ok=True)
            options.results.write_text(json.dumps(results, indent=1))
            print(f"{case}: {time.time() - start:.0f} s", file=sys.stderr, flush=True)


def sizes(files) -> dict[str, float]:
    """Megabytes of a network's files."""
    from sparsify import Pattern

    sparse, dense, windows = map(Pattern.parse, ("90", "dense", "8of64"))
    int8 = files.int8(sparse)
    found = {"gzip": len(zlib.compress(int8.read_bytes(), 6)) / 1e6}
    paths = {"f32": files.f32(dense), "int8": int8}
    try:
        paths |= {"sct": files.sct(sparse), "sct-8of64": files.sct(windows)}
    except Missing:
        pass
    return found | {name: path.stat().st_size / 1e6 for name, path in paths.items()}


def processor() -> str:
    """The processor's name, and what matters of its instruction set."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    known = ("avx2", "avx512f", "avx512vbmi", "avx512_vnni", "avx_vnni", "amx_int8")
    flags = [flag for flag in known if flag in facts.get("flags", "").split()]
    return f"{facts.get('model name', platform.machine())} ({', '.join(flags)})"


if __name__ == "__main__":
    main()
