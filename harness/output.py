"""Results, written where a user asked for them."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from lockstep.harness.comparison.results import Results, encode, encode_results
from lockstep.harness.errors import LockstepError

GROUP = "lockstep.reports"


def check_outputs(json: Path | None, html: Path | None) -> None:
    """Make sure, before anything runs, that results can be written.

    Raises:
        LockstepError: If they cannot.
    """
    try:
        if json is not None and str(json) != "-":
            json.parent.mkdir(parents=True, exist_ok=True)
            with json.open("ab"):
                pass
        if html is not None:
            html.mkdir(parents=True, exist_ok=True)
            if not os.access(html, os.W_OK):
                raise PermissionError(13, "not writable", str(html))
    except OSError as error:
        raise LockstepError(f"{error.filename}: cannot be written to: {error.strerror or error}.") from error


def write_outputs(results: Results, json: Path | None, html: Path | None, *, details: bool = False) -> Path | None:
    """Write results as JSON, to a file or with "-" to stdout, and as an HTML report whose page is given back.

    ``details``: whether the report has a page of each case beside it.
    """
    if json is not None and str(json) == "-":
        sys.stdout.buffer.write(encode_results(results) + b"\n")
        sys.stdout.flush()
    elif json is not None:
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_bytes(encode_results(results))
    return write_html(results, html, details=details) if html is not None else None


def write_json(found: Any, json: Path) -> None:
    """Write any plain value as JSON, to a file or with "-" to stdout."""
    encoded = encode(found)
    if str(json) == "-":
        sys.stdout.buffer.write(encoded + b"\n")
        sys.stdout.flush()
    else:
        json.write_bytes(encoded)


def write_html(results: Results, folder: Path, *, details: bool = False) -> Path:
    """Write the HTML report into a folder, through the renderer that is installed, and give its page.

    ``details``: whether each case gets a page of its own beside it.

    Raises:
        LockstepError: If none is, or the folder cannot be written to.
    """
    renderers = list(entry_points(group=GROUP, name="html"))
    if not renderers:
        raise LockstepError(f"no HTML renderer is installed: the entry point {GROUP}, html is missing.")
    check_outputs(None, folder)
    return renderers[0].load()(results, folder, details=details)
