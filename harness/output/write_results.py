"""Files of results: JSON, and HTML through the installed renderer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.harness.errors import LockstepError
from lockstep.harness.files import check_folder, check_replaceable, write_whole

if TYPE_CHECKING:
    from lockstep.harness.comparison.results import Results

RENDERERS = "lockstep.reports"  # the group of entry points under which HTML renderers are found


def check_writable(json: Path | None, html: Path | None = None) -> None:
    """Make sure, before anything runs, that results can be written.

    Raises:
        LockstepError: If they cannot.
    """
    with telling(json or html):
        if json is not None and str(json) != "-":
            check_replaceable(json)
        if html is not None:
            check_folder(html)


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
        with telling(json):
            write_whole(json, encoded)


def write_html(results: Results, folder: Path, *, details: bool = False) -> Path:
    """Write the HTML report into a folder, through the installed renderer; the path of its page.

    ``details``: whether each case gets a page of its own beside it.

    Raises:
        LockstepError: If no renderer is installed, or the folder cannot be written to.
    """
    render = renderer("html")
    check_writable(None, folder)
    with telling(folder):
        return render(results, folder, details=details)


def renderer(name: str) -> Callable[..., Path]:
    """What writes a page, by the name of its entry point.

    Raises:
        LockstepError: If none is installed.
    """
    from importlib.metadata import entry_points

    renderers = list(entry_points(group=RENDERERS, name=name))
    if not renderers:
        raise LockstepError(f"no HTML renderer is installed: the entry point {RENDERERS}, {name} is missing.")
    return renderers[0].load()


@contextmanager
def telling(path: Path | None) -> Iterator[None]:
    """Have what cannot be written, such as on a full disk, be one message."""
    try:
        yield
    except OSError as error:
        raise LockstepError(f"{error.filename or path}: cannot be written to: {error.strerror or error}.") from error
