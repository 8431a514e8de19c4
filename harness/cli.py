"""The command ``lockstep``. Exit status: 0 agree, 1 something diverges, 2 a wrong request, 3 a backend failed."""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import cyclopts
from cyclopts import App, Parameter

from harness.console import console_beside, error_console
from harness.defaults import JOBS, TIMEOUT
from harness.errors import LockstepError
from harness.options import (
    BackendNames,
    CaseName,
    Details,
    GitHub,
    HtmlFolder,
    Jobs,
    JsonFile,
    Limit,
    ModelNames,
    ModelPrefixes,
    Quiet,
    SarifFile,
    Timeout,
    complete_backend,
    complete_case,
    complete_finding,
)

# The commands import what they need: help and lists answer before NumPy would have been imported.
if TYPE_CHECKING:
    from rich.console import Console

    from harness.backend import BackendInfo
    from harness.case import Case
    from harness.find_cases import FoundCase
    from harness.handover import Wanted
    from harness.place import Places
    from harness.results import Limit as LimitAsked
    from harness.results import Results, RunResult

WRONG_REQUEST = 2
FAILED = 3
INTERRUPTED = 130


app = App(
    name="lockstep",
    help="Run one LSTM through many frameworks and compare it at every timestep.",
    help_format="plaintext",
    version=lambda: version("lockstep-rnn"),
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)


@app.command
def run(
    *case: CaseName,
    backend: BackendNames = None,
    json: JsonFile = None,
    html: HtmlFolder = None,
    timeout: Timeout = None,
    limit: Limit = None,
    jobs: Jobs = JOBS,
    model: ModelNames = None,
    model_prefix: ModelPrefixes = None,
    sarif: SarifFile = None,
    github: GitHub = False,
    quiet: Quiet = False,
    details: Details = False,
) -> int:
    """Run cases through backends and compare each with the reference."""
    _check_positive(timeout=timeout, limit=limit, jobs=jobs)
    wanted = _wanted(json, html, sarif, github=github, quiet=quiet, details=details)
    if model:
        asked, seconds = _bounds(limit, timeout, quiet=quiet)
        return _run_models(case, backend, wanted, seconds, asked, jobs, model, model_prefix or [])
    if model_prefix:
        raise LockstepError("--model-prefix says which LSTM of a --model is meant, and there is none.")
    from harness.run import environment, run_cases
    from harness.terminal import advance, progress

    asked, seconds = _bounds(limit, timeout, quiet=quiet)
    found, backends, count = _asked_for(case, backend, quiet=quiet)
    wanted.check()
    arguments = {one.case.name: one.argument for one in found}
    with progress(error_console(), count, quiet=quiet) as bar:
        runs = run_cases(
            [one.case for one in found], backends, timeout=seconds, limit=asked, jobs=jobs,
            on_result=lambda result: advance(bar, result), details=wanted.numbers,
        )  # fmt: skip
    runs = [_with_rerun(result, arguments[result.case], limit=limit, timeout=timeout) for result in runs]
    status = _hand_over(_results(environment(), runs, [one.case for one in found]), wanted, _places(found))
    if len(runs) < count:
        _complain("interrupted; what was done until then is shown, and written where it was asked for.")
        return INTERRUPTED
    return status


