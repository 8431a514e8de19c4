"""The site is whole: it builds without a warning, every link leads somewhere, what is generated leaves nothing out."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

import pytest
from case_page import case_page, meaning
from catalogue_page import catalogue_page, edit_of, site_of
from commands_page import commands_page
from links import broken_links
from make_site import assemble, leave_out_pictures, render
from results_page import meaning as meaning_of_field
from results_page import results_page, structs
from running import ROOT

import lockstep
from lockstep.harness.cases.case_file import case_schema
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.find import find_cases
from lockstep.harness.cli.app import app
from lockstep.harness.faults.table import named
from lockstep.harness.faults.wording.families import FAMILIES

CONFIGURATION = ROOT / "mkdocs.yml"
catalogue = cache(catalogue_page)  # every fault of many cases: made once


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of the site as they are rendered, without pictures."""
    folder = tmp_path_factory.mktemp("site") / "docs"
    assemble(ROOT / "docs", folder)
    leave_out_pictures(folder)
    return folder


@pytest.fixture(scope="module")
def site(pages):
    """The site, built: that takes some seconds, so what asks for it is slow."""
    folder = pages.parent / "site"
    problems = render(CONFIGURATION, pages, folder)
    assert problems == [], "\n".join(problems)
    return folder


@pytest.mark.slow  # `nox -s docs` builds it too
def test_the_site_builds_strictly_and_every_link_leads_somewhere(site):
    assert broken_links(site) == []


def test_every_page_stands_in_the_navigation_and_the_other_way_round(pages):
    named = set(re.findall(r"[\w/-]+\.md", CONFIGURATION.read_text()))
    assert named == {str(path.relative_to(pages)) for path in pages.rglob("*.md")}


@pytest.mark.slow
def test_docstrings_stand_in_the_reference(site):
    text = (site / "reference" / "python.html").read_text()
    public = [f"lockstep.{home}.{name}" for name, home in lockstep._HOMES.items()]
    for name in (*public, "lockstep.harness.strategies.cases", "lockstep.harness.weights.convert.convert_file"):
        assert f'id="{name}"' in text


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Start\n\n[gone](gone.md)\n")
    assert "page does not exist" in render(CONFIGURATION, tmp_path / "docs", tmp_path / "site")[0]


def test_what_the_builder_does_not_look_at_is_found_in_the_site(tmp_path):
    (tmp_path / "there.html").write_text('<h1 id="top">There</h1>')
    (tmp_path / "index.html").write_text(
        '<a href="there.html#top">fine</a> <a href="https://example.org">fine</a> <img src="gone.png">'
        '<a href="there.html#bottom">no</a> <script src="https://example.org/x.js"></script>'
    )
    assert broken_links(tmp_path) == [
        "index.html: https://example.org/x.js is loaded from elsewhere",
        "index.html: gone.png leads nowhere",
        "index.html: there.html#bottom: no such place in that page",
    ]


