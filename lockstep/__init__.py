"""Lockstep's public names: one LSTM, run by many frameworks, compared number by number at every timestep.

Each name is loaded when it is first used, so that ``import lockstep`` costs next to nothing and imports no NumPy.
"""

from importlib import import_module

TYPE_CHECKING = False  # as of ``typing``, whose import would take longer than this whole module
if TYPE_CHECKING:
    from lockstep.harness.adapters.backend import find_backends
    from lockstep.harness.adapters.trace import Parameter, Stopwatch, Trace
    from lockstep.harness.cases.case import Case
    from lockstep.harness.cases.case_file import load_case
    from lockstep.harness.cases.decoder_problem import DecoderProblem
    from lockstep.harness.cases.find import find_cases
    from lockstep.harness.cases.problem import Problem
    from lockstep.harness.comparison.results import Diagnosis, Results, RunResult, load_results
    from lockstep.harness.errors import LockstepError
    from lockstep.harness.notebook import check, compare, run
    from lockstep.harness.reference.expect import expect
    from lockstep.harness.testing import assert_agrees
    from lockstep.harness.weights.convert import convert

_HOMES = {
    "Case": "harness.cases.case",
    "DecoderProblem": "harness.cases.decoder_problem",
    "Diagnosis": "harness.comparison.results",
    "LockstepError": "harness.errors",
    "Parameter": "harness.adapters.trace",
    "Problem": "harness.cases.problem",
    "Results": "harness.comparison.results",
    "RunResult": "harness.comparison.results",
    "Stopwatch": "harness.adapters.trace",
    "Trace": "harness.adapters.trace",
    "assert_agrees": "harness.testing",
    "check": "harness.notebook",
    "compare": "harness.notebook",
    "convert": "harness.weights.convert",
    "expect": "harness.reference.expect",
    "find_backends": "harness.adapters.backend",
    "find_cases": "harness.cases.find",
    "load_case": "harness.cases.case_file",
    "load_results": "harness.comparison.results",
    "run": "harness.notebook",
}

__all__ = [
    "Case", "DecoderProblem", "Diagnosis", "LockstepError", "Parameter", "Problem", "Results", "RunResult", "Stopwatch",
    "Trace", "assert_agrees", "check", "compare", "convert", "expect", "find_backends", "find_cases", "load_case",
    "load_results", "run",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Load a public name from its home, once."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
