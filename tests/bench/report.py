"""The HTML report of results: how long it takes to render, and how large its page is.

These are no ratios: what is promised is a page that is there at once, and small enough to be sent around.
"""

from __future__ import annotations

import sys
from functools import partial
from statistics import median

from figures import Figure, duration
from timing import HERE, seconds

from lockstep.harness.comparison.results import Results

sys.path.append(str(HERE.parent))  # where the made-up results are

from big_results import big_results

REPETITIONS = 5
SECONDS, MEGABYTES = 5.0, 2.0  # of 300 pairs at 50 timesteps
LARGE_MEGABYTES = 10.0  # of 40,000 pairs at 20 timesteps


def report() -> list[Figure]:
    """Measure the page of 300 pairs, and once that of 40,000."""
    from lockstep.reports.html import render

    usual, large = big_results(30, 10, 50), big_results(2000, 20, 20)
    page = render(usual)  # once, not counted: templates are read
    taken = [seconds(partial(render, usual)) for _ in range(REPETITIONS)]
    pages: list[str] = []
    once = seconds(lambda: pages.append(render(large)))
    return [
        Figure("seconds to render 300 pairs at T 50", median(taken), SECONDS, min(taken), max(taken)),
        Figure("megabytes of their page", _megabytes(page), MEGABYTES, note=_page(usual)),
        Figure("megabytes of the page of 40,000 pairs at T 20", _megabytes(pages[0]), LARGE_MEGABYTES,
               note=f"rendered in {duration(once)}"),
    ]  # fmt: skip


def _megabytes(page: str) -> float:
    return len(page.encode("utf-8", "backslashreplace")) / 1e6


def _page(results: Results) -> str:
    diverging = sum(run.status == "diverge" for run in results.runs)
    return f"{len(results.runs)} runs, of which {diverging} diverge"
