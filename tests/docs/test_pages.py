"""What the pages show is what happens: their commands are run, and print what stands there."""

from __future__ import annotations

import os
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from blocks import agree, blocks_of
from running import ROOT, Page

PAGES = {
    str(path.relative_to(ROOT)): blocks_of(path)
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
RUN = {name: blocks for name, blocks in PAGES.items() if any(one.language == "console" for one in blocks)}


@pytest.fixture
def page(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # of what pages start
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("FORCE_COLOR", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    return Page(request.node.callspec.params["name"], tmp_path)


@pytest.mark.parametrize("name", [name for name, blocks in RUN.items() if not all(one.slow for one in blocks)])
def test_quick_blocks_of_a_page_come_out_as_shown(name, page):
    page.run([one for one in RUN[name] if not one.slow])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, blocks in RUN.items() if any(one.slow for one in blocks)])
def test_all_blocks_of_a_page_come_out_as_shown(name, page):
    page.run(RUN[name])


def test_no_column_is_without_a_name():
    # The corner of a table of backends by features needs none.
    headings = [
        (path.name, heading)
        for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
        if path.name != "backends.md"
        for heading, rule in pairwise(path.read_text(encoding="utf-8").splitlines())
        if rule.startswith(("| ---", "|---"))
    ]
    assert len(headings) > 30
    assert [(name, heading) for name, heading in headings if re.search(r"\|\s*\|", heading)] == []


def test_a_page_that_shows_something_else_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = tmp_path / "wrong.md"
    wrong.write_text("```console\n$ lockstep run nowhere\nlockstep: all is well.\n```\n")
    with pytest.raises(pytest.fail.Exception, match=r"wrong.md:1: \$ lockstep run nowhere"):
        Page("wrong.md", tmp_path).run(blocks_of(wrong))


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("ones  0.73", "ones 0.5", True),
        ("ones  0.73", "ones 12.5", False),
        ("h = 0.7536526", "h = 0.7536531", True),
        ("h = 0.7536526", "h = 0.7636526", False),
        ("diverge 5.9e+06", "diverge  6.0e+06", True),
        ("diverge 5.9e+06", "diverge 5.9e+05", False),
        ("at timestep 1 of 3", "at timestep 2 of 3", False),
        ("torch ...: run", "torch 2.13.0+cpu: run", True),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...\nd", "a\nb\nc", False),
        ("version 2.13.0", "version 2.12.0", False),
    ],
)
def test_what_is_shown_stands_for_what_differs_between_machines_only(shown, printed, same):
    assert agree(shown, printed) is same


def test_slow_blocks_titles_and_commands_are_read(tmp_path):
    text = '<!-- slow -->\n```console\n$ one\nout\n$ two\n```\n\n```python title="a.py"\nx = 1\n```\n'
    (tmp_path / "page.md").write_text(text)
    first, second = blocks_of(tmp_path / "page.md")
    assert (first.slow, second.slow, second.title) == (True, False, "a.py")
    assert list(first.commands()) == [("one", "out\n"), ("two", "")]


def test_the_page_on_backends_shows_the_whole_example():
    example = ROOT / "cases" / "templates" / "backend"
    shown = {one.title: one.text for one in PAGES["docs/how-to/backend.md"] if one.title}
    assert len(shown["my_lstm.py"].splitlines()) <= 35
    assert shown == {"my_lstm.py": (example / "my_lstm.py").read_text()}
    entry_point = '[project.entry-points."lockstep.backends"]\nmy_lstm = "my_lstm"\n'
    assert entry_point in (example / "pyproject.toml").read_text()
    assert entry_point in (ROOT / "docs" / "how-to" / "backend.md").read_text()
