"""The table of the ONNX operator LSTM, attribute by attribute: ``python tests/proof/onnx_attributes.py [--publish]``.

Each probe of ``tests/onnx_operator.py`` is run by each runtime that is fed ONNX models, in a process that may die. It
is called three times, the second time with other numbers: what a runtime remembers shows.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from pebble import ProcessExpired, ProcessPool

sys.path[:0] = [str(Path(__file__).parents[1])]

from onnx_operator import FED, INPUTS, Probe, probes, specified  # noqa: E402

from lockstep.harness.adapters.backend import BackendInfo, find_backends  # noqa: E402
from lockstep.harness.arrays import Arrays  # noqa: E402
from lockstep.harness.cases.problem import dtype_of  # noqa: E402

RUNTIMES = (
    "onnxruntime_lstm", "onnx_reference", "openvino_lstm", "opencv_dnn", "opencv_dnn_classic", "tract_lstm", "mnn_lstm",
    "iree_lstm",
)  # fmt: skip
PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"
BEGIN, END = "<!-- the table: written by tests/proof/onnx_attributes.py --publish -->", "<!-- end of the table -->"
TIMEOUT = 180.0  # seconds
# What a healthy runtime is off by at most, of numbers up to 1; a reading that is not meant is off by hundreds of it.
LIMITS = {"float64": 1e-12, "float32": 1e-5, "float16": 5e-3, "bfloat16": 5e-2}
MOST_TOLD = 100  # characters of a reason at its beginning, and at its end
SILENT = ", without a message"


@dataclass(frozen=True)
class Verdict:
    """What a runtime made of a probe, in words; of a refusal its reason."""

    words: str
    reason: str = ""


Call = tuple[Arrays, Arrays]  # what is fed, and that with the weights


def calls(probe: Probe) -> list[Call]:
    """These numbers, others, and these again; the others in another size where axes have names."""
    T, B, I, H = probe.sizes
    other = (T - 2, B + 1, I, H) if probe.named_axes else probe.sizes
    drawn = [probe.drawn(1), probe.drawn(2, other), probe.drawn(1)]
    return [({name: array for name, array in arrays.items() if name in FED}, arrays) for arrays in drawn]


def model_of(probe: Probe) -> Any:
    """The probe as an ONNX model."""
    from lockstep.backends import onnx_model

    shapes: dict[str, Any] = probe.shapes(probe.sizes)
    named: dict[str, Any] = probe.shapes(("T", "B", *probe.sizes[2:])) if probe.named_axes else shapes  # type: ignore[arg-type]
    given = {name: name for name in INPUTS if name in probe.inputs}
    attributes = {"hidden_size": probe.sizes[3], **probe.attributes}
    node = onnx_model.lstm_node(given, {name: name for name in probe.outputs}, attributes)
    arrays, dtype = probe.drawn(1), dtype_of(probe.dtype)
    fed = {name: (array.dtype, named[name]) for name, array in arrays.items() if name in FED}
    wanted = {name: (dtype, named[name]) for name in probe.outputs}
    weights = {name: array for name, array in arrays.items() if name not in FED}
    return onnx_model.model_around([node], fed, wanted, weights, probe.opset)


def answers(module: str, probe: Probe) -> list[Arrays] | str:
    """What a runtime gives for a probe at each call; or why it refuses."""
    backend = importlib.import_module(module)
    try:
        loaded = backend.load(model_of(probe))
        return [dict(zip(probe.outputs, map(np.array, loaded(fed)), strict=True)) for fed, _ in calls(probe)]
    except Exception as error:  # noqa: BLE001 (runtimes refuse by exceptions of any type)
        return _told(error)


def _told(error: Exception) -> str:
    """The words of a refusal that say why: without traces, paths and places that differ each time."""
    text = " ".join(f"{error}".partition("Stack backtrace")[0].split())
    text = text.partition(" Invoked with:")[0]
    text = re.sub(r".*?/model\.mlir:\d+:\d+: error: ", "", text)
    text = re.sub(r"\S*/(\w+\.(?:cpp|c|h|hpp)):\d+:?", r"\1:", text)
    # What went wrong stands first, or last.
    return text if len(text) <= 2 * MOST_TOLD else f"{text[:MOST_TOLD].rstrip()} ... {text[-MOST_TOLD:].lstrip()}"


def judge(probe: Probe, answered: list[Arrays] | str) -> Verdict:
    """Hold what a runtime gave against the operator's text, and against the other readings."""
    if isinstance(answered, str):
        return Verdict("its converter dies" if "ended by signal" in answered else "refuses", answered)
    given = [arrays for _, arrays in calls(probe)]
    first, _, again = answered
    if any(first[name].tobytes() != again[name].tobytes() for name in first):
        return Verdict("remembers: called again it gives other numbers")
    error, limit = _worst(probe, answered, given), LIMITS[probe.dtype]
    narrow = next(iter(first.values())).dtype != dtype_of(probe.dtype)
    if error <= limit:
        return Verdict("right, in float32" if narrow else "right")
    for words, reading in probe.instead.items():
        if _worst(reading, answered, given) <= max(limit, LIMITS["float32"]):
            return Verdict(f"{words}{SILENT}: off by {error:.2g}")
    if error <= LIMITS["float32"]:
        return Verdict(f"computes it in float32{SILENT}: off by {error:.2g}")
    return Verdict(f"wrong by {error:.2g}")


