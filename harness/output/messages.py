"""The text of a result, in words. Pure functions: numbers in, text out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.harness.text import counted, grouped, names_text, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lockstep.harness.comparison.results import Diagnosis, Difference, RunResult
    from lockstep.harness.diagnosis.adequacy import Adequacy
    from lockstep.harness.diagnosis.anatomy.anatomy import Anatomy
    from lockstep.harness.diagnosis.anatomy.lanes import LaneAnatomy, NetworkAnatomy
    from lockstep.harness.jobs.dumps.against import Both, Parting


FAILED = frozenset({"failed", "crashed", "timeout"})  # statuses of what gave no numbers, though it should have
STDERR_LINES = 25  # of what a backend printed: enough for the stack at which it died


# What is wrong where the numbers are right, by where the cause shows.
_RIGHT_BUT = {"other weights": "would give wrong ones for other weights", "another call": "not when it is called again"}


def headline(run: RunResult) -> str:
    """The outcome of a run, in one line."""
    case = f'case "{run.case}"'
    if run.status == "agree":
        worst = f": {number(run.worst[1].sigma)} sigma at most, in {run.worst[0]}" if run.worst else ""
        return f"{run.backend} agrees with the reference in {case}{worst}."
    if run.status == "diverge" and run.first_divergence is not None:
        return f"{run.backend} diverges from the reference in {case} at {_when(run)}."
    if run.status == "diverge" and run.repeatable is False:
        return f"{run.backend} gives different numbers for {case} when it is called a second time."
    if run.status == "diverge":  # though no number is beyond the limit
        but = _RIGHT_BUT.get(run.diagnosis[0].elsewhere if run.diagnosis else "")
        if but is None:
            return f"{run.backend} misses the golden values of {case}."
        return f"{run.backend} gives the right numbers for {case}, but {but}."
    reason = run.message or "no reason given"
    return f"{run.backend}, {case}: {run.status}: {reason}{'' if reason.endswith(('.', '?', '!')) else '.'}"


def divergence_text(run: RunResult, title: str | None = None) -> str:
    """Where a run diverges from the reference, by how much, whether that timestep itself is wrong, and why.

    ``title`` is the first line, instead of the headline; notes are then left to the caller.
    """
    lines = [title or headline(run)]
    first, limit = run.first_divergence, run.limit
    if first is not None:
        tensor = run.tensors[first.tensor]
        if tensor.first_divergence is not None:
            lines.append(f"  First: {place_text(first.tensor, tensor.first_divergence)}, limit {limit}.")
        lines.append(f"  Worst: {worst_text(run)}.{_beyond(run)}")
        others = [name for name, tensor in run.tensors.items() if tensor.verdict == "diverge" and name != first.tensor]
        if others:
            lines.append(f"  Also beyond the limit: {', '.join(others)}.")
    for name, tensor in run.tensors.items():
        if tensor.golden is not None and tensor.golden.verdict == "diverge":
            golden = tensor.golden
            lines.append(f"  Golden: {name} is {golden.abs:.3g} away, allowed: {golden.atol:g} ({golden.source}).")
    lines += _replayed_steps(run)
    if run.repeatable is False:
        lines.append("  Not repeatable: a second call with the same inputs gave different bits.")
    lines += [f"  Note: {note}." for note in run.notes if title is None]
    lines += ["  " + line for line in diagnosis_lines(run.diagnosis)]
    if run.rerun:
        lines.append(f"  Rerun: {run.rerun}")
    return "\n".join(lines)


_MOST_OTHERS = 6  # explanations of the same numbers that are named


def diagnosis_lines(explanations: Sequence[Diagnosis]) -> list[str]:
    """Why: the explanation, its proof, its fix, and the other explanations that fit equally well."""
    if not explanations:
        return []
    first = explanations[0]
    if first.sigma is None and not first.fix:  # nothing was found: what is known stands in for a cause
        known = [f"     {fact}" for fact in first.facts]
        return [f"Why: {first.fault}. {first.message}", *(["     What is known:", *known] if known else [])]
    sentences = first.sentences or [first.message]
    lines = [f"Why: {sentences[0]}", *(f"     {sentence}" for sentence in sentences[1:])]
    lines[-1] += f" [{first.fault}]"
    if first.evidence:
        lines.append(f"     {first.evidence}")
    lines.append(f"Fix: {first.fix}")
    if first.met:
        lines.append(f"Seen before in: {first.met}")
    others = first.indistinguishable_from
    if others:
        apart = (
            f'Case "{first.told_apart_by}" tells some of them apart.'
            if first.told_apart_by
            else "No shipped case tells them apart."
        )
        lines.append(f"Fits these numbers equally well: {names_text(others, _MOST_OTHERS)}. {apart}")
    return lines


def check_texts(runs: Sequence[RunResult]) -> list[str]:
    """What is wrong with a port: where it first diverges and why, then why runs gave no numbers."""
    diverging, failed = ([run for run in runs if run.status in kind] for kind in ({"diverge"}, FAILED))
    if not diverging:
        return alike_texts(failed)
    # Of the smallest case, which comes first: an explanation is the easiest to follow there.
    first = next((run for run in diverging if run.first_divergence or run.repeatable is False), diverging[0])
    at = f" at {_when(first)}" if first.first_divergence is not None else ""
    count = f" ({len(diverging)} of {len(runs)} cases diverge)" if len(runs) > 1 else ""
    title = f'{first.backend} diverges{at} in case "{first.case}"{count}.'
    return [divergence_text(first, title), *alike_texts(failed)]


def blind_text(adequacy: Adequacy) -> str:
    """Which mistakes cases could not have detected, all together."""
    cases, missed = adequacy.cases, adequacy.unseen
    who = f'Case "{cases[0]}"' if len(cases) == 1 else "Together these cases"
    return (
        f"{who} cannot detect {counted(len(missed), 'known mistake')}, for example {', '.join(_spread(missed))}. "
        f"List all: lockstep adequacy {' '.join(cases)}. If you name no case, all run."
    )


def note_lines(runs: Sequence[RunResult]) -> list[str]:
    """What else is worth knowing, each note once, with the cases that it is about unless these are all."""
    compared = sum(run.status in {"agree", "diverge"} for run in runs)
    cases: dict[str, list[str]] = {}
    for run in runs:
        for note in dict.fromkeys(run.notes):
            cases.setdefault(note, []).append(run.case)
    return [
        f"Note: {note}{'' if len(names) >= compared else f' ({names_text(names, _MOST_CASES)})'}."
        for note, names in cases.items()
    ]


def parting_text(parting: Parting, both: Both) -> str:
    """Where two dumps of a run part, or why that cannot be told."""
    ours, theirs = both.ours.file.path.name, both.theirs.file.path.name
    case = f' in "{parting.case}"' if both.partings[1:] else ""
    apart = parting.difference
    if apart is None:
        return f"{ours} and {theirs} are not held against each other{case}: {'; '.join(parting.other)}."
    first = apart.first_divergence
    if first is None:
        return f"{ours} and {theirs} are within rounding of each other{case}."
    tensor = apart.tensors[first.tensor]
    lines = [f"{ours} and {theirs} part{case} at timestep {first.timestep} of {apart.timesteps}, in {first.tensor}."]
    if tensor.first_divergence is not None:
        place = place_text(first.tensor, tensor.first_divergence, f"in {ours}", f"in {theirs}")
        lines.append(f"  First: {place}, limit {apart.limit}.")
    return "\n".join(lines)


def alike_texts(runs: Sequence[RunResult]) -> list[str]:
    """The texts of runs: of those that came out alike the first in full, and the names of the others' cases."""
    texts = []
    for first, *others in grouped(runs, lambda run: (run.status, run.message)).values():
        names = ", ".join(run.case for run in others)
        texts.append(text_of(first) + (f"\n  The same in: {names}." if others else ""))
    return texts


