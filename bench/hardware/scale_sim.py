#!/usr/bin/env python3
"""Cycles and speed beside SCALE-Sim: AlexNet and ResNet-18 on 32 by 32 cells, output- and weight-stationary.

    pip install scalesim "numpy<2"
    cargo build --release -p secateur-accel --example systolic
    python3 bench/hardware/scale_sim.py target/scale-sim

Extents are those of the topologies that come with SCALE-Sim (padding is in them). Prints a Markdown table; ends with an
error where a layer's cycles differ. SCALE-Sim prints one cycle less than its loop runs; that one is added. What it counts before
the first product, while its scratchpads fill, is left out, as it hangs on them.
"""

import argparse
import contextlib
import io
import subprocess
import sys
import time
from pathlib import Path

from scalesim.scale_sim import scalesim

ROOT = Path(__file__).resolve().parents[2]
SIDE = 32

# Extent, kernel, channels, filters, stride.
NETWORKS = {
    "AlexNet": [
        (224, 11, 3, 96, 4),
        (27, 5, 96, 256, 1),
        (13, 3, 256, 384, 1),
        (13, 3, 384, 384, 1),
        (13, 3, 384, 256, 1),
    ],
    "ResNet-18": [
        (224, 7, 3, 64, 2),
        *[(56, 3, 64, 64, 1)] * 4,
        (56, 3, 64, 128, 2),
        (28, 3, 128, 128, 1),
        (56, 1, 64, 128, 2),
        *[(28, 3, 128, 128, 1)] * 2,
        (28, 3, 128, 256, 2),
        (14, 3, 256, 256, 1),
        (28, 1, 128, 256, 2),
        *[(14, 3, 256, 256, 1)] * 2,
        (14, 3, 256, 512, 2),
        (7, 3, 512, 512, 1),
        (14, 1, 256, 512, 2),
        *[(7, 3, 512, 512, 1)] * 2,
        (1, 1, 512, 1000, 1),
    ],
}

CONFIG = """[general]
run_name = {name}

[architecture_presets]
ArrayHeight: {side}
ArrayWidth: {side}
IfmapSramSzkB: 1024
FilterSramSzkB: 1024
OfmapSramSzkB: 1024
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 1000
Dataflow: {dataflow}
ReadRequestBuffer: 64
WriteRequestBuffer: 64

[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2

[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40

[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""


def topology(folder, name, layers):
    path = folder / f"{name}.csv"
    lines = ["Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"]
    for index, (extent, kernel, channels, filters, stride) in enumerate(layers):
        lines.append(f"layer{index}, {extent}, {extent}, {kernel}, {kernel}, {channels}, {filters}, {stride},")
    path.write_text("\n".join(lines) + "\n")
    return path


def theirs(folder, name, path, dataflow):
    """Cycles of each layer by SCALE-Sim, and the seconds that it took."""
    config = folder / f"{name}-{dataflow}.cfg"
    config.write_text(CONFIG.format(name=f"{name}-{dataflow}", side=SIDE, dataflow=dataflow))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        simulator = scalesim(
            save_disk_space=True,
            verbose=False,
            config=str(config),
            topology=str(path),
            layout=str(path),
            input_type_gemm=False,
        )
        start = time.perf_counter()
        simulator.run_scale(top_path=str(folder))
        seconds = time.perf_counter() - start
    layers = simulator.runner.single_layer_sim_object_list
    return [int(layer.get_compute_report_items()[1]) + 1 for layer in layers], seconds


def ours(path, dataflow):
    program = ROOT / "target/release/examples/systolic"
    done = subprocess.run([program, path, dataflow, str(SIDE), str(SIDE)], check=True, capture_output=True, text=True)
    *layers, last = [line.split() for line in done.stdout.splitlines()]
    return [int(cycles) for _, cycles in layers], int(last[1]) / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    print("| network | dataflow | layers | cycles, SCALE-Sim | here | SCALE-Sim | here | times as fast |")
    print("|---|---|---|---|---|---|---|---|")
    differs = False
    for name in args.networks:
        path = topology(args.folder, name, NETWORKS[name])
        for dataflow in ("os", "ws"):
            (them, slow), (us, fast) = theirs(args.folder, name, path, dataflow), ours(path, dataflow)
            differs |= them != us
            print(
                f"| {name} | {dataflow} | {len(us)} | {sum(them)} | {sum(us)} | {slow:.1f} s | {1e6 * fast:.2f} µs | {slow / fast:.1e} |",
                flush=True,
            )
            if them != us:
                print(f"{name} {dataflow}: {them} {us}", file=sys.stderr)
    sys.exit(int(differs))


if __name__ == "__main__":
    main()
