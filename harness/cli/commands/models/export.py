"""``lockstep export``: a whole model by one way of export after the other, each held against the model itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from lockstep.harness.cli import options
from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.outputs import NO_OUTPUTS, Outputs
from lockstep.harness.errors import check_positive
from lockstep.harness.output.console import error_console, say

CONVERTING = 600.0  # seconds for one route where nobody says: some compile


def export(
    source: Annotated[
        str,
        Argument(
            name="SOURCE",
            help="The model: FILE.py:FUNCTION that returns an nn.Module or a Keras model, a .keras or .h5 file, .onnx, "
            "TorchScript or an exported program (.pt, .pt2).",
        ),
    ],
    /,
    *cases: options.CaseArguments,
    to: Annotated[
        list[str] | None,
        Argument(
            help='A route, such as "torch.onnx>onnxruntime", or a pattern, such as "*>onnxruntime"; may be repeated. '
            "Default: all that are installed."
        ),
    ] = None,
    given: options.InputOption = None,
    keep: Annotated[Path | None, Argument(help="A folder that keeps the exported files, by case and route.")] = None,
    onnx2tf: Annotated[
        Path | None, Argument(help="The environment that has onnx2tf, which pins old packages: for routes to it.")
    ] = None,
    timeout: options.TimeoutOption = None,
    limit: options.LimitOption = None,
    jobs: options.JobsOption = 1,
    outputs: Outputs = NO_OUTPUTS,
) -> int:
    """Export a whole model by every route that is installed, and compare what each computes with the model itself.

    A route names converter and runtime. The cases (default: probe) say how many timesteps and sequences are run.
    """
    check_positive("--{} ", jobs=jobs)
    asked, seconds = options.bounds(limit, timeout, quiet=outputs.quiet)
    if timeout is None:
        seconds = max(seconds, CONVERTING)
    outputs.check()
    from msgspec.structs import replace

    from lockstep.harness.adapters.model_reader import parse_model
    from lockstep.harness.adapters.routes.elsewhere import name_environment
    from lockstep.harness.adapters.routes.find import find_routes
    from lockstep.harness.cases.find import find_cases
    from lockstep.harness.jobs.exports.export import RouteBounds, export_case
    from lockstep.harness.jobs.exports.observe import info_of, observe
    from lockstep.harness.jobs.run import results_of
    from lockstep.harness.jobs.settings import find_settings
    from lockstep.harness.output.progress import advance, progress
    from lockstep.harness.output.tables.routes_table import show_routes
    from lockstep.harness.output.write_results import check_writable

    if keep is not None:
        check_writable(None, keep)
    place = onnx2tf or find_settings(Path.cwd()).onnx2tf
    if place is not None:
        name_environment("onnx2tf", place)
    file, bounds = parse_model(source, ""), RouteBounds(seconds, asked, jobs, keep)
    runs, infos = [], {}
    for found_case in find_cases(cases or ["probe"]):
        observation = observe(file, found_case.case, seconds, given)
        routes = find_routes(observation.reference.form, to)
        infos[found_case.case.name] = info_of(observation)
        if not outputs.quiet:
            say(outputs.console, f"{file.name}, {observation.reference.what}: {observation.shapes}.")
        with progress(error_console, len(routes), quiet=outputs.quiet) as bar:
            runs += export_case(observation, routes, bounds, lambda run, bar=bar: advance(bar, run))
    again = {"to": None, "input": given, "onnx2tf": onnx2tf, "limit": limit, "timeout": timeout}
    runs = [
        replace(run, rerun=options.command_line("export", source, run.case, **{**again, "to": run.backend}))
        for run in runs
    ]
    results = replace(results_of([], runs), cases=infos)
    return outputs.deliver(results, lambda console: show_routes(console, results.runs, quiet=outputs.quiet))
