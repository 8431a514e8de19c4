"""A browser that opens reports, and notes all that they ask for and complain of.

Tests wait for what they assert: a busy machine makes them slow, not red. ``LOCKSTEP_TEST_SLOWER=10`` has the browser
compute ten times as slowly, to try that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from big_results import big_results
from chromium import PATIENCE

from lockstep.reports.html import write_html

SLOWER = float(os.environ.get("LOCKSTEP_TEST_SLOWER", "1"))


@dataclass
class Opened:
    """A report in the browser, with what it asked for and what it complained of."""

    page: Any
    path: Path
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def settles(self, read: Callable[[], Any], wanted: Any) -> None:
        """Wait until something is read as it is wanted; ``wanted`` may be a function that judges what was read."""
        good = wanted if callable(wanted) else lambda value: value == wanted
        end = time.monotonic() + PATIENCE
        while not good(value := read()):
            assert time.monotonic() < end, f"still {value!r}"
            self.page.wait_for_timeout(20)

    def evaluates(self, expression: str, wanted: Any = True) -> None:  # noqa: FBT002
        """Wait until an expression has a value in the page."""
        self.settles(lambda: self.page.evaluate(expression), wanted)

    def go(self, address: str = "") -> None:
        """Open the page anew at an address within it."""
        self.page.goto("about:blank")
        self.page.goto(self.path.as_uri() + address)
        self.page.wait_for_selector("main h1", state="attached")

    @property
    def asked(self) -> list[str]:
        """What was asked for beside pages from disk."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "about:", "blob:"))]


@pytest.fixture
def open_page(browser) -> Callable[..., Any]:
    """Give the context manager that opens a page from disk; what it complains of or asks for fails the test."""

    @contextmanager
    def opened(path, address="", *, width=1600, height=1000, dark=False, fine=True, **context) -> Iterator[Opened]:
        scheme = "dark" if dark else "light"
        tab = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce", **context
        ).new_page()
        tab.set_default_timeout(1000 * PATIENCE)
        if SLOWER > 1:
            tab.context.new_cdp_session(tab).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        found = Opened(tab, path)
        tab.on("request", lambda request: found.requests.append(request.url))
        tab.on("console", lambda message: found.complaints.append(message.text))
        tab.on("pageerror", lambda error: found.complaints.append(str(error)))
        try:
            tab.goto(path.as_uri() + address)
            tab.wait_for_selector("main h1", state="attached")
            yield found
            if fine:
                assert found.complaints == []
                assert found.asked == []
        finally:
            tab.context.close()

    return opened


@pytest.fixture
def open_results(open_page, tmp_path) -> Callable[..., Any]:
    """Give the context manager that opens the report of some results."""
    return lambda results, *address, **how: open_page(write_html(results, tmp_path / "report"), *address, **how)


@pytest.fixture(scope="session")
def few(tmp_path_factory) -> Path:
    """Give the report of 8 cases through 5 backends, small enough to hold every number, and a page of each case."""
    return write_html(big_results(8, 5, 50), tmp_path_factory.mktemp("few"), details=True)


@pytest.fixture(scope="session")
def large(tmp_path_factory) -> Path:
    """Give the report of 200 cases through 20 backends."""
    return write_html(big_results(200, 20, 20), tmp_path_factory.mktemp("large"))
