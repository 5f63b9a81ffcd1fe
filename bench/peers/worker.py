"""One engine of Python's with one network in a process of its own.

    worker.py ENGINE MODEL THREADS EXTENTS INPUT

Prints a JSON line when it has run, then one for each line of standard input:
`run N` gives the milliseconds of N runs, `output FILE` saves what the network
gives. Inputs and outputs are raw f32. The crates' workers answer alike.
"""

import json
import pathlib
import sys
import time

import numpy as np

# Runs after the first and before those that count; none where loading takes long.
WARM_UP = 3
PATIENCE_MS = 10_000


def onnxruntime(model: str, threads: int, shape: list[int]):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"input": x})


def openvino(model: str, threads: int, shape: list[int]):
    import openvino as ov

    core = ov.Core()
    network = core.read_model(model)
    network.reshape({0: shape})
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    return lambda x: list(request.infer([x], share_inputs=True).values())


def deepsparse(model: str, threads: int, shape: list[int]):
    from deepsparse import Engine

    engine = Engine(model=model, batch_size=shape[0], num_cores=threads)
    return lambda x: engine.run([x])


ENGINES = {f.__name__: f for f in (onnxruntime, openvino, deepsparse)}


def peak_mib() -> float:
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    engine, model, threads, extents, source = sys.argv[1:]
    # Engines print banners; the answers go to the standard output that was.
    answers, sys.stdout = sys.stdout, sys.stderr
    shape = [int(n) for n in extents.split(",")]
    x = np.fromfile(source, np.float32).reshape(shape)
    base = peak_mib()
    start = time.perf_counter()
    run = ENGINES[engine](model, int(threads), shape)
    outputs = run(x)
    ready = {"load_ms": (time.perf_counter() - start) * 1e3}
    for _ in range(WARM_UP if ready["load_ms"] < PATIENCE_MS else 0):
        run(x)
    ready |= {"peak_mib": peak_mib(), "base_mib": base}
    print(json.dumps(ready), file=answers, flush=True)
    for line in sys.stdin:
        command, argument = line.strip().split(maxsplit=1)
        if command == "run":
            times = []
            for _ in range(int(argument)):
                start = time.perf_counter()
                run(x)
                times.append((time.perf_counter() - start) * 1e3)
            print(json.dumps(times), file=answers, flush=True)
        elif command == "output":
            flat = [np.asarray(o, np.float32).ravel() for o in outputs]
            np.concatenate(flat).tofile(argument)
            print("{}", file=answers, flush=True)


if __name__ == "__main__":
    main()
