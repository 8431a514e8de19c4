"""The landing page is short, leads somewhere, and names commands that there are."""

from __future__ import annotations

import re
import shlex

import pytest
from blocks import blocks_of
from cyclopts import CycloptsError
from make_site import with_sections_of_the_readme
from running import ROOT

from lockstep.harness.cli.app import app

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short_and_shows_one_answer_of_eight_lines():
    assert len(README.splitlines()) <= 160
    (answer,) = (block for block in blocks_of(ROOT / "README.md") if block.language == "console")
    assert len(answer.text.splitlines()) <= 8


def test_its_links_lead_to_files_and_places():
    links = re.findall(r"""(?:\]\(|src="|srcset=")([^)"]+)""", README)
    assert len(links) > 20
    for link in links:
        path, _, place = link.partition("#")
        assert (ROOT / path).exists(), link
        if place:
            headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert place in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}, (
                link
            )


def test_the_pictures_are_light():
    pictures = re.findall(r"docs/assets/report-\w+\.\w+", README)
    assert {path.split("-")[1].split(".")[0] for path in pictures} == {"light", "dark"}
    assert all((ROOT / path).stat().st_size < 150_000 for path in pictures)


def test_its_commands_are_what_the_commands_take():
    lines = re.findall(r"`(lockstep [^`]+)`|^    (lockstep .+)$", README, flags=re.MULTILINE)
    commands = [shlex.split(named or shown)[1:] for named, shown in lines if "COMMAND" not in named]
    assert {words[0] for words in commands} >= {
        "check", "run", "new", "convert", "variables", "anatomy", "record", "compare", "adequacy", "findings"
    }  # fmt: skip
    for words in commands:
        app.parse_args(words, print_error=False, exit_on_error=False)
    with pytest.raises(CycloptsError):
        app.parse_args(["check", "my_lstm.py:port", "--sarf"], print_error=False, exit_on_error=False)


def test_its_table_is_put_into_a_page():
    page = with_sections_of_the_readme("# Compare\n\n<!-- README: How it compares -->\n\nAfter.\n")
    assert page.startswith("# Compare\n\n| What | Lockstep |")
    assert len(re.findall(r"^\| ", page, flags=re.MULTILINE)) == 12  # a heading, a rule, ten rows
    assert page.endswith("|\n\nAfter.\n")
    with pytest.raises(ValueError, match="no section 'Nowhere'"):
        with_sections_of_the_readme("<!-- README: Nowhere -->")