_MOST_EXAMPLES, _MOST_UNDETECTED = 8, 30  # names of mistakes in a text
_MOST_CASES = 4  # names of cases that a note is about


def _spread(names: Sequence[str]) -> list[str]:
    """A few names of different kinds: the first one of each first word."""
    by_first_word = grouped(names, lambda name: name.partition("-")[0])
    return [alike[0] for alike in by_first_word.values()][:_MOST_EXAMPLES]


def anatomy_lines(anatomy: Anatomy) -> list[str]:
    """What differs, whether it is proved, and what could not be decided."""
    return [*_proof_lines(anatomy), _counts_line(anatomy)]


def _proof_lines(anatomy: Anatomy | NetworkAnatomy) -> list[str]:
    if anatomy.explanation is not None:
        return diagnosis_lines([anatomy.explanation])
    if anatomy.proved and anatomy.sigma is not None:
        same = f"for new inputs the reference gives the same numbers, to {number(anatomy.sigma)} sigma."
        return [f"{anatomy.subject} is canonical: {same}"]
    return [f"Not proved: no set of conventions gives the numbers of {anatomy.subject} for new inputs."]


def _counts_line(anatomy: Anatomy) -> str:
    differing = [row.name for row in anatomy.conventions if row.differs]
    undecided = [row.name for row in anatomy.conventions if row.differs is None]
    return (
        f"{counted(len(anatomy.conventions), 'convention')}: {len(differing)} different, {len(undecided)} undecided "
        f"({counted(anatomy.calls, 'call')})."
    )


