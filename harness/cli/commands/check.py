"""``lockstep check``: a user's own implementation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.options import (
    ArraysOption,
    CaseArguments,
    CaseOption,
    LayoutOption,
    LimitOption,
    SearchSecondsOption,
    bounds,
    case_names,
    command_line,
    timesteps_of_pieces,
)
from lockstep.harness.cli.outputs import NO_OUTPUTS, DetailedOutputs
from lockstep.harness.errors import LockstepError
from lockstep.harness.output.console import error_console

if TYPE_CHECKING:
    from rich.console import Console

    from lockstep.harness.adapters.user_code import Target
    from lockstep.harness.cases.find import FoundCase
    from lockstep.harness.comparison.results import Results, RunResult, Source
    from lockstep.harness.ports.objects.taken import Taken
    from lockstep.harness.ports.port import AnyPort
    from lockstep.harness.ports.programs.command import Command


def check(
    target: Annotated[
        str | None,
        Argument(help="Your port, FILE.py:FUNCTION. It runs in a separate process. Not given beside --command."),
    ] = None,
    *cases: CaseArguments,
    case: CaseOption = None,
    command: Annotated[
        str | None,
        Argument(
            help="A program in any language in the place of the port, for example './my_lstm {problem} {answer}': it "
            "reads the one file and writes the other (docs/how-to/program.md). It is started for each problem."
        ),
    ] = None,
    command_serve: Annotated[
        str | None,
        Argument(
            help="The same for a program that is started once: it reads lines with the two paths from standard input, "
            'and answers each with a line "ok" or "error TEXT".'
        ),
    ] = None,
    init: Annotated[
        str | None,
        Argument(
            help="Of a class, or a function, that makes an object with weights: what it is made with, such as "
            '"input_size, hidden_size, batch_first=True". Default: by the names of its parameters.'
        ),
    ] = None,
    layout: LayoutOption = None,
    arrays: ArraysOption = None,
    timeout: Annotated[
        float | None,
        Argument(help="Seconds allowed for one call. Default: [tool.lockstep] in pyproject.toml, else 120."),
    ] = None,
    limit: LimitOption = None,
    seed: Annotated[int, Argument(help="Added to the seed of every case: the same check with different numbers.")] = 0,
    chunks: Annotated[
        str | None,
        Argument(
            help="Call the port piece by piece, with pieces of so many timesteps, such as 4,1,7: each starts from the "
            "final states of the one before, and all together must give what the whole gives. Of the cases that you do "
            "not name, those of as many timesteps are checked."
        ),
    ] = None,
    strict_dtype: Annotated[
        bool,
        Argument(
            help="Count it as a divergence if the port computes in float32 where a case is float64. Without it that "
            "is one only in cases that you name."
        ),
    ] = False,
    search_seconds: SearchSecondsOption = None,
    outputs: DetailedOutputs = NO_OUTPUTS,
) -> int:
    """Check your own implementation: does it agree, where does it first diverge, and why?

    A port is a function, called in the form that the case asks for:

    one layer, one direction: port(x, weights, h0, c0, lengths=None) -> (h_seq, c_seq)

    layers and/or directions: port(x, weights, h0, c0, lengths=None) -> (h_seq, h_n, c_n)

    gradients asked for: port(x, weights, h0, c0, dh, dc, lengths=None) -> {"h_seq", "x", "W", "R", "b", "h0", "c0"}

    attention decoder: port(enc, weights, h0, c0, y0, steps, lengths=None) -> (logits, h_tilde)

    Weights are a dict of W, R and b, gates i, f, g, o (with P, p and clip where the case has them); with several layers
    or directions a list over layers of a list over directions of such dicts. Those of an attention decoder have
    W_tilde, b_tilde and W_target too, and W_a where scores are general, W_q, W_k and v_a where they are additive.

    Instead of a port, an object with weights of its own: a class, a function of its sizes, or the object (a torch
    module, a Keras layer, a Flax or Equinox module, a plain object). Its arrays are found by their names and shapes.
    """
    from lockstep.harness.adapters.user_code import Target
    from lockstep.harness.cases.find import find_cases
    from lockstep.harness.diagnosis.clock import searching_for
    from lockstep.harness.jobs.check import cases_of, check, float32_will_do, in_pieces, strength
    from lockstep.harness.jobs.run import results_of
    from lockstep.harness.output.location import source_of_function
    from lockstep.harness.output.messages import headline
    from lockstep.harness.output.progress import advance, look_for, progress, search
    from lockstep.harness.ports.port import is_decoder_port

    if seed < 0:
        raise LockstepError(f"--seed {seed}: must be 0 or above.")
    asked, seconds = bounds(limit, timeout, quiet=outputs.quiet)
    parsed = _parsed(target, command, command_serve)
    is_function = isinstance(parsed, Target)
    names = case_names(cases if is_function or target is None else (target, *cases), case)
    found = find_cases(names)
    chosen = cases_of(names, decoder=is_function and is_decoder_port(parsed), seed=seed, found=found)
    if chunks is not None:
        chosen = in_pieces(chosen, timesteps_of_pieces(chunks), named=bool(names))
    outputs.check()  # before a check that may take minutes
    with (
        searching_for(search_seconds),
        _port(parsed, layout, arrays, init, seconds) as port,
        progress(error_console, len(chosen), quiet=outputs.quiet) as bar,
    ):
        taken = port.taken()
        chosen = [port.fitted(case) for case in chosen]
        runs = check(
            port, chosen, limit=asked, suite=not names, details=outputs.numbers,
            on_result=lambda result: advance(bar, result),
            on_search=lambda result: search(bar, headline(result)), on_part=lambda words: look_for(bar, words),
            float32_will_do=float32_will_do(chosen, names, strict=strict_dtype, found=found),
        )  # fmt: skip
    again = {"init": init, "layout": layout, "arrays": arrays, "timeout": timeout, "limit": limit, "seed": seed or None,
             "search-seconds": search_seconds}  # fmt: skip
    words = [target] if is_function else ["--command", command] if command else ["--command-serve", command_serve]
    runs = _with_reruns(runs, [word for word in words if word], found, {**again, "chunks": chunks})
    results = results_of([case for case in chosen if case.name in {run.case for run in runs}], runs)
    results = _with_origins(results, source_of_function(parsed.file, parsed.function if is_function else ""), taken)
    strong = partial(strength, chosen, runs, port.layout)
    show = partial(_show, runs=runs, strength=strong, taken=taken, named=bool(names), quiet=outputs.quiet)
    return outputs.deliver(results, show)


def _show(console: Console, **what: Any) -> None:
    """Print what a check came to."""
    from lockstep.harness.output.terminal import show_check

    show_check(console, **what)


def _with_origins(results: Results, source: Source | None, taken: Taken | None) -> Results:
    """The results with what was checked: its source, and what an object was taken for."""
    from msgspec import to_builtins
    from msgspec.structs import replace

    if source is not None:
        results = replace(results, sources=dict.fromkeys((run.backend for run in results.runs), source))
    if taken is not None:
        results = replace(results, environment={**results.environment, "object": to_builtins(taken)})
    return results


def _with_reruns(
    runs: Sequence[RunResult], words: Sequence[str], found: Sequence[FoundCase], options: dict[str, Any]
) -> list[RunResult]:
    """The results, each with the command that runs it again; ``words``: what is checked, ``found``: in which cases."""
    from msgspec.structs import replace

    arguments = {found_case.case.name: found_case.argument for found_case in found}

    def rerun(run: RunResult) -> str:
        # To name a case in float64 would ask for its precision.
        return command_line("check", *words, case=None if run.computed_in else arguments[run.case], **options)

    return [replace(run, rerun=rerun(run)) for run in runs]


def _parsed(target: str | None, command: str | None, command_serve: str | None) -> Target | Command:
    """What is to be checked: a function, or a program beside which the first argument is a case."""
    from lockstep.harness.adapters.user_code import parse_target
    from lockstep.harness.ports.programs.command import parse_command

    given = [text for text in (command, command_serve) if text is not None]
    of_python = target is not None and target.rpartition(":")[0 if ":" in target else 2].endswith(".py")
    if len(given) + of_python > 1:
        raise LockstepError(
            "one thing is checked at a time: give FILE.py:FUNCTION, --command or --command-serve, and the others not."
        )
    if given:
        return parse_command(given[0], serves=command is None)
    if target is None:
        raise LockstepError(
            "nothing to check: give FILE.py:FUNCTION, for example lstm.py:port, or a program, for example "
            "--command './my_lstm {problem} {answer}'."
        )
    return parse_target(target)


def _port(
    parsed: Target | Command, layout: str | None, arrays: str | None, init: str | None, timeout: float
) -> AnyPort:
    """What answers problems."""
    from lockstep.harness.adapters.user_code import Target
    from lockstep.harness.ports.port import Port

    if isinstance(parsed, Target):
        return Port(parsed, layout=layout, arrays=arrays, init=init, timeout=timeout)
    if arrays is not None:
        raise LockstepError(f"--arrays {arrays}: is for functions. A program gets its arrays in a file: leave it out.")
    if init is not None:
        raise LockstepError(f"--init {init!r}: is for objects with weights. A program has none: leave it out.")
    from lockstep.harness.ports.programs.program import Program

    return Program(parsed, layout=layout, timeout=timeout)
