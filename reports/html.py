"""Results as one self-contained HTML page: it opens from disk, without a network.

What the page shows is in it as data (``reports.page_data``); its scripts, in ``templates``, draw what is looked at.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup
from msgspec.structs import replace

from lockstep.harness.comparison.results import Results, encode
from lockstep.harness.files import replacing
from lockstep.harness.output.messages import text_of
from lockstep.harness.text import grouped
from lockstep.reports.page_data import case_page_data, page_data, page_of
from lockstep.reports.page_files import pages, source, text_of_file

PAGE = "index.html"
# In this order they are one script: each uses what stands above, or is called when all is there.
SCRIPTS = (
    "elements.js", "data.js", "scale.js", "route.js", "virtual.js", "overview.js", "causes.js", "cases_table.js",
    "lanes.js", "curves.js", "linked.js", "words.js", "case.js", "main.js",
)  # fmt: skip
MOST_TEXTS, LONGEST_TEXT = 50, 2000  # of what is not right, for browsers without scripts


def write_html(results: Results, folder: Path, *, details: bool = False) -> Path:
    """Write the report of ``results`` into ``folder``, and give the page's path.

    ``details``: whether each case gets a page of its own beside it, with every number that results hold.
    """
    with ExitStack() as stack:  # all pages are written before the first is replaced, the one that names them last
        for name, text in _pages(results, details=details):
            # Half of a surrogate pair, from a backend's output, has no UTF-8.
            content = text.encode("utf-8", "backslashreplace")
            stack.enter_context(replacing(folder / name)).write_bytes(content)
    return folder / PAGE


def render(results: Results) -> str:
    """The report of ``results`` as the text of one page."""
    return _page(page_data(results), results)


def _pages(results: Results, *, details: bool) -> Iterator[tuple[str, str]]:
    """The names and texts of the page of all, and of one for each case where these are wanted."""
    yield PAGE, _page(page_data(results, pages=details), results)
    by_case = grouped(results.runs, lambda run: run.case) if details else {}
    for index, (case, runs) in enumerate(by_case.items()):
        alone = replace(results, runs=runs)
        yield page_of(index), _page({**case_page_data(alone, case), "above": f"../{PAGE}"}, alone)


def _page(data: dict[str, Any], results: Results) -> str:
    wrong = [run for run in results.runs if run.status not in {"agree", "unsupported"} and run.known is None]
    style, script = text_of_file("report.css"), page_script()
    return pages().get_template("report.html.j2").render(
        title=f"Lockstep report: {_cases(data)}",
        style=Markup(style),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        style_source=Markup(source(style)),  # noqa: S704 - a digest
        script_source=Markup(source(script)),  # noqa: S704 - a digest
        data=Markup(packed(data)),  # noqa: S704 - base64
        counts=data["counts"],
        texts=[text_of(run)[:LONGEST_TEXT] for run in wrong[:MOST_TEXTS]],
        more=max(0, len(wrong) - MOST_TEXTS),
    )  # fmt: skip


def packed(data: dict[str, Any]) -> str:
    """Write what a page shows as JSON, gzipped, in base64: no string in it can end the element it stands in."""
    # Without a time stamp: the same results make the same page.
    return base64.b64encode(gzip.compress(encode(data), compresslevel=6, mtime=0)).decode()


@cache
def page_script() -> str:
    """The page's script."""
    return '(() => {\n"use strict";\n' + "\n".join(text_of_file(name) for name in SCRIPTS) + "})();\n"


def _cases(data: dict[str, Any]) -> str:
    names = [case["name"] for case in data["cases"]]
    return names[0][:80] if len(names) == 1 else f"{len(names)} cases"
