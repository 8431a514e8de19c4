"""Every sentence of the page against its results, drawn at random: 40 of them, 200 where there is time."""

import math
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from big_results import big_results
from case_sentences import CASE
from msgspec.structs import replace
from overview_sentences import OVERVIEW
from report_sentences import Page, check

from lockstep.harness.comparison.results import Limit, Results

EVERY_TEXT = (Path(__file__).parent / "every_text.js").read_text("utf-8")


LIMITS = (
    Limit("derived", sigma=10.0), Limit("option", sigma=10.0), Limit("pyproject", sigma=10.0),
    Limit("case", rtol=1e-3, atol=1e-6),
)  # fmt: skip


def drawn(seed: int, cases: int, backends: int) -> Results:
    """Results, some of them not numbers, of several limits, some not repeatable, with notes."""
    results = big_results(cases, backends, 4, seed=seed, largest=math.inf)
    rng = np.random.default_rng(seed)
    runs = [
        replace(
            run,
            repeatable=rng.choice([True, False, None]),
            notes=["it was given x as float64"] if rng.random() < 1 / 4 else [],
            limit=run.limit and rng.choice(LIMITS),
        )
        for run in results.runs
    ]
    facts = {"command": "lockstep run --all", "time": "2026-11-29T15:05:37+00:00"}
    return replace(results, runs=runs, environment={**facts, **results.environment})


@pytest.mark.parametrize("cases", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_every_sentence_is_true_of_its_results(open_results, cases):
    results = drawn(18, cases=cases, backends=5)
    # Folded tables have numbers, which take time: of runs that agree every fourth opens them.
    addresses = [
        (f"#{quote(run.case, safe='')}/{quote(run.backend, safe='')}", run.status != "agree" or k % 4 == 0)
        for k, run in enumerate(results.runs)
    ]
    with open_results(results, width=1400) as report:
        overview, *pages = report.page.evaluate(EVERY_TEXT, [("#", True), *addresses])
    wrong = [check(Page(results), *text, OVERVIEW) for text in overview]
    for run, texts in zip(results.runs, pages, strict=True):
        of_run = [check(Page(results, run), *text, CASE) for text in texts]
        wrong += [f"{run.case}, {run.backend}: {text}" for text in of_run if text]
    assert len(pages) == len(results.runs) == 5 * cases
    assert [text for text in wrong if text is not None] == []


def test_every_sentence_of_one_backend_is_true_of_its_results(open_results):
    results = drawn(19, cases=40, backends=1)
    with open_results(results, width=1400) as report:
        (overview,) = report.page.evaluate(EVERY_TEXT, [("#", True)])
    assert [wrong for text in overview if (wrong := check(Page(results), *text, OVERVIEW))] == []


@pytest.mark.parametrize(
    ("about", "text"),
    [("cell | case-0000 | tf_1 | #case-0000/tf_1", "✓ agree 1e5"), ("main", "39 of 39 cases, 200 runs"),
     ("main", "All is well."), ("section causes", "What is wrong, by cause 77")],
)  # fmt: skip
def test_what_is_not_so_is_noticed(about, text):
    assert check(Page(drawn(18, cases=40, backends=5)), about, text, OVERVIEW) is not None
