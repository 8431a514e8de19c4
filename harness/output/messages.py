"""What is said of a result, in words. Pure functions: numbers in, text out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.harness.diagnosis.adequacy import seen
from lockstep.harness.faults.fault import JOIN
from lockstep.harness.text import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lockstep.harness.comparison.results import Diagnosis, Difference, RunResult, TensorResult
    from lockstep.harness.diagnosis.adequacy import Adequacy
    from lockstep.harness.diagnosis.anatomy.anatomy import Anatomy


STDERR_LINES = 25  # of what a backend printed: enough for the stack at which it died


def headline(run: RunResult) -> str:
    """Say in one line what a run came to."""
    case = f'case "{run.case}"'
    if run.status == "agree":
        return f"{run.backend} agrees with the reference in {case}{_worst_of_all(run)}."
    if run.status == "diverge" and run.first_divergence is not None:
        return f"{run.backend} leaves the reference in {case} at {_when(run)}."
    if run.status == "diverge" and run.repeatable is False:
        return f"{run.backend} gives other numbers for {case} when it is called again."
    if run.status == "diverge" and run.diagnosis and run.diagnosis[0].family == "sharing":
        return f"{run.backend} gives the right numbers for {case}, and would not for other weights."
    if run.status == "diverge":
        return f"{run.backend} misses the golden values of {case}."
    reason = run.message or "no reason given"
    return f"{run.backend}, {case}: {run.status}: {reason}{'' if reason.endswith(('.', '?', '!')) else '.'}"


def divergence_text(run: RunResult, title: str | None = None) -> str:
    """Say where a run leaves the reference, by how much, and whether the step itself is at fault.

    Args:
        run: What diverges.
        title: The first line, in place of the headline; notes are left to whoever gives it.

    Returns:
        Several lines: the first place, the worst, the golden values missed, each step alone.
    """
    lines = [title or headline(run)]
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
    lines += [f"  Note: {note}." for note in run.notes if title is None]
    lines += ["  " + line for line in diagnosis_lines(run.diagnosis)]
    if run.rerun:
        lines.append(f"  Rerun: {run.rerun}")
    return "\n".join(lines)


_FEW = 6  # explanations that are named one by one


def diagnosis_lines(found: Sequence[Diagnosis]) -> list[str]:
    """Say why: the explanation, its proof, its fix, and what else these numbers cannot be told from."""
    if not found:
        return []
    first = found[0]
    if first.sigma is None and not first.fix:
        known = [f"     {fact}" for fact in first.facts]
        return [f"Why: {first.fault}. {first.message}", *(["     What is known:", *known] if known else [])]
    messages = first.message.split(JOIN)
    lines = [f"Why: {messages[0]}", *(f"     {message}" for message in messages[1:])]
    lines[-1] += f" [{first.fault}]"
    if first.evidence:
        lines.append(f"     {first.evidence}")
    lines.append(f"Fix: {first.fix}")
    if first.met:
        lines.append(f"Met: {first.met}")
    others = first.indistinguishable_from
    if others:
        more = f" and {len(others) - _FEW} more" if len(others) > _FEW else ""
        apart = (
            f'Case "{first.told_apart_by}" tells some of them apart.'
            if first.told_apart_by
            else "No shipped case tells them apart."
        )
        lines.append(f"These numbers cannot tell it from: {', '.join(others[:_FEW])}{more}. {apart}")
    return lines


def first_diverging(runs: Sequence[RunResult]) -> RunResult:
    """Choose of several divergences the one to show: the smallest case, which comes first, with a first timestep."""
    return next((run for run in runs if run.first_divergence is not None or run.repeatable is False), runs[0])


def check_text(run: RunResult, diverging: int, cases: int) -> str:
    """Say of a port where it first diverges, and why."""
    first = run.first_divergence
    at = f" at {_when(run)}" if first is not None else ""
    count = f" ({diverging} of {cases} cases diverge)" if cases > 1 else ""
    return divergence_text(run, f'{run.backend} diverges{at} in case "{run.case}"{count}.')


def blind_texts(cases: Sequence[str], blind: Mapping[str, Sequence[str]]) -> list[str]:
    """Say what each case could not have seen."""
    lines = []
    for case in cases:
        missed = list(blind.get(case, ()))
        if missed:
            shown = ", ".join(_spread(missed))
            lines.append(
                f'Case "{case}" cannot see {len(missed)} faults of the catalogue, among them {shown}. '
                f"All of them: lockstep adequacy {case}. Without --case the whole suite is run."
            )
    return lines


def failure_texts(runs: Sequence[RunResult]) -> list[str]:
    """Say of runs that gave nothing why; of those that failed alike the first in full, and the names of the others."""
    alike: dict[tuple[str, str | None], list[RunResult]] = {}
    for run in runs:
        if run.status not in {"agree", "unsupported", "diverge"}:
            alike.setdefault((run.status, run.message), []).append(run)
    texts = []
    for first, *others in alike.values():
        names = ", ".join(run.case for run in others)
        texts.append(failure_text(first) + (f"\n  Likewise: {names}." if others else ""))
    return texts


_SHOWN, _LISTED = 8, 30


def _spread(names: Sequence[str]) -> list[str]:
    """Choose some names of all kinds: one for each first word, then what is left."""
    kinds: dict[str, str] = {}
    for name in names:
        kinds.setdefault(name.partition("-")[0], name)
    return list(kinds.values())[:_SHOWN]


def anatomy_lines(found: Anatomy) -> list[str]:
    """Say what differs, whether it is proved, and what could not be decided."""
    differing = [row.name for row in found.conventions if row.differs]
    undecided = [row.name for row in found.conventions if row.differs is None]
    lines = []
    if found.explanation is not None:
        lines += diagnosis_lines([found.explanation])
    elif found.proved and found.sigma is not None:
        lines.append(
            f"{found.subject} is canonical: the reference reproduces its answers to fresh problems to "
            f"{number(found.sigma)} sigma."
        )
    else:
        lines.append(f"Not proved: no reading of {found.subject} reproduces its answers to fresh problems.")
    lines.append(
        f"{len(found.conventions)} conventions, {len(differing)} differ, {len(undecided)} could not be decided "
        f"({found.calls} calls)."
    )
    return lines


def adequacy_lines(found: Adequacy) -> list[str]:
    """Count what each case and all together see."""
    count = len(found.sigma)
    lines = []
    for k, case in enumerate(found.cases):
        sees = sum(seen(row[k], found.limit) for row in found.sigma.values())
        lines.append(f"{case} sees {sees} of {count} faults.")
    unseen = [name for name, row in found.sigma.items() if not any(seen(value, found.limit) for value in row)]
    if len(found.cases) > 1:
        lines.append(f"Together they see {count - len(unseen)} of {count}.")
    if unseen:
        more = f" and {len(unseen) - _LISTED} more" if len(unseen) > _LISTED else ""
        lines.append(f"Unseen: {', '.join(unseen[:_LISTED])}{more}.")
    return lines


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
    if run.status in {"agree", "unsupported"}:
        return "\n".join([headline(run), *(f"  Note: {note}." for note in run.notes)])
    return failure_text(run)


def _when(run: RunResult) -> str:
    """Say at which timestep a run first diverges; of a network in which lane, and whether on the way back."""
    first = run.first_divergence
    assert first is not None
    tensor = run.tensors.get(first.tensor)
    several = len({(one.layer, one.reverse) for one in run.tensors.values()}) > 1
    lane = f" of layer {tensor.layer}{', reverse direction' if tensor.reverse else ''}" if tensor and several else ""
    back = f", in the backward pass ({first.tensor})" if first.backward else ""
    return f"timestep {first.timestep} of {run.timesteps}{lane}{back}"


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
    share = 100 * count / tensor.size
    percent = f"{share:.0f}" if share >= 10 else f"{share:.2g}"  # noqa: PLR2004
    return f" Beyond the limit: {count} of {tensor.size} values ({percent}%)."


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
