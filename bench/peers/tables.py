"""The results as tables of at most a hundred columns, one a question; they are Markdown too."""

import math

import aims
from networks import LAYERS, NETWORKS
from rows import ALTERNATIVES, LATENCY, ROWS, THROUGHPUT, Setting

INT8 = {
    "secateur": "Secateur",
    "onnxruntime": "ONNX RT",
    "openvino": "OpenVINO",
    "deepsparse": "DeepSparse",
    "tract": "tract",
    "rten": "rten",
}
OURS = {
    "secateur": "90 %",
    "secateur-onnx": "90 % .onnx",
    "secateur-8of64": "8 of 64",
    "secateur-dense": "dense",
    "secateur-f32": "90 % f32",
    "onnxruntime": "ONNX RT int8",
}
F32 = {
    "secateur-f32": "Secateur 90 %",
    "onnxruntime-f32": "ONNX RT",
    "deepsparse-f32": "DeepSparse 90 %",
    "tract-f32": "tract",
    "rten-f32": "rten",
}


def show(results: dict) -> str:
    """Every table for which there are results."""
    tables = Tables(results)
    parts = [
        tables.of("int8 at 90 % zeros, ms", INT8, LATENCY, "ms"),
        tables.of("Secateur's forms, ms", OURS, LATENCY, "ms"),
        tables.of("f32, ms", F32, LATENCY, "ms"),
        tables.aims(),
        tables.layers(),
        tables.of("int8 at 90 % zeros, items/s", INT8, THROUGHPUT, "rate"),
        tables.of("Secateur's forms, items/s", OURS, THROUGHPUT, "rate"),
        tables.of("f32, items/s", F32, THROUGHPUT, "rate"),
        tables.throughput_aims(),
        *(
            tables.of(f"{title} beside ONNX Runtime's", others(columns), setting, "difference")
            for setting in (LATENCY, THROUGHPUT)
            for title, columns in (
                ("int8 outputs", INT8),
                ("Outputs of Secateur's forms", OURS),
                ("f32 outputs", F32),
            )
        ),
        DIFFERENCE,
        tables.of("Peak memory of the process, MiB, int8", INT8, LATENCY, "peak"),
        tables.of("Peak memory of the process, MiB", OURS, LATENCY, "peak"),
        tables.base(),
        tables.of("Load and first run, ms, int8", INT8, LATENCY, "load"),
        tables.of("Load and first run, ms", OURS, LATENCY, "load"),
        tables.sizes(),
        tables.missing(),
    ]
    return "\n\n".join(part for part in parts if part)


# Beyond these a time bears a `!`. Rounding alone moves BERT's f32 outputs by 0.13: one step in an
# early layer is many at the end of a network with random weights.
WRONG_STEPS, WRONG_SHARE = 16, 0.2
DIFFERENCE = (
    "`a/b ≤s`: a of b values are other codes, the farthest by s quantization steps. `≤e rel`: outputs "
    "are\nf32, the farthest by e of the greatest output. Each is compared with ONNX Runtime on the same file.\n"
    f"Times of engines that are off by more than {WRONG_STEPS} steps or {WRONG_SHARE} bear a `!`."
)


