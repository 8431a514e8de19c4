"""Results built by hand, and a browser that opens their report."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import pytest

from harness.results import Diagnosis, Difference, First, Limit, PerTimestep, Results, RunResult, TensorResult
from reports.html import write_html

LIMIT = Limit("derived", sigma=10.0)

HOSTILE = (
    """</script><script>window.ran = 1</script><img src=x onerror="window.ran = 1">'"`${1}{{ 1 }}&lt;"""
    "\x00\x1b[31m\u202e"
)


@pytest.fixture
def hostile_text() -> str:
    return HOSTILE


@pytest.fixture
def make_run() -> Callable[..., RunResult]:
    """Give the function that makes one run: with numbers where ``sigma`` has them, else as its fields say."""
    return _run


@pytest.fixture
def make_results() -> Callable[..., Results]:
    return lambda *runs: Results(environment={"python": "3.11.7", "processors": 2}, runs=list(runs))


@pytest.fixture
def every_status(make_results) -> Results:
    """Two cases, and each status that a run can have."""
    return make_results(
        _run("ones", "numpy_loop", sigma={"c": [0.5, 1.0, 2.0], "h": [0.5, 1.5, 1.0]}),
        _run("ones", "torch_lstm", sigma={"h": [1.0, 40.0, 790.0], "c_n": [3.0]}, rerun="lockstep run ones"),
        _run("ones", "jax_scan", status="unsupported", message="JAX would narrow float64"),
        _run("ones", "tf_loop", status="failed", message="ValueError: bad kernel", stderr="Traceback\n  line 7"),
        _run("long", "numpy_loop", status="crashed", message="killed by SIGSEGV", stderr="core dumped"),
        _run("long", "torch_lstm", status="timeout", message="no answer for 60 s"),
    )


@pytest.fixture
def explained(make_results) -> Results:
    """A run that one of two faults explains, one that nothing explains, and an agreeing one, all with notes."""
    reset = Diagnosis(
        fault="state-reset", message="The state is not carried.", fix="Feed it into the next step.", sigma=1.4,
        evidence="The reference, run that way, reproduces every number to 1.4 sigma.", met="ChenRocks/fast_abs_rl#14.",
        indistinguishable_from=["state-zero"], told_apart_by="batch",
    )  # fmt: skip
    zero = Diagnosis(fault="state-zero", message="The state is zero.", fix="Keep it.", sigma=1.5)
    unknown = Diagnosis(
        fault="unexplained", message="Nothing reproduces these numbers.", evidence="What is known:",
        facts=["units affected in h: all 7", "h follows from c"],
    )  # fmt: skip
    sigma = {"h": [1.0, 50.0]}
    return make_results(
        _run("ones", "port", sigma=sigma, diagnosis=[reset, zero], notes=["x came as float64: converted"]),
        _run("ones", "other", sigma=sigma, diagnosis=[unknown]),
        _run("batch", "port", sigma={"h": [1.0]}, notes=["prints to stdout"]),
        _run("batch", "other", sigma={"h": [1.0]}, diagnosis=[reset]),
    )


@pytest.fixture
def hostile(make_results) -> Results:
    """Scripts, quotes, control characters and very long words wherever a string may stand."""
    long = "x" * 3000
    names = [(HOSTILE, HOSTILE), (HOSTILE, long), (long, HOSTILE), ("plain", "plain")]
    words = Diagnosis(
        fault=HOSTILE, message=HOSTILE + long, fix=HOSTILE + long, evidence=HOSTILE, met=HOSTILE + long,
        indistinguishable_from=[HOSTILE, long], told_apart_by=HOSTILE,
    )  # fmt: skip
    facts = Diagnosis(fault=long, message=HOSTILE, facts=[HOSTILE, long])
    said = {"rerun": HOSTILE, "notes": [HOSTILE, long]}
    results = make_results(*(
        _run(case, name, sigma={"h": [1.0, 2.0, 50.0]}, diagnosis=[why, words], **said)
        for (case, name), why in zip(names, [words, facts, words, facts], strict=True)
    ))  # fmt: skip
    printed = {"message": HOSTILE + long, "stderr": f"{HOSTILE}\n{long}\n\udc80\r\n"}
    found = {"device": HOSTILE, "versions": {HOSTILE: HOSTILE}, "seconds": {HOSTILE: 1.0}}
    results.runs.append(_run("plain", HOSTILE, status="failed", **printed, **found))
    results.environment.update({HOSTILE: HOSTILE, long: long, "nested": {HOSTILE: [HOSTILE]}})
    return results