def _run_models(
    case: Sequence[str],
    backend: Sequence[str] | None,
    wanted: Wanted,
    timeout: float,
    limit: LimitAsked | None,
    jobs: int,
    model: Sequence[str],
    prefixes: Sequence[str],
) -> int:
    """Run cases with the networks and weights of users' files."""
    from harness.find_cases import find_cases
    from harness.models import DEFAULT_CASE, Models, ReadError, forget_bias_of
    from harness.run import environment, run_cases
    from harness.terminal import advance, plain, progress

    wanted.check()
    with Models(model, prefixes) as models:
        others = None if backend is None else [name for name in backend if name not in models.names()]
        found = find_cases(case or [DEFAULT_CASE])
        try:
            models.read(timeout, forget_bias_of([one.case for one in found]))
        except ReadError as error:
            _complain(str(error))
            return FAILED
        found = models.cases(found, named=bool(case))
        backends, count = _beside(models.backends(), found, others, quiet=wanted.quiet)
        for text in [] if wanted.quiet else models.texts():
            wanted.console.print(plain(text), soft_wrap=True, highlight=False)
        with progress(error_console(), count, quiet=wanted.quiet) as bar:
            runs = run_cases(
                [one.case for one in found], backends, timeout=timeout, limit=limit, jobs=jobs,
                on_result=lambda result: advance(bar, result), details=wanted.numbers,
            )  # fmt: skip
        arguments = {one.case.name: one.argument for one in found}
        runs = models.explained(runs, found, timeout)
        runs = [models.judged(result, arguments[result.case] if case else None) for result in runs]
        results = _results({**environment(), "models": models.facts()}, runs, [one.case for one in found])
        status = _hand_over(results, wanted, _places(found))
    if len(runs) < count:
        _complain("interrupted; what was done until then is shown, and written where it was asked for.")
        return INTERRUPTED
    return status


@app.command
def check(
    target: Annotated[str, Parameter(help="Your port, FILE.py:FUNCTION; it is called in a process of its own.")],
    *,
    case: Annotated[
        list[str] | None,
        Parameter(
            name="--case",
            negative="",
            completer=complete_case,
            help="A case to check, may be repeated; else the shipped ones of its kind.",
        ),
    ] = None,
    layout: Annotated[
        str, Parameter(help="How weights are handed over: canonical, torch, keras, tf1, onnx.")
    ] = "canonical",
    arrays: Annotated[str, Parameter(help="What arguments are: numpy, torch, jax or tensorflow arrays.")] = "numpy",
    json: JsonFile = None,
    html: HtmlFolder = None,
    timeout: Annotated[
        float | None, Parameter(help="Seconds for one call; else those of [tool.lockstep] in pyproject.toml, or 120.")
    ] = None,
    limit: Limit = None,
    seed: Annotated[int, Parameter(help="Added to every case's seed: the same check on other numbers.")] = 0,
    sarif: SarifFile = None,
    github: GitHub = False,
    quiet: Quiet = False,
) -> int:
    """Check your own implementation: whether it agrees, where it first diverges, and why.

    A port is a function, called in the form that the case asks for:

    one layer, one direction: port(x, weights, h0, c0, lengths=None) -> (h_seq, c_seq)

    layers and/or directions: port(x, weights, h0, c0, lengths=None) -> (h_seq, h_n, c_n)

    gradients asked for: port(x, weights, h0, c0, dh, dc, lengths=None) -> {"h_seq", "x", "W", "R", "b", "h0", "c0"}

    attention decoder: port(enc, weights, h0, c0, y0, steps, lengths=None) -> (logits, h_tilde)

    Weights are a dict of W, R and b, gates i, f, g, o (with P, p and clip where the case has them); with several layers
    or directions a list over layers of a list over directions of such dicts. Those of an attention decoder have
    W_tilde, b_tilde and W_target too, and W_a where scores are general.
    """
    from harness.check import cases_of, check, rerun_of
    from harness.place import place_of_function
    from harness.port import Port, is_decoder_port, parse_target
    from harness.run import environment
    from harness.terminal import advance, progress, show_check

    _check_positive(timeout=timeout, limit=limit)
    if seed < 0:
        raise LockstepError(f"--seed {seed}: must be 0 or above.")
    wanted = _wanted(json, html, sarif, github=github, quiet=quiet)
    asked, seconds = _bounds(limit, timeout, quiet=quiet)
    found = parse_target(target)
    cases = cases_of(case or [], decoder=is_decoder_port(found))
    wanted.check()
    with (
        Port(found, layout=layout, arrays=arrays, timeout=seconds) as port,
        progress(error_console(), len(cases), quiet=quiet) as bar,
    ):
        checked = check(
            port,
            cases,
            layout=layout,
            limit=asked,
            seed=seed,
            blind=bool(case),
            on_result=lambda result: advance(bar, result),
            details=wanted.numbers,
        )
    given = {"layout": layout, "arrays": arrays, "timeout": timeout, "limit": limit, "seed": seed}
    plain = {"layout": "canonical", "arrays": "numpy", "timeout": None, "limit": None, "seed": 0}
    options = {name: value for name, value in given.items() if value != plain[name]}
    runs = [rerun_of(result, target, options) for result in checked.runs]
    place = place_of_function(found.file, found.function)
    return _hand_over(
        _results(environment(), runs, cases), wanted, dict.fromkeys((run.case for run in runs), place),
        lambda console: show_check(console, runs, checked, named=bool(case), quiet=quiet),
    )  # fmt: skip


