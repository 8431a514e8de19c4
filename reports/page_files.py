"""The files that pages are made of, in ``templates``: templates, scripts, styles; and their names in a policy."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from lockstep.harness.text import counted, number, printable


@cache
def text_of_file(name: str) -> str:
    """A script or a style."""
    return files("lockstep.reports").joinpath("templates", name).read_text("utf-8")


def source(text: str) -> str:
    """Name a script or a style in a content security policy: no other one is used."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@cache
def pages() -> Environment:
    """What makes pages: every value is escaped, and what is no text in it shown as such."""
    environment = Environment(
        loader=PackageLoader("lockstep.reports"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "counted": counted}
    return environment


def _printable(value: Any) -> Any:
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return printable(value) if plain else value
