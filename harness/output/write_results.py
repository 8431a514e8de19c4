"""Files of results: JSON, and HTML through the installed renderer."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.harness.errors import LockstepError

if TYPE_CHECKING:
    from lockstep.harness.comparison.results import Results

RENDERERS = "lockstep.reports"  # the group of entry points under which HTML renderers are found


def check_writable(json: Path | None, html: Path | None = None) -> None:
    """Make sure, before anything runs, that results can be written.

    Raises:
        LockstepError: If they cannot.
    """
    try:
        if json is not None and str(json) != "-":
            json.parent.mkdir(parents=True, exist_ok=True)
            # Nothing is appended: what the file holds stays until there are new results.
            with json.open("ab"):
                pass
        if html is not None:
            html.mkdir(parents=True, exist_ok=True)
            if not os.access(html, os.W_OK):
                raise PermissionError(13, "not writable", str(html))
    except OSError as error:
        raise LockstepError(f"{error.filename}: cannot be written to: {error.strerror or error}.") from error


def write_json(value: Any, json: Path | None) -> None:
    """Write any plain value as JSON, to a file or with "-" to stdout; nowhere if no file is asked for."""
    if json is None:
        return
    from lockstep.harness.comparison.results import encode

    encoded = encode(value)
    if str(json) == "-":
        sys.stdout.buffer.write(encoded + b"\n")
        sys.stdout.flush()
    else:
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_bytes(encoded)


def write_html(results: Results, folder: Path, *, details: bool = False) -> Path:
    """Write the HTML report into a folder, through the installed renderer; the path of its page.

    ``details``: whether each case gets a page of its own beside it.

    Raises:
        LockstepError: If no renderer is installed, or the folder cannot be written to.
    """
    renderers = list(entry_points(group=RENDERERS, name="html"))
    if not renderers:
        raise LockstepError(f"no HTML renderer is installed: the entry point {RENDERERS}, html is missing.")
    check_writable(None, folder)
    return renderers[0].load()(results, folder, details=details)
