"""The options that several commands take: their types, what the help says of them, what a shell completes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lockstep.harness.cli.argument import Argument
from lockstep.harness.errors import LockstepError, check_positive
from lockstep.harness.output.console import tell
from lockstep.harness.text import names_text

if TYPE_CHECKING:
    from lockstep.harness.comparison.results import Limit
    from lockstep.harness.jobs.cache.store import TraceCache
    from lockstep.harness.jobs.selection import Selection

FEW_RUNS = 20  # are told by the table alone
MOST_ABSENT = 4  # names of what is not installed: the line is about the runs that there are


def complete_case(context: object) -> dict[str, str]:  # noqa: ARG001 (what a shell has typed so far)
    """The names of shipped cases, for a shell."""
    from lockstep.harness.cases.find import shipped

    return dict.fromkeys(shipped(), "")


def complete_backend(context: object) -> dict[str, str]:  # noqa: ARG001 (what a shell has typed so far)
    """The names of backends, and what each is, for a shell."""
    from lockstep.harness.adapters.backend import find_backends

    return {backend.name: backend.summary for backend in find_backends()}


def complete_finding(context: object) -> dict[str, str]:  # noqa: ARG001 (what a shell has typed so far)
    """The names of findings, and what each is, for a shell."""
    from lockstep.harness.jobs.findings import findings

    return {finding.name: finding.title for finding in findings()}


CaseArguments = Annotated[
    str,
    Argument(
        completer=complete_case,
        help="Names of shipped cases, case files, or folders of case files. Default: all shipped cases that fit.",
    ),
]
CaseOption = Annotated[
    list[str] | None, Argument(completer=complete_case, help="The same, one at a time; may be repeated.")
]
BackendOption = Annotated[
    list[str] | None,
    Argument(
        completer=complete_backend,
        help='A backend to run, or a pattern such as "torch*"; may be repeated. Default: the main ones that are '
        "installed, one way for each framework.",
    ),
]
AllOption = Annotated[bool, Argument(name="--all", help="Run every backend that is installed, not only the main ones.")]
# As the errors list them: the dialects, whose module would take NumPy with it for a line of help.
LAYOUT_NAMES = (
    "canonical", "tf1", "keras", "torch", "torch_cell", "onnx", "flax", "nnx", "nnx_optimized", "equinox", "haiku",
    "tf_block", "tf_block_v2", "paddle", "mlx", "candle", "burn",
)  # fmt: skip
ARRAY_KINDS = ("numpy", "torch", "jax", "tensorflow")
LayoutOption = Annotated[
    str | None,
    Argument(
        completer=lambda context: dict.fromkeys(LAYOUT_NAMES, ""),
        help=f"The layout in which the port gets its weights: {', '.join(LAYOUT_NAMES)}. Default: what LOCKSTEP in the "
        "port's file says, else canonical. Of an object: how its arrays lie, also as a TOML file.",
    ),
]
ArraysOption = Annotated[
    str | None,
    Argument(
        completer=lambda context: dict.fromkeys(ARRAY_KINDS, ""),
        help=f"The arrays that the port gets: {', '.join(ARRAY_KINDS)}. Default: what LOCKSTEP in the port's file "
        "says, else numpy.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    Argument(help="Seconds allowed for one run of one backend. Default: [tool.lockstep] in pyproject.toml, else 120."),
]
JobsOption = Annotated[int, Argument(help="How many frameworks run at the same time.")]
SchedulerOption = Annotated[
    str | None,
    Argument(help="Run on the workers of this Dask scheduler, such as tcp://HOST:8786, instead of on this machine."),
]
AllowMixedOption = Annotated[
    bool,
    Argument(negative="", help="With --scheduler: also where versions of frameworks differ from worker to worker."),
]
LimitOption = Annotated[
    float | None,
    Argument(
        help="The largest error allowed, in sigma (units of expected rounding). Default: the case's tolerance, else "
        "[tool.lockstep] in pyproject.toml, else 10."
    ),
]
SearchSecondsOption = Annotated[
    float | None,
    Argument(help="Seconds of computing that the search for a cause may take over each form of case. Default: 4."),
]
CachedOption = Annotated[
    bool | None,
    Argument(
        negative="--no-cached",
        help="Take what an earlier run with --cached gave, where nothing that it depends on has changed; keep the rest."
        " Default: [tool.lockstep] in pyproject.toml, else every run is made.",
    ),
]
ModelOption = Annotated[
    list[str] | None,
    Argument(
        help="Run the LSTM in your own model file, with its weights: .onnx, .keras, FILE.py:FUNCTION that returns an "
        "nn.LSTM, the prefix of a TF1 checkpoint, or .safetensors of a torch state dict. The cases (default: probe) "
        "take its sizes. May be repeated: the other files are compared with the first."
    ),
]
InputOption = Annotated[
    Path | None,
    Argument(
        name="--input",
        help="Inputs of a whole model, by name: .npz or .safetensors. Default: drawn as its first layers ask for.",
    ),
]
ModelPrefixOption = Annotated[
    list[str] | None,
    Argument(help="How the name of the LSTM begins, if a --model has several; once for each --model."),
]


def bounds(limit: float | None, timeout: float | None = None, *, quiet: bool) -> tuple[Limit | None, float]:
    """Limit and time-out: an option's, else those of the nearest pyproject.toml that sets any, which is printed."""
    from lockstep.harness.jobs.settings import find_settings

    check_positive("--{} ", limit=limit, timeout=timeout)
    settings = find_settings(Path.cwd())
    text = settings.text(limit=limit, timeout=timeout)
    if text is not None and not quiet:  # nobody should wonder why the same command differs between two folders
        tell(f"Settings: {text}")
    return settings.limit_or(limit), settings.timeout_or(timeout)