def same_conventions(before: LaneAnatomy, lane: LaneAnatomy) -> bool:
    """Whether a lane's table says what another's does, but for the evidence."""
    if before.anatomy is None or lane.anatomy is None:
        return False
    of_before, of_lane = (
        {row.name: (row.measured, row.differs) for row in each.conventions} for each in (before.anatomy, lane.anatomy)
    )
    # Of an upper layer some rows are missing: what goes into it has no bits of anyone's choice.
    return all(of_before.get(name) == value for name, value in of_lane.items())


def lane_line(lane: LaneAnatomy, alike: LaneAnatomy | None) -> str:
    """The heading of a lane's table, or what stands in its place."""
    if lane.anatomy is None:
        return f"\n{lane.place}: left out, because {lane.left_out}."
    if alike is not None:
        return f"\n{lane.place}: {_counts_line(lane.anatomy)} As measured in {alike.place}."
    proved = "" if lane.anatomy.proved else " Not proved for this lane alone."
    return f"\n{lane.place}: {_counts_line(lane.anatomy)}{proved}"


def network_lines(anatomy: NetworkAnatomy) -> list[str]:
    """What explains a network, whether it is proved, and how many calls that took."""
    measured = sum(lane.anatomy is not None for lane in anatomy.lanes)
    lines = ["", *_proof_lines(anatomy)]
    if not anatomy.proved:
        lines.append("What was measured in single lanes holds for these; between them something else differs.")
    return [*lines, f"{measured} of {counted(len(anatomy.lanes), 'lane')} measured ({counted(anatomy.calls, 'call')})."]


def adequacy_lines(adequacy: Adequacy) -> list[str]:
    """How many faults each case, and all together, detect."""
    from lockstep.harness.diagnosis.adequacy import detected

    count = len(adequacy.sigma)
    lines = []
    for k, case in enumerate(adequacy.cases):
        detects = sum(detected(row[k], adequacy.limit) for row in adequacy.sigma.values())
        lines.append(f"{case} detects {detects} of {counted(count, 'fault')}.")
    undetected = adequacy.unseen
    if len(adequacy.cases) > 1:
        lines.append(f"Together they detect {count - len(undetected)} of {count}.")
    if undetected:
        lines.append(f"Not detected: {names_text(undetected, _MOST_UNDETECTED)}.")
    return lines


def failure_text(run: RunResult) -> str:
    """Why a backend gave nothing to compare, with the end of what it printed."""
    lines = [headline(run)]
    if run.stderr:
        lines += ["  " + line for line in run.stderr.strip().splitlines()[-STDERR_LINES:]]
    if run.rerun:
        lines.append(f"  Rerun: {run.rerun}")
    return "\n".join(lines)


