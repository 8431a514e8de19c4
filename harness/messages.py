"""What is said of a result, in words. Pure functions: numbers in, text out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.results import Difference, RunResult, TensorResult


STDERR_LINES = 25  # of what a backend printed: enough for the stack at which it died


# Control characters of a backend's output or a case's name must not steer what shows them, nor turn its lines around.
_CONTROLS = dict.fromkeys(
    (*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)),
    "\N{REPLACEMENT CHARACTER}",
)


def printable(text: str) -> str:
    """Give text whose control characters are shown as what they are: no text. Tabs and line feeds stay."""
    return text.translate(_CONTROLS)


def headline(run: RunResult) -> str:
    """Say in one line what a run came to."""
    case = f'case "{run.case}"'
    if run.status == "agree":
        return f"{run.backend} agrees with the reference in {case}{_worst_of_all(run)}."
    if run.status == "diverge" and run.first_divergence is not None:
        at = f"timestep {run.first_divergence.timestep} of {run.timesteps}"
        return f"{run.backend} leaves the reference in {case} at {at}."
    if run.status == "diverge":
        return f"{run.backend} misses the golden values of {case}."
    return f"{run.backend}, {case}: {run.status}: {run.message or 'no reason given'}."


def divergence_text(run: RunResult) -> str:
    """Say where a run leaves the reference, by how much, and whether the step itself is at fault.

    Returns:
        Several lines: the first place, the worst, the golden values missed, each step alone.
    """
    lines = [headline(run)]
    first, limit = run.first_divergence, run.limit
    if first is not None:
        tensor = run.tensors[first.tensor]
        if tensor.first_divergence is not None:
            lines.append(f"  First: {_place(first.tensor, tensor.first_divergence)}, limit {limit}.")
        name, worst = _worst_tensor(run)
        lines.append(f"  Worst: {_place(name, worst.worst)}.{_beyond(worst)}")
        others = [name for name, tensor in run.tensors.items() if tensor.verdict == "diverge" and name != first.tensor]
        if others:
            lines.append(f"  Also beyond the limit: {', '.join(others)}.")
    for name, tensor in run.tensors.items():
        if tensor.golden is not None and tensor.golden.verdict == "diverge":
            golden = tensor.golden
            lines.append(f"  Golden: {name} is {golden.abs:.3g} away, atol {golden.atol:g} ({golden.source}).")
    lines += _steps_alone(run)
    if run.repeatable is False:
        lines.append("  Not repeatable: a second call on the same problem gave other bits.")
    if run.rerun:
        lines.append(f"  Rerun: {run.rerun}")
    return "\n".join(lines)


def failure_text(run: RunResult) -> str:
    """Say why a backend gave nothing to compare, with the tail of what it printed."""
    lines = [headline(run)]
    if run.stderr:
        lines += ["  " + line for line in run.stderr.strip().splitlines()[-STDERR_LINES:]]
    if run.rerun:
        lines.append(f"  Rerun: {run.rerun}")
    return "\n".join(lines)


def text_of(run: RunResult) -> str:
    """Give the whole text of a result, whatever it came to."""
    if run.status == "diverge":
        return divergence_text(run)
    return headline(run) if run.status in {"agree", "unsupported"} else failure_text(run)


def number(value: float) -> str:
    """Write a measure shortly: 0.83, 12, 4.3e+05, inf."""
    if not math.isfinite(value):
        return "inf" if value > 0 else str(value)
    if value == 0:
        return "0"
    return f"{value:.2g}" if abs(value) < 10 or abs(value) >= 1e5 else f"{value:.0f}"  # noqa: PLR2004


def _place(name: str, difference: Difference) -> str:
    at = ", ".join(str(index) for index in difference.at)
    return (
        f"{name}[{at}] = {difference.observed:.9g}, expected {difference.expected:.9g}: "
        f"{number(difference.sigma)} sigma ({number(difference.ulp)} ULP, {difference.abs:.2g} absolute)"
    )


def _worst_tensor(run: RunResult) -> tuple[str, TensorResult]:
    return max(run.tensors.items(), key=lambda item: item[1].worst.sigma)


def _worst_of_all(run: RunResult) -> str:
    if not run.tensors:
        return ""
    name, tensor = _worst_tensor(run)
    return f": {number(tensor.worst.sigma)} sigma at most, in {name}"


def _beyond(tensor: TensorResult) -> str:
    beyond = tensor.per_timestep.beyond
    if beyond is None:
        return ""
    count = sum(beyond)
    return f" Beyond the limit: {count} of {tensor.size} values ({100 * count / tensor.size:.2g}%)."


def _steps_alone(run: RunResult) -> list[str]:
    """Tell a step that computes wrong from one that was handed a wrong state."""
    if run.first_divergence is None:
        return []
    if run.local is None:
        return ["  Each step alone: not known, since c is not exposed at each timestep."]
    step = run.local.first_divergence
    if step is None:
        if run.first_divergence.timestep == 0:
            return []
        return ["  Each step alone is right, given the state observed before it: the difference accumulates."]
    worst = max(max(series) for series in run.local.sigma.values())
    itself = f"  Given the state observed before it, timestep {step} itself computes otherwise"
    return [f"{itself} (worst of all steps alone: {number(worst)} sigma)."]
