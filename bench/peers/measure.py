"""One network in one setting: every engine loaded, compared, then timed in turn."""

import pathlib
import statistics
import time
from dataclasses import dataclass

import inputs
from engines import HOME, Commands, Missing, Worker
from files import Files
from outputs import difference
from rows import Row, Setting, pattern

MOST_REPEATS = 2000


@dataclass(frozen=True)
class Timing:
    rounds: int
    # How long an engine runs in a round, and altogether.
    seconds: float
    limit: float


class Comparison:
    """The engines beside each other on one network."""

    def __init__(self, files: Files, setting: Setting, commands: Commands):
        self.files, self.setting, self.commands = files, setting, commands
        self.folder = HOME / "outputs"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.shape = (setting.batch, *files.network.shape)
        self.input = inputs.written(self.folder, files.name, self.shape)
        self.references: dict[pathlib.Path, pathlib.Path] = {}

    def measure(self, rows: dict[str, Row], timing: Timing) -> dict[str, dict]:
        results, running = {}, {}
        for name, row in rows.items():
            try:
                worker, results[name] = self.start(name, row)
                running[name] = worker
            except Missing as error:
                results[name] = {"error": str(error)}
            except Exception as error:  # A file that cannot be made shall not end the night.
                results[name] = {"error": f"{type(error).__name__}: {error}"[:300]}
        times = {name: [] for name in running}
        try:
            for _ in range(timing.rounds):
                for name, worker in list(running.items()):
                    try:
                        self.round(worker, times[name], timing)
                    except Missing as error:
                        results[name] = {"error": str(error)}
                        del running[name]
        finally:
            for worker in running.values():
                worker.close()
        for name in running:
            rounds = [ms for ms, _ in times[name]]
            results[name]["ms"] = statistics.median(rounds)
            results[name]["rounds_ms"] = [round(ms, 6) for ms in rounds]
        return results

    def start(self, name: str, row: Row) -> tuple[Worker, dict]:
        command = self.commands.get(row.engine)
        model = self.files.form(row.form, pattern(row))
        worker = self.worker(command, model)
        found = self.folder / f"{self.files.name}-{name}-{self.setting.name}.f32"
        try:
            worker.output(found)
            # `.sct` holds what the int8 file does.
            source = model if row.form != "sct" else self.files.int8(pattern(row))
            apart = difference(source, found, self.reference(source))
        except BaseException:
            worker.close()
            raise
        return worker, {**worker.ready, "difference": apart.json()}

    def worker(self, command: list, model: pathlib.Path) -> Worker:
        return Worker(command, model, self.setting.threads, self.shape, self.input)

    def reference(self, model: pathlib.Path) -> pathlib.Path:
        """What ONNX Runtime gives for a file."""
        if model not in self.references:
            target = self.folder / f"{model.stem}-{self.setting.name}-reference.f32"
            worker = self.worker(self.commands.get("onnxruntime"), model)
            worker.output(target)
            worker.close()
            self.references[model] = target
        return self.references[model]

    def round(self, worker: Worker, times: list[tuple[float, float]], timing: Timing) -> None:
        """One engine's turn; a slow one has fewer, down to a single run."""
        if sum(seconds for _, seconds in times) > timing.limit:
            return
        expected = times[-1][0] if times else worker.round(1)
        repeats = int(timing.seconds * 1e3 / max(expected, 1e-6))
        start = time.perf_counter()
        ms = worker.round(min(max(repeats, 1), MOST_REPEATS))
        times.append((ms, time.perf_counter() - start))