@app.command
def variables(
    target: Annotated[
        str,
        Parameter(
            help="What to look at, FILE.py:BUILD; it is built in a process of its own. BUILD is build if left out."
        ),
    ],
    *,
    json: JsonFile = None,
    timeout: Annotated[float, Parameter(help="Seconds for building it.")] = TIMEOUT,
) -> int:
    """List all variables that a model has, what reads each, and which of them are shared between its steps.

    BUILD is a function without arguments that builds a TF1 graph, or that returns, or itself is, a tf.Graph, a
    torch.nn.Module or (module, inputs), a Keras model or layer, a Flax nnx module or (linen module, variables), or an
    Equinox module. With (module, inputs) a forward pass tells which operations read each parameter.

    Exit status: 0; 1 if a loop makes variables anew that stand in one role.

    JSON: {"format": 1, "target", "kind", "reads_known": whether anybody could look for readers,
    "variables": [{"name", "shape", "dtype", "place": "file:line" or null, "made_by": "tf.Variable" and so on or null,
    "aliases": [name], "trainable", "readers": [{"operation", "type", "iteration": number or null,
    "within": "in every round of the while loop X" or null, "backward": whether it is of gradients}]}],
    "groups": [{"role", "variables": [name], "shape", "verdict": "shared", "not shared" or "separate", "place",
    "made_by", "message", "fix": text or null}], "scopes": [{"scope", "like", "reads": [name]}], "notes": [text]}.
    """
    from harness.output import check_outputs, write_json
    from harness.show_variables import show_variables
    from harness.variables import BuildError, variables_of

    _check_positive(timeout=timeout)
    check_outputs(json, None)
    try:
        found = variables_of(target, timeout)
    except BuildError as error:
        _complain(str(error))
        return FAILED
    show_variables(console_beside(json), found)
    if json is not None:
        write_json(found, json)
    return 1 if found.of("not shared") else 0


@app.command
def anatomy(
    target: Annotated[
        str, Parameter(completer=complete_backend, help="A port, FILE.py:FUNCTION, or the name of a backend.")
    ],
    *,
    layout: Annotated[str, Parameter(help="How a port's weights are handed over.")] = "canonical",
    arrays: Annotated[str, Parameter(help="What a port's arguments are.")] = "numpy",
    json: JsonFile = None,
    timeout: Annotated[float, Parameter(help="Seconds for one call.")] = TIMEOUT,
) -> int:
    """Measure the dialect of an implementation: convention, intended, measured, evidence."""
    from harness.ask import anatomy_of
    from harness.output import check_outputs, write_json
    from harness.terminal import show_anatomy

    _check_positive(timeout=timeout)
    check_outputs(json, None)
    found = anatomy_of(target, layout=layout, arrays=arrays, timeout=timeout)
    show_anatomy(console_beside(json), found)
    if json is not None:
        write_json(found, json)
    return 0 if found.proved and found.explanation is None else 1