def commands_of(group, prefix=""):
    """The commands of an app by name, with those of a group in it."""
    for name in set(group) - {"--help", "-h", "--version"}:
        if group[name].default_command is None:
            yield from commands_of(group[name], f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", group[name]


def test_every_command_and_option_is_in_the_reference():
    text = commands_page()
    for name, command in sorted(commands_of(app)):
        _, heading, section = text.partition(f"# lockstep {name}\n")
        assert heading, name
        section, _, _ = section.partition("\n##")
        for argument in command.assemble_argument_collection():
            shown = argument.name if argument.name.startswith("-") else argument.name.upper()
            assert re.search(rf"[`\s]{re.escape(shown)}[`,\s]", section), (name, argument.name)


def test_every_key_of_a_case_is_explained():
    tables = case_schema()["$defs"]
    silent = [
        f"{name}.{key}"
        for name, table in tables.items()
        for key, value in table["properties"].items()
        if not meaning(value, tables)
    ]
    assert silent == []
    assert all(f"| `{key}` |" in case_page() for table in tables.values() for key in table["properties"])


def test_every_field_of_results_is_explained():
    found = structs()
    silent = [
        f"{name}.{field.target.id}"
        for name, source in found.items()
        for field in source.fields()
        if not meaning_of_field(field, source, found) and f"`{field.target.id}`" not in source.summary
    ]
    # These say what they are by their names.
    assert set(silent) <= {
        "PerTimestep.sigma", "PerTimestep.ulp", "PerTimestep.abs", "PerTimestep.rel",
        "Parameter.name", "Parameter.shape", "CaseInfo.timesteps", "CaseInfo.batch",
        "CaseInfo.input_size", "CaseInfo.hidden_size",
    }  # fmt: skip
    assert all(f"\n## {name}\n" in results_page() for name in found)


def test_every_site_and_edit_is_in_the_catalogue():
    parts = catalogue().split("\n\n| Edit |")
    # Each table belongs to the list of sites right above it.
    tables = [(above.rpartition("\n\n")[2], table.partition("\n\n")[0]) for above, table in pairwise(parts)]
    missing = set()
    # Of each kind of case one, other than those that the page is made of.
    for case in ("reverse-lengths", "bidirectional", "hard-sigmoid", "attention-probe", "attention-float64", "long"):
        (request,) = find_cases([case])
        for deviation in named(problem_of(request.case)).values():
            site, edit = f"\n- `{site_of(deviation)}`", f"\n| `{edit_of(deviation)}` |"
            if not any(site in f"\n{sites}" and edit in rows for sites, rows in tables):
                missing.add((site, edit))
    assert missing == set()


def test_no_table_of_the_catalogue_has_an_empty_cell():
    cells = [cell for line in catalogue().splitlines() if line.startswith("| ") for cell in line.split(" | ")]
    assert len(cells) > 500
    assert [cell for cell in cells if not cell.strip("| ")] == []


def test_the_catalogue_tells_faults_by_family_in_words():
    sections = dict(section.split("\n", 1) for section in catalogue().split("\n## ")[1:])
    gates = sections[FAMILIES["gate order"].title]
    assert gates.startswith(f"\n{FAMILIES['gate order'].fix} Seen in: ")
    assert "\n- `WRb`: W, R and b\n" in gates
    assert "\n| `read as ORDER` | `WRb:read-as-ifog`<br>" in gates
    assert "- `softmax`: the softmax (decoders only)\n" in sections[FAMILIES["attention"].title]


@pytest.fixture
def browser_page(browser):
    """A page of a browser, and the addresses that it asks for."""
    asked, page = [], browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    yield page, asked
    page.close()


@pytest.mark.slow
def test_pages_opened_from_disk_can_be_searched_and_ask_for_nothing(site, browser_page):
    page, asked = browser_page
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Control+k")
    page.keyboard.type("peephole")
    page.get_by_text("Peepholes").first.wait_for()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def edits_with(words, section):
    """How many rows of a section of the catalogue have all words in themselves or in the sites above their table."""
    parts = section.split("\n\n| Edit |")
    lists = [(above.rpartition("\n\n")[2], table.partition("\n\n")[0]) for above, table in pairwise(parts)]
    rows = [f"{sites} {row}".lower() for sites, table in lists for row in table.splitlines() if row.startswith("| `")]
    return sum(all(word in row for word in words) for row in rows)


@pytest.mark.slow
def test_the_catalogue_is_filtered_by_words_and_family(site, browser_page):
    page, _ = browser_page
    page.goto((site / "catalogue.html").as_uri())
    sections = dict(section.split("\n", 1) for section in catalogue().split("\n## ")[1:])
    shown, rows = page.locator("output[name=shown]"), page.locator("article tbody tr:visible")
    everything = sum(edits_with([], section) for section in sections.values())
    assert shown.inner_text() == f"{everything} of {everything} edits"
    page.get_by_label("Words").fill("Zero first")
    matching = sum(edits_with(["zero", "first"], section) for section in sections.values())
    assert 0 < matching < everything
    assert rows.count() == matching
    page.get_by_label("Family").select_option(label=FAMILIES["attention"].title)
    matching = edits_with(["zero", "first"], sections[FAMILIES["attention"].title])
    assert (rows.count(), shown.inner_text()) == (matching, f"{matching} of {everything} edits")
    assert page.locator("article h2:visible").count() == 1
    page.get_by_label("Words").fill("no such word")
    assert (rows.count(), page.locator("article h2:visible").count()) == (0, 0)
