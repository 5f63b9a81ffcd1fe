"""One engine with one network in a process of its own.

    worker.py ENGINE MODEL THREADS BATCH EXTENTS

Prints a JSON line when it is ready, then one for each line `run N` on standard
input: the milliseconds of N runs. `output FILE` saves what the network gives.
"""

import json
import pathlib
import sys
import time

import numpy as np


def sample(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A normalised random input."""
    return np.random.default_rng(1000 + seed).standard_normal(shape, dtype=np.float32)


def onnxruntime(model: str, threads: int, batch: int):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"input": x})


def openvino(model: str, threads: int, batch: int):
    import openvino as ov

    core = ov.Core()
    network = core.read_model(model)
    network.reshape({0: [batch, *(d.get_length() for d in list(network.inputs[0].partial_shape)[1:])]})
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    return lambda x: list(request.infer([x], share_inputs=True).values())


def deepsparse(model: str, threads: int, batch: int):
    from deepsparse import Engine

    engine = Engine(model=model, batch_size=batch, num_cores=threads)
    return lambda x: engine.run([x])


ENGINES = {f.__name__: f for f in (onnxruntime, openvino, deepsparse)}


def peak_mib() -> float:
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    engine, model, threads, batch, extents = sys.argv[1:]
    # Engines print banners; the answers go to the standard output that was.
    answers, sys.stdout = sys.stdout, sys.stderr
    x = sample((int(batch), *map(int, extents.split(","))), 0)
    start = time.perf_counter()
    run = ENGINES[engine](model, int(threads), int(batch))
    outputs = run(x)
    ready = {"load_ms": (time.perf_counter() - start) * 1e3}
    for _ in range(3):
        run(x)
    print(json.dumps({**ready, "peak_mib": peak_mib()}), file=answers, flush=True)
    for line in sys.stdin:
        command, argument = line.split(maxsplit=1)
        if command == "run":
            times = []
            for _ in range(int(argument)):
                start = time.perf_counter()
                run(x)
                times.append((time.perf_counter() - start) * 1e3)
            print(json.dumps(times), file=answers, flush=True)
        elif command == "output":
            np.savez(argument.strip(), *outputs)
            print("{}", file=answers, flush=True)


if __name__ == "__main__":
    main()
