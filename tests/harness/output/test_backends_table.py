"""What ``lockstep backends`` shows: frameworks, costs, reasons, within 80 columns; and the page of the docs."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from backend_marks import MAIN
from rich.console import Console

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.jobs.support import Support, support
from lockstep.harness.output.backends_table import (
    MOST_COLUMNS,
    as_json,
    as_markdown,
    by_framework,
    framework_line,
    matrices,
    show_backends,
    show_matrix,
)

PAGE = Path(__file__).parents[3] / "docs" / "backends.md"
LONG = "it has a reason that is so long that it does not fit into one line of a terminal of eighty columns"


def _support(name, framework="frame", model="lstm", problem=None, **reasons):
    info = BackendInfo(name, f"pack.{name}", summary=f"What {name} is.", requires=(framework, "more"), model=model)
    versions = {} if problem else {framework: "1.2", "more": "3"}
    return Support(info, versions, {"float32": None, **reasons}, problem, seconds=1.23, megabytes=45.6)


def _shown(show, supports, width=80):
    text = io.StringIO()
    show(Console(file=text, width=width), supports)
    return text.getvalue()


def test_backends_are_told_by_framework_with_version_dialect_cost_and_reasons():
    supports = [
        _support("b_one", "b"),
        _support("a_two", "a", float64=LONG),
        _support("a_one", "a", problem="not there"),
    ]
    text = _shown(show_backends, supports)
    assert text.index("a 1.2") < text.index("a_two: What a_two is.") < text.index("b 1.2")
    assert "stores weights as canonical; on a 1.2, more 3; imported in 1.2 s, 46 MB" in text
    assert "supports all 1 features of LSTMs" in text
    assert "not float64: it has a reason" in text
    assert "not available: not there" in text


def test_a_further_way_of_a_framework_says_how_it_is_run():
    main = _support("a_one", "a")
    further = replace(main, backend=msgspec.structs.replace(main.backend, name="a_two", main=False))
    text = _shown(show_backends, [main, further])
    assert text.count("run if it is named, or with --all; stores") == 1
    assert "--all" in text.partition("a_two: ")[2]
    assert [told["main"] for told in as_json([main, further])] == [True, False]


def test_a_framework_of_which_nothing_is_there_says_so():
    assert framework_line("a", [_support("a_one", "a", problem="not there")]) == "a not available"


@pytest.mark.parametrize("show", [show_backends, show_matrix])
def test_no_line_is_wider_than_the_terminal(show):
    supports = [_support(f"a_backend_of_name_{k}", "tensorflow", float64=f"{LONG} {k}") for k in range(9)]
    text = _shown(show, supports)
    assert max(map(len, text.splitlines())) <= 80
    assert (
        all(f"a_backend_of_name_{k}" in text.replace("\n", "").replace(" ", "") for k in range(9))
        or show is show_matrix
    )


def test_backends_that_require_nothing_go_by_their_package():
    own = Support(BackendInfo("mine", "pack.mine", summary="Mine."), {}, {"float32": None})
    assert framework_line("pack", [own]) == "pack"
    assert "stores weights as canonical" in _shown(show_backends, [own])


def test_the_matrix_is_one_table_while_all_backends_of_a_model_fit_beside_each_other():
    supports = [_support(f"{letter}_one", letter) for letter in "abc"]
    assert [title for title, _ in matrices(supports)] == ["LSTMs"]


def test_the_matrix_is_a_table_for_each_framework_where_they_do_not_fit():
    many = [_support(f"a_{k}", "a") for k in range(MOST_COLUMNS + 3)]
    supports = [*many, _support("b_one", "b"), _support("d_one", "b", model="attention_decoder")]
    found = matrices(supports)
    titles = [title for title, _ in found]
    assert titles == ["LSTMs, a 1.2", "LSTMs, a 1.2", "LSTMs, b 1.2", "attention decoders"]
    assert all(len(own) <= MOST_COLUMNS for _, own in found)
    assert sum(len(own) for _, own in found) == len(supports)


def test_reasons_are_numbered_below_each_table():
    many = [_support(f"a_{k}", "a", float64="no float64 here") for k in range(MOST_COLUMNS)]
    text = _shown(show_matrix, [*many, _support("b_one", "b", float64="nor here")])
    assert text.count("[1] no float64 here (a_0, a_1") == 1
    assert "[1] nor here (b_one)" in text


def test_json_tells_all_of_it():
    (one,) = as_json([_support("a_one", "a", float64="no float64 here")])
    assert one["framework"] == "a"
    assert one["import"] == {"seconds": 1.23, "megabytes": 45.6}
    assert one["supports"] == ["float32"]
    assert one["unsupported"] == {"float64": "no float64 here"}


def test_what_importing_a_framework_costs_is_measured_in_its_worker():
    (torch,) = support(["torch_lstm"], jobs=1)
    if torch.problem is not None:
        pytest.skip(torch.problem)
    assert torch.seconds > 0.05
    assert torch.megabytes is None or torch.megabytes > 20


def _columns(page: str) -> dict[str, dict[str, str]]:
    """Read the tables of the page: what it says of each backend, by feature."""
    found: dict[str, dict[str, str]] = {}
    names: list[str] = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if cells and cells[0] == "":
            names = cells[1:]
        elif cells and not cells[0].startswith("---"):
            for name, cell in zip(names, cells[1:], strict=True):
                found.setdefault(name, {})[cells[0]] = cell
    return found


def test_the_page_tells_every_backend():
    assert set(_columns(PAGE.read_text())) == {backend.name for backend in find_backends()}


@pytest.mark.parametrize("names", [sorted(MAIN), pytest.param(None, marks=pytest.mark.slow)], ids=["main", "all"])
@pytest.mark.slow  # starts every framework
def test_the_page_tells_what_each_backend_can_do(names):
    page = PAGE.read_text()
    told = _columns(page)
    for one in support(names):
        if one.problem is None:
            says = {feature: cell.startswith("yes") for feature, cell in told[one.backend.name].items()}
            assert says == {feature: reason is None for feature, reason in one.reasons.items()}, one.backend.name
            assert all(reason in page for reason in one.reasons.values() if reason is not None), one.backend.name


def test_the_page_has_reasons_by_number():
    page = as_markdown([_support("a_one", "a", float64="no float64 here")])
    assert "## a 1.2: LSTMs" in page
    assert "| float64 | no [1] |" in page
    assert "- [1] no float64 here (a_one)" in page


def test_frameworks_come_in_the_order_of_their_names():
    assert list(by_framework([_support("x", "b"), _support("y", "a")])) == ["a", "b"]
