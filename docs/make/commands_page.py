"""The page of all commands, from the help that they give themselves."""

from __future__ import annotations

import re

from lockstep.harness.cli.app import app

INTRODUCTION = """# Commands

Made from the commands' own help: `lockstep COMMAND --help` says the same.

A case is named (`ones`), or a file, or a folder of files. Exit status: 0 all agree; 1 something diverges; 2 the request
is wrong; 3 a backend failed, crashed or hung. With several, the highest. What is a known finding counts as 0.
"""


def commands_page() -> str:
    """The page."""
    text = app.generate_docs(output_format="markdown", heading_level=1)
    _, _, commands = text.partition("**Commands**:")
    assert commands, text
    return INTRODUCTION + re.sub(r"\n{3,}", "\n\n", "\n" + commands.lstrip("\n"))