def trace_cache(cached: bool | None) -> TraceCache | None:  # noqa: FBT001 (an option's value)
    """The cache of traces, where an option or else the nearest pyproject.toml asks for it."""
    from lockstep.harness.jobs.settings import find_settings

    if not (find_settings(Path.cwd()).cache if cached is None else cached):
        return None
    from lockstep.harness.jobs.cache.store import TraceCache, folder_of_traces

    cache = TraceCache(folder_of_traces())
    cache.check()
    return cache


def command_line(*words: str, **options: object) -> str:
    """The command that runs something again; an option that is None is left out."""
    line = ["lockstep", *words]
    for name, value in options.items():
        if value is not None:
            line += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(line)


def timesteps_of_pieces(text: str) -> list[int]:
    """The numbers of --chunks; a LockstepError if they are none."""
    numbers = [part.strip() for part in text.split(",")]
    if not all(number.isascii() and number.isdigit() and int(number) for number in numbers):
        raise LockstepError(f"--chunks {text}: expected the timesteps of each piece, 1 or more, such as 4,1,7.")
    return [int(number) for number in numbers]


def case_names(arguments: Sequence[str], option: Sequence[str] | None) -> list[str]:
    """The cases that a request names, with --case or without.

    Raises:
        LockstepError: If one of them is a function or a program, as of somebody who means another command.
    """
    names = [*arguments, *(option or ())]
    for name in names:
        file, _, function = name.rpartition(":")
        if file.endswith(".py") or name.endswith(".py"):
            what, target = ("function", name) if file.endswith(".py") and function else ("program", f"{name}:FUNCTION")
            raise LockstepError(f"{name}: that is a {what}, no case: did you mean lockstep check {target}?")
    return names


def backend_names(option: Sequence[str] | None, *, everything: bool) -> list[str] | None:
    """The backends that a request names; None leaves the choice to us."""
    return [*(option or ()), "*"] if everything else (None if option is None else [*option])


def announce(selection: Selection, jobs: int) -> None:
    """Print on stderr, each in a line: what is not installed, what no case is made for, how many runs there are."""
    from lockstep.harness.jobs.durations import request_text

    absent = list(dict.fromkeys(name for backend in selection.absent for name in backend.absent))
    if absent:
        names = names_text(absent, MOST_ABSENT)
        tell(f"Not installed, left out: {names}. How to install them: lockstep backends")
    if selection.alone:
        tell(f"Left out, because no case is made for them: {', '.join(backend.name for backend in selection.alone)}.")
    if selection.count > FEW_RUNS:
        tell(request_text([found_case.case for found_case in selection.cases], selection.backends, jobs))