def text_of(run: RunResult) -> str:
    """The whole text of a result, whatever it came to."""
    if run.status == "diverge":
        return divergence_text(run)
    if run.status in {"agree", "unsupported"}:
        return "\n".join([headline(run), *(f"  Note: {note}." for note in run.notes)])
    return failure_text(run)


def _when(run: RunResult) -> str:
    """The timestep at which a run first diverges; of a network also the lane; whether it is in the backward pass."""
    first = run.first_divergence
    assert first is not None
    tensor = run.tensors.get(first.tensor)
    several = len({tensor.lane for tensor in run.tensors.values()}) > 1
    lane = ""
    if tensor and tensor.part:
        lane = f" of {tensor.part}"
    elif tensor and tensor.timed is not None:  # of a whole model
        lane = f" of {first.tensor}"
    elif tensor and several:  # the merged output of a network belongs to no lane
        place = f"layer {tensor.layer}{', reverse direction' if tensor.reverse else ''}"
        lane = f" of {place if first.tensor != 'h' else 'the output of both directions'}"
    back = f", in the backward pass ({first.tensor})" if first.backward else ""
    if tensor and tensor.timed is False:
        return lane.removeprefix(" of ")
    return f"timestep {first.timestep} of {run.timesteps}{lane}{back}"


def place_text(name: str, difference: Difference, observed: str = "", expected: str = "") -> str:
    """One number against its expected value, which words may tell apart: "with torch 2.0", for example."""
    at = ", ".join(str(index) for index in difference.at)
    values = (f"{difference.observed:.9g}", f"{difference.expected:.9g}")
    shown = f"{values[0]} {observed}, {values[1]} {expected}" if expected else f"{values[0]}, expected {values[1]}"
    return (
        f"{name}[{at}] = {shown}: "
        f"{number(difference.sigma)} sigma ({number(difference.ulp)} ULP, {difference.abs:.2g} absolute)"
    )


def worst_text(run: RunResult, observed: str = "", expected: str = "") -> str:
    """The largest difference of a run that was compared; words as of ``place_text``."""
    assert run.worst is not None
    return place_text(*run.worst, observed, expected)


def _beyond(run: RunResult) -> str:
    assert run.worst is not None
    tensor = run.tensors[run.worst[0]]
    beyond = tensor.per_timestep.beyond
    if beyond is None:  # judged again under another limit, from saved results that hold no single numbers
        return ""
    count = sum(beyond)
    share = 100 * count / tensor.size
    percent = f"{share:.0f}" if share >= 10 else f"{share:.2g}"  # noqa: PLR2004
    return f" Beyond the limit: {count} of {tensor.size} values ({percent}%)."


def _replayed_steps(run: RunResult) -> list[str]:
    """Lines that tell a timestep that is computed wrong from one that was handed a wrong state."""
    if run.first_divergence is None:
        return []
    if run.local is None:
        if run.tensors[run.first_divergence.tensor].timed is not None:  # of a whole model: nobody asks for its c
            return []
        return ["  Single timesteps could not be replayed, because c is not returned at every timestep."]
    step = run.local.first_divergence
    if step is None:
        if run.first_divergence.timestep == 0:
            return []
        return [
            "  Replayed from your own previous state, every single timestep is right: the error accumulates over time."
        ]
    worst = max(max(series) for series in run.local.sigma.values())
    replayed = f"  Replayed from your own previous state, timestep {step} is still wrong"
    causes = [cause for cause in run.diagnosis if cause.sigma is not None]
    # Where all causes lie in the state that a timestep starts from, it computes right what it is given.
    only_fed = bool(causes) and all(cause.family in {"state", "initial state"} for cause in causes)
    fed = ": its feed is wrong, not what it computes" if only_fed else ""
    return [f"{replayed} (worst of all single steps: {number(worst)} sigma){fed}."]
