"""How soon the cause of a wrong port is told: 60 ports with planted slips, and the question's own broken loop.

Seconds of the processor, which a busy machine does not change: a quiet one has them as seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from figures import Figure
from timing import HERE, LOCKSTEP, in_turn, processor_seconds

PLANTED = 60
MEDIAN, NINETY, LARGEST = 2.0, 5.0, 12.0  # seconds of a search
# Shares whose cause is not named, of one slip and of two or three at once: a search ends by the clock, and in four runs
# of this machine, quiet and busy, they were 0 to 3 % and 39 to 57 %.
MOST_UNNAMED = {"one slip": 0.05, "two or three slips": 0.65}
EXPLAINED = {"right", "among several", "in part"}
BROKEN = HERE.parents[1] / "cases" / "ports" / "broken_loop.py"
REPETITIONS = 3
CHECKS = {(): 6.0, ("--case", "ones"): 3.0}


def causes() -> list[Figure]:
    """Measure what people wait for once something diverges."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "planted.json"
        command = [
            sys.executable,
            str(HERE.parent / "proof" / "causes.py"),
            "--runs",
            str(PLANTED),
            "--json",
            str(file),
        ]
        # It exits with 1 where something is named wrong: a figure of its own here.
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        planted = json.loads(file.read_text())
    seconds = [port["seconds"] for port in planted]
    verdicts = [port["verdict"] for port in planted]
    of_one = [port["verdict"] for port in planted if port["kind"] == "single"]
    of_several = [port["verdict"] for port in planted if port["kind"] != "single"]
    return [
        Figure("planted ports: seconds to the cause, median", float(np.median(seconds)), MEDIAN),
        Figure("the same, of 90 %", float(np.quantile(seconds, 0.9)), NINETY),
        Figure("the same, of all", max(seconds), LARGEST),
        *(_unnamed(words, drawn) for words, drawn in zip(MOST_UNNAMED, (of_one, of_several), strict=True)),
        Figure("planted ports of which a wrong cause is named", float(verdicts.count("wrong")), 0.0),
        *(_broken(words, bound) for words, bound in CHECKS.items()),
    ]  # fmt: skip


def _unnamed(words: str, verdicts: list[str]) -> Figure:
    share = sum(verdict not in EXPLAINED for verdict in verdicts) / len(verdicts)
    return Figure(f"ports of {words} whose cause is not named", share, MOST_UNNAMED[words], note=f"of {len(verdicts)}")


def _broken(words: tuple[str, ...], bound: float) -> Figure:
    """The whole command over the broken loop, beside the import of its framework."""
    imported = [sys.executable, "-c", f"import runpy; runpy.run_path({str(BROKEN)!r})"]
    checked = [LOCKSTEP, "check", f"{BROKEN}:port", *words]
    # A check that finds what it is to find exits with 1.
    pairs = in_turn(lambda: _run(checked), lambda: _run(imported), REPETITIONS, processor_seconds)
    beside = [ours - framework for ours, framework in pairs]
    name = " ".join(["seconds of lockstep check broken_loop.py:port", *words])
    whole = float(np.median([ours for ours, _ in pairs]))
    return Figure(
        name, float(np.median(beside)), bound, min(beside), max(beside), f"{whole:.1f} s with TensorFlow's import"
    )


def _run(command: list[str]) -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run(command, check=False, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