def _worst(reading: Probe, answered: list[Arrays], given: list[Arrays]) -> float:
    """The largest difference of all outputs at all calls; what Y is past a sequence's end the text does not say."""
    worst = 0.0
    for outputs, arrays in zip(answered, given, strict=True):
        expected = specified(reading, arrays)
        for name, array in outputs.items():
            if array.shape != expected[name].shape:
                return np.inf
            difference = np.abs(array.astype(np.float64) - expected[name])
            if name == "Y" and "sequence_lens" in arrays:
                past = np.arange(len(difference))[:, None] >= arrays["sequence_lens"]
                difference[np.broadcast_to(past[:, None], difference.shape[:3])] = 0
            worst = max(worst, np.inf if np.isnan(difference).any() else float(difference.max(initial=0)))
    return worst


def column(backend: BackendInfo, chosen: Iterable[Probe]) -> dict[str, Verdict]:
    """What a runtime makes of each probe, by its name."""
    verdicts = {}
    with ProcessPool(1, context=get_context("spawn"), initializer=_quietly) as pool:
        for probe in chosen:
            try:
                verdict = judge(probe, pool.schedule(answers, (backend.module, probe), timeout=TIMEOUT).result())
            except ProcessExpired as error:
                verdict = Verdict(f"kills the process ({error.exitcode})")
            except TimeoutError:
                verdict = Verdict("hangs")
            verdicts[probe.name] = verdict
    return verdicts


def _quietly() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def markdown(table: dict[str, dict[str, Verdict]]) -> list[str]:
    """The table by runtime and probe, with the reasons of refusals below it."""
    reasons: dict[str, int] = {}

    def cell(verdict: Verdict) -> str:
        words = verdict.words if verdict.words.startswith("right") else f"**{verdict.words}**"
        if not verdict.reason:
            return words
        return f"{verdict.words} [{reasons.setdefault(verdict.reason, len(reasons) + 1)}]"

    rows = [f"| Asked for | {' | '.join(table)} |", f"| --- |{' --- |' * len(table)}"]
    names = next(iter(table.values()))
    rows += [f"| {name} | {' | '.join(cell(verdicts[name]) for verdicts in table.values())} |" for name in names]
    notes = [f"- [{number}] {_plain(reason)}" for reason, number in reasons.items()]
    return [*rows, "", *notes]


def _plain(reason: str) -> str:
    return re.sub(r"([<>*_`|\[\]])", r"\\\1", reason)


def versions(backends: Iterable[BackendInfo]) -> str:
    """The runtimes' versions."""
    modules = dict.fromkeys(backend.requires[0] for backend in backends)
    distributions = [min(packages_distributions()[module]) for module in modules]
    return ", ".join(f"{name} {version(name)}" for name in distributions)


def main() -> int:
    """Make the table, print or publish it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", action="append", help="a runtime, may be repeated; else all")
    parser.add_argument("--probe", default="", help="probes whose name begins so")
    parser.add_argument("--publish", action="store_true", help="write the table into docs/onnx.md")
    options = parser.parse_args()
    backends = [backend for backend in find_backends(options.backend or RUNTIMES) if not backend.missing()]
    chosen = [probe for probe in probes() if probe.name.startswith(options.probe)]
    lines = [f"Seen in {versions(backends)}.", "", *markdown({b.name: column(b, chosen) for b in backends})]
    print("\n".join(lines))
    if options.publish:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
