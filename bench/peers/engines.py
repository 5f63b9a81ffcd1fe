"""The engines: how each is installed, and how one is asked."""

import json
import pathlib
import selectors
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HOME = ROOT / "target" / "peers"
# Where the crates' workers are built.
TARGET = HOME / "crates"
VENVS = {
    "main": ["onnx==1.19.1", "onnxruntime", "openvino", "numpy"],
    "deepsparse": ["deepsparse==1.8.0"],
}
# Where each engine lives: a venv for worker.py, or None for a crate of its own.
ENGINES = {
    "onnxruntime": "main",
    "openvino": "main",
    "deepsparse": "deepsparse",
    "secateur": None,
    "tract": None,
    "rten": None,
}
# Seconds after which an engine that has not answered is given up.
PATIENCE = 300


class Missing(Exception):
    """An engine that cannot be had, or cannot run a file; says why."""


def python(venv: str) -> pathlib.Path:
    """The interpreter with the packages of a venv, installed on first use."""
    interpreter = HOME / f"venv-{venv}" / "bin" / "python"
    done = interpreter.parent.parent / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", done.parent], check=True)
        pip = [interpreter, "-m", "pip", "install", "-q", *VENVS[venv]]
        if subprocess.run(pip).returncode:
            raise Missing(f"{', '.join(VENVS[venv])}: cannot be installed here")
        done.touch()
    return interpreter


class Commands:
    """The start of each engine's command line; made once a run."""

    def __init__(self):
        self.made: dict[str, list] = {}

    def get(self, engine: str) -> list:
        if engine not in self.made:
            venv = ENGINES[engine]
            self.made[engine] = [python(venv), HERE / "worker.py", engine] if venv else [built(engine)]
        return self.made[engine]


def built(engine: str) -> pathlib.Path:
    """The worker of a crate, built as the sources are now."""
    # Alone, a crate asks for fewer features of what all share, and builds that anew;
    # so it is built alone only where the others hinder it.
    if not cargo() and not cargo("--package", f"peer-{engine}"):
        raise Missing(f"the crate peer-{engine} cannot be built here")
    return TARGET / "release" / f"peer-{engine}"


def cargo(*options: str) -> bool:
    command = ["cargo", "build", "--release", "--quiet", "--target-dir", TARGET]
    command += ["--manifest-path", HERE / "crates" / "Cargo.toml", *options]
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0
    except FileNotFoundError:
        return False


class Worker:
    """An engine with a network in a process of its own; see worker.py."""

    def __init__(self, command: list, model, threads: int, shape: tuple[int, ...], source):
        """`source` is the file of the input."""
        self.log = HOME / "logs" / f"{pathlib.Path(command[-1]).name}-{model.name}.txt"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        arguments = [*command, model, threads, ",".join(map(str, shape)), source]
        with open(self.log, "w") as errors:
            self.process = subprocess.Popen(
                list(map(str, arguments)),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )
        self.ready = self.answer()

    def answer(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(PATIENCE):
                self.process.kill()
                self.process.wait()
                raise Missing(f"no answer in {PATIENCE} s")
        line = self.process.stdout.readline()
        if not line:
            raise Missing(self.reason())
        return json.loads(line)

    def reason(self) -> str:
        """Why the process ended."""
        status = self.process.wait()
        if status < 0:
            return f"ended by signal {-status}"
        lines = self.log.read_text(errors="replace").strip().splitlines()
        # DeepSparse's backtrace comes after what it asserts.
        telling = [line for line in lines if line.startswith("Assertion")] + lines[-1:]
        return telling[0][:300] if telling else f"ended with status {status}"

    def ask(self, line: str):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Missing(self.reason()) from None
        return self.answer()

    def round(self, repeats: int) -> float:
        """The median of some runs, in milliseconds."""
        return statistics.median(self.ask(f"run {repeats}"))

    def output(self, target: pathlib.Path) -> None:
        """Writes what the network gives, all outputs as raw f32."""
        self.ask(f"output {target}")

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
