"""Chromium for tests of reports and of the site, which share it: two cannot be driven from one thread."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from screenshots import BROWSERS

PATIENCE = 60  # seconds: nothing takes nearly as long, but another program may have the processors meanwhile

_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, started once; where that is missing, tests are skipped, but on CI they fail."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        _do_without(f"none of {', '.join(BROWSERS)} is on the PATH: install Chromium to test the page in it")
    if find_spec("playwright") is None:
        _do_without("playwright is not installed: pip install playwright, to test the page in a browser")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield chromium
        chromium.close()


def _do_without(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