class Tables:
    def __init__(self, results: dict):
        self.results = results

    def row(self, network: str, setting: Setting) -> dict:
        """A network's results by row, of two forms for one engine the faster."""
        row = dict(self.results.get(f"{network} {setting.name}", {}))
        for name, other in ALTERNATIVES.items():
            if (wrong(row.get(other)), ms(row, other) or math.inf) < (
                wrong(row.get(name)), ms(row, name) or math.inf
            ):
                row[name] = row[other]
        return row

    def of(self, title: str, columns: dict, setting: Setting, figure: str) -> str:
        rows = {n: self.row(n, setting) for n in NETWORKS}
        columns = {c: label for c, label in columns.items() if any(c in row for row in rows.values())}
        lines = [
            [network, *(cell(row.get(c), figure, setting) for c in columns)]
            for network, row in rows.items()
            if any(c in row for c in columns)
        ]
        return table(f"{title} ({setting})", ["network", *columns.values()], lines) if lines else ""

    def base(self) -> str:
        """What Python takes of the memory of the engines that it runs."""
        row = next((self.row(n, LATENCY) for n in NETWORKS if self.row(n, LATENCY)), {})
        base = row.get("onnxruntime", {}).get("base_mib")
        if base is None:
            return ""
        return (
            f"Python with numpy, before it imports an engine, has {base:.0f} MiB of what ONNX Runtime, "
            "OpenVINO and\nDeepSparse have here."
        )

    def aims(self) -> str:
        lines = []
        for network in NETWORKS:
            row = self.row(network, LATENCY)
            if "secateur" not in row:
                continue
            *peers, aim = aims.LATENCY_MS[network]
            ratios = [
                ratio(ms(row, peer), ms(row, "secateur"), there / aim if there else None)
                for peer, there in zip(aims.PEERS, peers)
            ]
            lines.append([network, short(ms(row, "secateur")), short(aim), *ratios])
        names = ["network", "ms", "aim there", "ONNX RT f32", "ONNX RT int8", "OpenVINO", "DeepSparse"]
        note = "Times as fast as each peer, and after `/` what the issue asks for on its machine."
        return table(f"Against the aims ({LATENCY})", names, lines, note) if lines else ""

    def throughput_aims(self) -> str:
        row, lines = self.row("resnet50", THROUGHPUT), []
        for name, aim in aims.THROUGHPUT_AIMS.items():
            ours = ms(row, name)
            if ours:
                ratios = [ratio(ms(row, p), ours, aim / n) for p, n in aims.THROUGHPUT.items()]
                rate = THROUGHPUT.batch / ours * 1e3
                lines.append([OURS[name], f"{rate:.0f}", str(aim), *ratios])
        names = ["resnet50", "images/s", "aim there", "ONNX RT f32", "ONNX RT int8", "OpenVINO", "DeepSparse"]
        return table(f"Against the aims ({THROUGHPUT})", names, lines) if lines else ""

    def layers(self) -> str:
        lines = []
        columns = ["secateur", "secateur-f32", "onnxruntime-f32", "onnxruntime", "openvino", "deepsparse"]
        for network in LAYERS:
            row = self.row(network, LATENCY)
            if row:
                times = [short(ms(row, c)) for c in columns]
                fast = ratio(ms(row, "onnxruntime-f32"), ms(row, "secateur"), aims.LAYERS)
                lines.append([network, *times, fast])
        names = ["layer", "Secateur", "its f32", "ORT f32", "ORT int8", "OpenVINO", "DeepSparse", "ratio"]
        note = "The ratio is to ONNX Runtime f32, after `/` the aim. Weights come from memory or cache as they may."
        return table(f"Fully connected layers at 90 %, ms ({LATENCY})", names, lines, note) if lines else ""

    def sizes(self) -> str:
        sizes = self.results.get("sizes", {})
        forms = ["f32", "int8", "gzip", "sct", "sct-8of64"]
        lines = [
            [network, *(short(sizes[network].get(f)) for f in forms)]
            for network in [*NETWORKS, *LAYERS]
            if network in sizes
        ]
        names = ["network", "ONNX f32", "ONNX int8", "its gzip", ".sct", ".sct 8 of 64"]
        return table("Sizes of files at 90 % zeros, MB", names, lines) if lines else ""

    def missing(self) -> str:
        """Why engines have no figure, each reason once."""
        reasons: dict[tuple[str, str], list[str]] = {}
        for name in ROWS:
            for case, row in self.results.items():
                if case != "sizes" and "error" in row.get(name, {}):
                    reasons.setdefault((name, row[name]["error"]), []).append(case)
        lines = [
            f"- {name}, {', '.join(cases)}: {error}" for (name, error), cases in reasons.items()
        ]
        return "Not available:\n\n" + "\n".join(lines) if lines else ""


def others(columns: dict) -> dict:
    """Without ONNX Runtime, which is what outputs are compared with."""
    return {name: label for name, label in columns.items() if not name.startswith("onnxruntime")}


def ms(row: dict, name: str) -> float | None:
    return row.get(name, {}).get("ms")


def cell(result: dict | None, figure: str, setting: Setting) -> str:
    if result is None:
        return ""
    if "error" in result:
        return "-"
    mark = "!" if wrong(result) else ""
    if figure == "ms":
        return short(result["ms"]) + mark
    if figure == "rate":
        return short(setting.batch / result["ms"] * 1e3) + mark
    if figure == "difference":
        apart = result["difference"]
        if not apart["codes"]:
            return f"≤{apart['greatest']:.0e} rel" if apart["differing"] else "0"
        share = f"{count(apart['differing'])}/{count(apart['values'])}"
        return f"{share} ≤{apart['greatest']:.0f}" if apart["differing"] else share
    return short(result[{"peak": "peak_mib", "load": "load_ms"}[figure]])


def wrong(result: dict | None) -> bool:
    """Whether an engine's outputs are too far off to be rounding."""
    apart = (result or {}).get("difference")
    return bool(apart) and apart["greatest"] > (WRONG_STEPS if apart["codes"] else WRONG_SHARE)


def short(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 1e-4 else f"{value:.1e}"


def count(n: int) -> str:
    if n < 10_000:
        return str(n)
    return f"{n / 1e3:.0f}k" if n < 1_000_000 else f"{n / 1e6:.1f}M"


def ratio(peer: float | None, ours: float | None, aim: float | None) -> str:
    reached = f"{peer / ours:.1f}" if peer and ours else "-"
    return f"{reached} / {aim:.1f}" if aim else reached


def table(title: str, names: list[str], lines: list[list[str]], note: str = "") -> str:
    rows = [names, *lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(names))]

    def line(cells: list[str]) -> str:
        first, *rest = (c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths)))
        return "| " + " | ".join([first, *rest]) + " |"

    rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":") for i, w in enumerate(widths)) + "|"
    text = "\n".join([f"**{title}**", "", line(names), rule, *map(line, lines)])
    return f"{text}\n\n{note}" if note else text