@app.command
def adequacy(
    *case: Annotated[
        str,
        Parameter(completer=complete_case, help="As of run; all shipped ones of a plain layer if none is given."),
    ],
    json: JsonFile = None,
    full: Annotated[
        bool, Parameter(negative="", help="Show every fault, not only those that some case misses.")
    ] = False,
) -> int:
    """Compute which faults of the catalogue a case can see, without any framework."""
    from harness.adequacy import adequacy, network_adequacy
    from harness.find_cases import find_cases
    from harness.output import check_outputs, write_json
    from harness.terminal import show_adequacy

    check_outputs(json, None)
    cases = [one.case for one in find_cases(case) if case or one.case.plain]
    kinds = (
        (adequacy, [one for one in cases if one.plain]),
        (network_adequacy, [one for one in cases if not one.plain and one.model == "lstm"]),
        (network_adequacy, [one for one in cases if one.model == "attention_decoder"]),
    )
    first, *others = [own[0].name for _, own in kinds if own]
    if others and json is not None:
        raise LockstepError(
            f"--json: {first} and {others[0]} are of two kinds (plain layers, networks, attention decoders), and each "
            "has faults of its own: ask for them one after the other."
        )
    for of, own in kinds:
        if own:
            found = of(own)
            show_adequacy(console_beside(json), found, full=full)
            if json is not None:
                write_json(found, json)
    return 0


