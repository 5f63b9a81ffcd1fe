#!/usr/bin/env python3
"""Secateur beside other engines on the same networks, in one table.

    python3 bench/peers/run.py                       # every network, batch 1, one thread
    python3 bench/peers/run.py --networks resnet50,mobilenetv1 --threads 2 --batch 16

Installs the engines under target/peers on the first run. Engines take turns,
round by round; the figures are medians. Build the command first:
`cargo build --release`.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HOME = ROOT / "target" / "peers"
VENVS = {
    "main": ["onnx==1.19.1", "onnxruntime", "openvino", "numpy"],
    "deepsparse": ["deepsparse==1.8.0"],
}


def python(venv: str) -> pathlib.Path | None:
    """The interpreter with the packages of a venv; none if they cannot be installed."""
    interpreter = HOME / f"venv-{venv}" / "bin" / "python"
    done = interpreter.parent.parent / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", done.parent], check=True)
        pip = [interpreter, "-m", "pip", "install", "-q", *VENVS[venv]]
        if subprocess.run(pip).returncode:
            return None
        done.touch()
    return interpreter


class Worker:
    """A peer in a process of its own; see worker.py."""

    def __init__(self, venv: str, engine: str, model: pathlib.Path, options, shape):
        interpreter = python(venv)
        if interpreter is None:
            raise OSError("cannot be installed here")
        arguments = [engine, model, options.threads, options.batch, ",".join(map(str, shape))]
        self.process = subprocess.Popen(
            [interpreter, HERE / "worker.py", *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        self.ready = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise OSError("ended without an answer")
        return json.loads(line)

    def round(self, repeats: int) -> float:
        self.process.stdin.write(f"run {repeats}\n")
        self.process.stdin.flush()
        return statistics.median(self.answer())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Secateur:
    """`secateur bench`, started anew each round."""

    def __init__(self, command: pathlib.Path, model: pathlib.Path, options):
        self.command = [
            command, "bench", model, "--threads", str(options.threads),
            "--batch", str(options.batch), "--json", "-",
        ]
        first = self.bench(1)
        self.ready = {"peak_mib": first["peak_rss_bytes"] / 2**20}

    def bench(self, repeats: int) -> dict:
        command = [*self.command, "--repeats", str(repeats)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise OSError(done.stderr.strip().replace("\n", " "))
        return json.loads(done.stdout)

    def round(self, repeats: int) -> float:
        return self.bench(repeats)["median_ms"]

    def close(self) -> None:
        pass


def exported(command: pathlib.Path, model: pathlib.Path) -> pathlib.Path:
    target = model.with_suffix(".sct")
    if not target.exists():
        done = subprocess.run([command, "export", model, "-o", target], capture_output=True, text=True)
        if done.returncode:
            raise OSError(done.stderr.strip().replace("\n", " "))
    return target


def starters(files, pattern, options):
    """What each row of the table starts, by its name; files are made on demand."""
    from sparsify import Pattern

    dense, shape = Pattern.parse("dense"), files.network.shape
    sparse = f"{pattern.name} int8"

    def peer(venv, engine, model):
        return lambda: Worker(venv, engine, model(), options, shape)

    def ours(model):
        return lambda: Secateur(options.secateur, model(), options)

    def int8():
        return files.int8(pattern)

    return {
        f"Secateur {sparse}": ours(int8),
        f"Secateur {sparse} .sct": ours(lambda: exported(options.secateur, int8())),
        "Secateur dense int8": ours(lambda: files.int8(dense)),
        "ONNX Runtime f32": peer("main", "onnxruntime", lambda: files.f32(dense)),
        "ONNX Runtime int8": peer("main", "onnxruntime", int8),
        "OpenVINO int8": peer("main", "openvino", int8),
        f"DeepSparse {sparse}": peer("deepsparse", "deepsparse", lambda: files.per_tensor(pattern)),
    }


def compare(name: str, options) -> dict:
    from files import Files

    rows, running = {}, {}
    for engine, start in starters(Files(options.folder, name), options.pattern, options).items():
        try:
            running[engine] = start()
        except OSError as error:
            rows[engine] = {"error": str(error)}
    times = {engine: [] for engine in running}
    for _ in range(options.rounds):
        for engine, runner in running.items():
            times[engine].append(runner.round(options.repeats))
    for engine, runner in running.items():
        rows[engine] = {"ms": statistics.median(times[engine]), **runner.ready}
        runner.close()
    return rows


def show(name: str, rows: dict, options) -> None:
    print(f"\n{name}, batch {options.batch}, {options.threads} thread(s)")
    print(f"{'engine':28} {'ms':>10} {'ratio':>7} {'MiB':>6} {'load ms':>8}")
    ours = rows[f"Secateur {options.pattern.name} int8"]
    for engine, row in sorted(rows.items(), key=lambda item: item[1].get("ms", float("inf"))):
        if "error" in row:
            print(f"{engine:28} not available: {row['error'][:160]}")
            continue
        ratio = f"{row['ms'] / ours['ms']:.2f}" if "ms" in ours else "-"
        load = f"{row['load_ms']:.0f}" if "load_ms" in row else "-"
        print(f"{engine:28} {row['ms']:10.3f} {ratio:>7} {row['peak_mib']:6.0f} {load:>8}", flush=True)


def main() -> None:
    interpreter = python("main")
    if interpreter is None:
        sys.exit("onnx and onnxruntime cannot be installed")
    if pathlib.Path(sys.prefix) != interpreter.parent.parent:
        os.execv(interpreter, [str(interpreter), __file__, *sys.argv[1:]])
    from networks import NETWORKS
    from sparsify import Pattern

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="names with commas between")
    parser.add_argument("--list", action="store_true", help="name the networks")
    parser.add_argument("--pattern", type=Pattern.parse, default="90", help="90 (%% of zeros), 8of64 or dense")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=20, help="runs a round")
    parser.add_argument("--secateur", type=pathlib.Path, default=ROOT / "target/release/secateur")
    parser.add_argument("--folder", type=pathlib.Path, default=HOME / "networks")
    options = parser.parse_args()
    if options.list:
        print("\n".join(NETWORKS))
        return
    names = options.networks.split(",")
    if unknown := set(names) - set(NETWORKS):
        parser.error(f"no such network: {', '.join(sorted(unknown))}; --list names them")
    for name in names:
        rows = compare(name, options)
        show(name, rows, options)
        file = HOME / f"{name}-{options.pattern.name}-b{options.batch}-t{options.threads}.json"
        file.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