def _run(
    case: str = "ones", backend: str = "torch_lstm", *, sigma: dict[str, list[float]] | None = None, **fields: Any
) -> RunResult:
    tensors = {name: _tensor(name, series) for name, series in (sigma or {}).items()}
    diverging = [
        (tensor.first_divergence.timestep, name) for name, tensor in tensors.items() if tensor.first_divergence
    ]
    first = First(min(diverging)[1], min(diverging)[0]) if diverging else None
    found = {
        "status": "diverge" if first else "agree", "limit": LIMIT, "tensors": tensors, "first_divergence": first,
        "timesteps": max((len(series) for series in (sigma or {}).values()), default=0),
    }  # fmt: skip
    return RunResult(case=case, backend=backend, **{**found, **fields})


def _tensor(name: str, sigma: list[float]) -> TensorResult:
    T = len(sigma)
    beyond = [t for t, value in enumerate(sigma) if not value <= LIMIT.sigma]
    steps = PerTimestep(
        sigma=sigma, ulp=[1.0] * T, abs=[1e-7] * T, rel=[1e-7] * T, at=[(0, 0)] * T,
        observed=[0.5] * T, expected=[0.25] * T, beyond=[int(t in beyond) for t in range(T)],
    )  # fmt: skip
    worst = max(range(T), key=lambda t: math.inf if math.isnan(sigma[t]) else sigma[t])
    return TensorResult(
        verdict="diverge" if beyond else "agree",
        worst=_difference(name, steps, worst),
        first_divergence=_difference(name, steps, beyond[0]) if beyond else None,
        per_timestep=steps,
        size=4 * T,
    )


def _difference(name: str, steps: PerTimestep, t: int) -> Difference:
    return Difference(
        at=steps.at[t] if name in {"c_n", "h_n"} else (t, *steps.at[t]),
        observed=steps.observed[t], expected=steps.expected[t],
        sigma=steps.sigma[t], ulp=steps.ulp[t], abs=steps.abs[t], rel=steps.rel[t], timestep=t,
    )  # fmt: skip


@dataclass
class Opened:
    """A report in the browser, with all that it asked for and all that it complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def tab() -> Iterator[Any]:
    """A tab of Chromium, opened once; where that is missing, tests are skipped, but on CI they fail."""
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        _do_without(f"none of {', '.join(_BROWSERS)} is on the PATH: install Chromium to test the page in it")
    if find_spec("playwright") is None:
        _do_without("playwright is not installed: pip install playwright, to test the page in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield chromium.new_page()
        chromium.close()


def _do_without(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def open_page(tab) -> Callable[..., Any]:
    """Give the context manager that opens a page from disk, and waits until its charts are drawn."""
    from playwright.sync_api import expect

    @contextmanager
    def opened(path, *, width=1600, dark=False) -> Iterator[Opened]:
        found = Opened(tab)
        listeners = {
            "request": lambda request: found.requests.append(request.url),
            "console": lambda message: found.complaints.append(message.text),
            "pageerror": lambda error: found.complaints.append(str(error)),
        }
        tab.set_viewport_size({"width": width, "height": 1000})
        tab.emulate_media(color_scheme="dark" if dark else "light", media="screen")
        for event, listener in listeners.items():
            tab.on(event, listener)
        try:
            tab.goto(path.as_uri())
            expect(tab.locator(".chart:not(:has(svg))")).to_have_count(0, timeout=10_000)
            yield found
        finally:
            for event, listener in listeners.items():
                tab.remove_listener(event, listener)
            tab.goto("about:blank")

    return opened


@pytest.fixture
def open_report(open_page, tmp_path) -> Callable[..., Any]:
    """Give the context manager that opens the report of some results."""
    return lambda results, **how: open_page(write_html(results, tmp_path / "report"), **how)