@app.command
def record(
    *case: CaseName,
    backend: BackendNames = None,
    out: Annotated[Path, Parameter(help="Folder for the traces, CASE.BACKEND.safetensors.")] = Path("traces"),
    json: Annotated[
        Path | None,
        Parameter(name="--json", allow_leading_hyphen=True, help="Write what gave no trace as results in this file."),
    ] = None,
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> int:
    """Run cases and write their traces, to be compared elsewhere: in another environment, later."""
    from harness.messages import text_of
    from harness.output import check_outputs, write_json
    from harness.record import record_cases
    from harness.results import exit_status
    from harness.run import environment
    from harness.terminal import advance, plain, progress

    _check_positive(timeout=timeout)
    _, seconds = _bounds(None, timeout, quiet=quiet)
    found, backends, count = _asked_for(case, backend, quiet=quiet)
    check_outputs(json, out)
    console = console_beside(json)
    with progress(error_console(), count, quiet=quiet) as bar:
        recorded, runs = record_cases(
            [one.case for one in found], backends, out, timeout=seconds, on_result=lambda run: advance(bar, run)
        )
    for result in runs:
        if not (quiet and result.status == "unsupported"):
            console.print(plain(text_of(result)), soft_wrap=True)
    if json is not None:
        write_json(_results(environment(), runs), json)
    if not quiet:
        told = f"{len(recorded)} traces in {out}. Compare them with: lockstep compare {out}"
        console.print(plain(told), soft_wrap=True)
    return max((exit_status(result.status) for result in runs), default=0)


@app.command
def compare(
    *file: Annotated[Path, Parameter(help="Recorded traces, folders of them, or saved results (JSON).")],
    case: Annotated[str | None, Parameter(help="The case the traces must come from; else the one each names.")] = None,
    against: Annotated[
        Path | None,
        Parameter(help="Another recording: hold this one against it, version against version, not the reference."),
    ] = None,
    json: JsonFile = None,
    html: HtmlFolder = None,
    limit: Limit = None,
    sarif: SarifFile = None,
    github: GitHub = False,
    quiet: Quiet = False,
) -> int:
    """Judge recorded traces, and saved results again under another limit. Nothing is run.

    With --against the traces are held against another recording of the same cases, as of another version of a
    framework; its JSON is {"format": 1, "pairs": [{"case", "backend", "verdict", "same_bits", "versions": [ours, the
    other's], "difference": a result whose expected values are the other's, "reference": both results against the
    reference where they diverge, else null}], "alone": [what only this one has, what only the other has]}.
    """
    wanted = _wanted(json, html, sarif, github=github, quiet=quiet)
    if against is not None:
        return _compare_recordings(file, against, wanted, case=case, limit=limit)
    from msgspec.structs import replace

    from harness.find_cases import find_cases
    from harness.place import places_of_shipped
    from harness.record import judge_files
    from harness.run import environment

    _check_positive(limit=limit)
    if not file:
        raise LockstepError("nothing to compare: name traces (lockstep record writes them) or results (--json).")
    wanted.check()
    expected_case: Case | None = None
    if case is not None:
        expected_case = find_cases([case])[0].case
    runs, errors, infos = judge_files(file, expected_case, _bounds(limit, quiet=quiet)[0], details=wanted.numbers)
    places = places_of_shipped(run.case for run in runs)
    results = replace(_results(environment(), runs), cases=infos)
    status = _hand_over(results, wanted, places) if runs else 0
    for error in errors:
        _complain(str(error))
    return max(status, WRONG_REQUEST) if errors else status


@app.command
def findings(
    *name: Annotated[
        str,
        Parameter(completer=complete_finding, help="Findings to tell in full; a table of all if none is named."),
    ],
    json: JsonFile = None,
    markdown: Annotated[bool, Parameter(negative="", help="Print the page of the docs.")] = False,
    sarif: Annotated[
        Path | None,
        Parameter(name="--sarif", allow_leading_hyphen=True, help="Write them as SARIF 2.1.0, or - for stdout."),
    ] = None,
) -> int:
    """List what is known of implementations that differ from their specifications, fail or die."""
    from harness.findings import as_markdown, chosen
    from harness.output import write_json
    from harness.terminal import show_findings

    wanted = _wanted(json, None, sarif)
    wanted.check()
    found = chosen(name)
    if markdown:
        print(as_markdown(found), end="")
    else:
        show_findings(wanted.console, found, full=bool(name))
    if json is not None:
        write_json(found, json)
    if sarif is not None:
        from harness.sarif import findings_as_sarif

        write_json(findings_as_sarif(found), sarif)
    return 0


@app.command
def report(
    results: Annotated[Path, Parameter(help="Results that --json wrote.")],
    *,
    html: Annotated[
        Path | None, Parameter(help="Folder for the report; lockstep-report if nothing else is asked for.")
    ] = None,
    sarif: SarifFile = None,
    github: GitHub = False,
    details: Details = False,
) -> int:
    """Make the HTML report of saved results, of this command's or of pytest's; or what other tools show of them."""
    from harness.handover import hand_over
    from harness.place import places_of_shipped
    from harness.results import load_results

    if html is None and sarif is None and not github:
        html = Path("lockstep-report")
    wanted = _wanted(None, html, sarif, github=github, details=details)
    wanted.check()
    found = load_results(results)
    hand_over(found, wanted, places_of_shipped(run.case for run in found.runs), None)
    return 0


@app.command
def convert(
    weights: Annotated[Path, Parameter(name="IN", help="Weights of one LSTM: .safetensors or .npz.")],
    out: Annotated[Path, Parameter(name="OUT", help="Where to write them: .safetensors or .npz.")],
    /,
    *,
    source: Annotated[str, Parameter(name="--from", help="How they are stored: torch, keras, tf1, onnx, ...")],
    target: Annotated[str, Parameter(name="--to", help="How to store them.")],
    prefix: Annotated[str, Parameter(help='What the names of the LSTM\'s arrays begin with, such as "lstm.".')] = "",
) -> int:
    """Rewrite the weights of one framework as another stores them."""
    from harness.convert import convert_file, find_dialect, written
    from harness.terminal import plain

    from_dialect, to_dialect = find_dialect(source), find_dialect(target)
    arrays, notes = convert_file(weights, from_dialect, to_dialect, out, prefix)
    console_beside().print(plain(written(out, to_dialect, arrays, notes)), soft_wrap=True)
    return 0


@app.command
def backends(
    *,
    backend: Annotated[
        list[str] | None,
        Parameter(
            name="--backend", negative="", completer=complete_backend, help="One to show, may be repeated; else all."
        ),
    ] = None,
    matrix: Annotated[
        bool,
        Parameter(negative="", help="Show features x backends instead, a table for each framework if they are many."),
    ] = False,
    json: JsonFile = None,
    markdown: Annotated[bool, Parameter(negative="", help="Print the page of the docs.")] = False,
) -> int:
    """Show backends by framework: versions, what importing them costs here, what each supports, and why not the rest.

    JSON is a list of {"name", "framework", "module", "summary", "model", "dialect", "requires", "install", "versions",
    "import": {"seconds", "megabytes"}, "supports": [feature], "unsupported": {feature: reason}, "problem": why it could
    not be asked, or null}.
    """
    from harness.features import support
    from harness.output import check_outputs, write_json
    from harness.show_backends import as_json, as_markdown, show_backends, show_matrix

    check_outputs(json, None)
    # One after the other, else none would tell what importing it costs.
    found = support(backend) if matrix or markdown else support(backend, jobs=1)
    console = console_beside(json)
    if markdown:
        print(as_markdown(found), end="")
    else:
        (show_matrix if matrix else show_backends)(console, found)
    if json is not None:
        write_json(as_json(found), json)
    return 0


@app.command
def cases() -> int:
    """List the shipped cases."""
    from harness.case import load_case
    from harness.find_cases import shipped
    from harness.terminal import show_cases

    show_cases(console_beside(), [load_case(path) for path in shipped().values()])
    return 0


@app.command
def schema() -> int:
    """Print the JSON Schema of a case file."""
    import msgspec

    from harness.case import case_schema

    print(msgspec.json.format(msgspec.json.encode(case_schema()), indent=2).decode())
    return 0


# Not cyclopts' own command of this name: it would be imported whenever anything is asked for.
@app.command(name="--install-completion")
def install_completion(
    *,
    shell: Annotated[
        Literal["bash", "zsh", "fish", "powershell"] | None,
        Parameter(help="Of which shell; else of the one that runs."),
    ] = None,
    output: Annotated[
        Path | None,
        Parameter(help="Where to write the script; else where that shell finds it, told in its startup file."),
    ] = None,
) -> int:
    """Have bash, zsh, fish or PowerShell complete commands, options and names."""
    from cyclopts.completion import ShellDetectionError

    from harness.terminal import plain

    try:
        script = app.install_completion(shell=shell, output=output, add_to_startup=output is None)
    except ShellDetectionError as error:
        raise LockstepError("--install-completion: which shell runs is not known: add --shell bash, say.") from error
    except OSError as error:
        raise LockstepError(f"{error.filename}: cannot be written to: {error.strerror or error}.") from error
    console_beside().print(plain(f"{script} is written. A new shell completes lockstep's words."), soft_wrap=True)
    return 0


app.meta.suppress_keyboard_interrupt = False


@app.meta.default
def with_common_options(
    *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    no_color: Annotated[bool, Parameter(negative="", help="Print without colors, as NO_COLOR=1 does.")] = False,
) -> object:
    """Take what every command takes, and run the command."""
    if no_color:
        os.environ["NO_COLOR"] = "1"  # so that everything that prints hears of it, in other processes too
    return app(words, exit_on_error=False, print_error=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a table has characters that not every encoding has
    try:
        status = app.meta(arguments, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        _complain(f"{error} See: lockstep --help")
        status = WRONG_REQUEST
    except LockstepError as error:
        _complain(str(error))
        status = WRONG_REQUEST
    except KeyboardInterrupt:
        _complain("interrupted.")
        status = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status if isinstance(status, int) else 0)


def _complain(message: str) -> None:
    from harness.terminal import plain

    text = plain("lockstep: ")
    text.append(plain(message))
    error_console().print(text, soft_wrap=True, style="red")


def _asked_for(
    names: Sequence[str], backend: Sequence[str] | None, *, quiet: bool
) -> tuple[list[FoundCase], list[BackendInfo], int]:
    """Find cases and backends that go together, and count the runs they ask for; what is left out is told."""
    from harness.selection import select

    chosen = select(names, backend)
    if chosen.absent and not quiet:
        _tell_absent(chosen.absent)
    if chosen.alone and not quiet:
        _tell_dim(f"Left out, since no case is for them: {', '.join(one.name for one in chosen.alone)}.")
    return chosen.cases, chosen.backends, chosen.count


def _compare_recordings(
    files: Sequence[Path], against: Path, wanted: Wanted, *, case: str | None, limit: float | None
) -> int:
    """Hold one recording against another, and tell how far apart they are."""
    from harness.output import write_json
    from harness.show_versions import show_pairs
    from harness.versions import hold_against

    _check_positive(limit=limit)
    if len(files) != 1 or case is not None or wanted.html is not None or wanted.sarif is not None or wanted.github:
        raise LockstepError(
            "--against: takes one trace or folder of traces, and none of --case, --html, --sarif and --github."
        )
    wanted.check()
    found, errors = hold_against(files[0], against, limit=_bounds(limit, quiet=wanted.quiet)[0])
    show_pairs(wanted.console, found, quiet=wanted.quiet)
    if wanted.json is not None:
        write_json(found, wanted.json)
    for error in errors:
        _complain(str(error))
    return WRONG_REQUEST if errors else 0 if found.agree else 1


def _tell_absent(absent: list[BackendInfo]) -> None:
    """Say which backends are left out because their frameworks are not installed."""
    names = ", ".join(one.name for one in absent)
    _tell_dim(f"Not installed, left out: {names}. lockstep backends tells how to get them.")


def _tell_dim(text: str) -> None:
    error_console().print(text, markup=False, highlight=False, style="dim", soft_wrap=True)


def _check_positive(**options: float | None) -> None:
    for name, value in options.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise LockstepError(f"--{name} {value:g}: must be a number above 0.")


def _bounds(limit: float | None, timeout: float | None = None, *, quiet: bool) -> tuple[LimitAsked | None, float]:
    """Give limit and time-out: an option's, else those of the nearest pyproject.toml that sets any, which is told."""
    from harness.limits import find_settings

    settings = find_settings(Path.cwd())
    text = settings.without(limit=limit, timeout=timeout).text()
    if text is not None and not quiet:
        _tell_dim(f"Settings: {text}")
    return settings.limit_or(limit), settings.timeout_or(timeout)


def _beside(
    own: list[BackendInfo], found: Sequence[FoundCase], names: Sequence[str] | None, *, quiet: bool
) -> tuple[list[BackendInfo], int]:
    """Give users' models and the backends beside them, those named or all that are installed, and count the runs."""
    from harness.backend import find_backends, matched, pairs

    others = find_backends(names)
    absent = [] if names is not None else [one for one in others if one.missing()]
    if absent and not quiet:
        _tell_absent(absent)
    cases = [one.case for one in found]
    there = [*own, *(one for one in others if one not in absent)]
    _, backends = matched(cases, there, cases_named=True, backends_named=bool(names))
    return backends, len(pairs(cases, backends))


def _with_rerun(result: RunResult, argument: str, **options: float | None) -> RunResult:
    import shlex

    from msgspec.structs import replace

    words = ["lockstep", "run", argument, "--backend", result.backend]
    for name, value in options.items():
        words += [] if value is None else [f"--{name}", f"{value:g}"]
    return replace(result, rerun=shlex.join(words))


def _results(environment: dict[str, object], runs: list[RunResult], cases: Sequence[Case] = ()) -> Results:
    from harness.case_info import case_info
    from harness.results import Results

    return Results(environment=environment, runs=runs, cases={case.name: case_info(case) for case in cases})


def _wanted(
    json: Path | None,
    html: Path | None,
    sarif: Path | None,
    *,
    github: bool = False,
    quiet: bool = False,
    details: bool = False,
) -> Wanted:
    from harness.handover import Wanted

    return Wanted(json, html, sarif, github, quiet, details)


def _places(found: Sequence[FoundCase]) -> Places:
    from harness.place import Place

    return {one.case.name: Place(one.path) for one in found}


def _hand_over(results: Results, wanted: Wanted, places: Places, show: Callable[[Console], None] | None = None) -> int:
    """Write results where they were asked for, show them, and give their exit status."""
    from harness.handover import hand_over
    from harness.terminal import show_results

    def as_table(console: Console) -> None:
        show_results(console, results.runs, quiet=wanted.quiet)

    return hand_over(results, wanted, places, show or as_table)
