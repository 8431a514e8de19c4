"""The options that several commands take: their types, what the help says of them, what a shell completes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lockstep.harness.errors import check_positive
from lockstep.harness.output.console import tell

if TYPE_CHECKING:
    from lockstep.harness.comparison.results import Limit
    from lockstep.harness.jobs.selection import Selection


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
    Parameter(
        completer=complete_case,
        help="Names of shipped cases, case files, or folders of case files. Default: all shipped cases.",
    ),
]
BackendOption = Annotated[
    list[str] | None, Parameter(completer=complete_backend, help="A backend to run; may be repeated. Default: all.")
]
TimeoutOption = Annotated[
    float | None,
    Parameter(help="Seconds allowed for one run of one backend. Default: [tool.lockstep] in pyproject.toml, else 120."),
]
JobsOption = Annotated[int, Parameter(help="How many frameworks run at the same time.")]
LimitOption = Annotated[
    float | None,
    Parameter(
        help="The largest error allowed, in sigma (units of expected rounding). Default: the case's tolerance, else "
        "[tool.lockstep] in pyproject.toml, else 10."
    ),
]
ModelOption = Annotated[
    list[str] | None,
    Parameter(
        help="Run the LSTM in your own model file, with its weights: .onnx, .keras, FILE.py:FUNCTION that returns an "
        "nn.LSTM, the prefix of a TF1 checkpoint, or .safetensors of a torch state dict. The cases (default: probe) "
        "take its sizes. May be repeated: the other files are compared with the first."
    ),
]
ModelPrefixOption = Annotated[
    list[str] | None,
    Parameter(help="How the name of the LSTM begins, if a --model has several; once for each --model."),
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


def command_line(*words: str, **options: object) -> str:
    """The command that runs something again; an option that is None is left out."""
    line = ["lockstep", *words]
    for name, value in options.items():
        if value is not None:
            line += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(line)


def tell_left_out(selection: Selection) -> None:
    """Name on stderr the backends that are left out: not installed, or of no case's model."""
    if selection.absent:
        names = ", ".join(backend.name for backend in selection.absent)
        tell(f"Not installed, left out: {names}. To install them, see: lockstep backends.")
    if selection.alone:
        tell(f"Left out, because no case is made for them: {', '.join(backend.name for backend in selection.alone)}.")
