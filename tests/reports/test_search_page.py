"""The page of a campaign: what it says, and that nothing of others gets into it as markup."""

from __future__ import annotations

import re

import msgspec
import pytest
from made_campaign import HOSTILE, made_campaign

from lockstep.harness.jobs.campaign.journal import Counts, Journal
from lockstep.harness.jobs.campaign.summary import PlannedRow, summary
from lockstep.harness.jobs.campaign.unit import Campaign, Ran, UnitResult
from lockstep.harness.jobs.campaign.units import pairs_among
from lockstep.harness.output.search_text import plan_text
from lockstep.reports.search_page import duration, progress_text, render, write_search_page


@pytest.fixture(scope="module")
def page():
    return render(made_campaign())


def words(page):
    """The text of a page, without markup."""
    return " ".join(re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL).split())


def test_it_tells_how_far_it_is_and_how_fast(page):
    text = words(page)
    assert "34 of 60 minutes, 26 min left" in text
    assert "runs a minute, of late 1,204" in text
    assert "4 new findings" in text


def test_cards_link_to_their_bundles_and_tell_the_command(page):
    assert 'href="findings/backend_02-0a7/README.md"' in page
    assert "cd findings/backend_02-0a7 &amp;&amp; lockstep run case.toml --backend backend_02" in page
    assert "findings/backend_02-2a7" not in page  # its bundle is not written yet


def test_the_heat_map_has_numbers_and_tells_what_is_unsupported_waiting_or_new(page):
    row = re.search(r'<th scope="row">backend_02</th>(.*?)</tr>', page, re.DOTALL).group(1)
    cells = re.findall(r"<td.*?</td>", row, re.DOTALL)
    assert len(cells) == 21
    assert any("unsupported" in cell for cell in cells)
    assert any(">0<" in cell for cell in cells)
    assert sum("has-new" in cell for cell in cells) == 1


def test_the_numbers_of_the_heat_maps_are_those_of_the_features_over_them(page):
    made = made_campaign()
    (backend,) = (row for row in made["backends"] if row["name"] == "backend_02")
    for kind, key in (("networks that were run", "networks"), ("largest error of what agrees", "sigma")):
        table = next(text for text in page.split("<table")[1:] if f"LSTMs: {kind}" in text).partition("</table>")[0]
        head, *rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
        names = [words(cell) for cell in re.findall(r"<th.*?</th>", head, re.DOTALL)][1:]
        (row,) = (row for row in rows if ">backend_02<" in row)
        cells = [words(cell).split()[0] for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)]
        shown = {name: cell for name, cell in zip(names, cells, strict=True) if name in backend["features"]}
        assert shown == {name: f"{met[key]:.2g}" if key == "sigma" else str(met[key])
                         for name, met in backend["features"].items()}  # fmt: skip


def test_known_findings_that_did_not_show_are_told(page):
    assert "keras-masks , backend_03: It does not mask (31 runs met its features)" in words(page)
    assert "torch-exp , backend_01" not in words(page)


def test_what_backends_say_stays_text(page):
    assert HOSTILE not in page
    assert "&lt;img src=x" in page


def test_it_reloads_only_while_it_runs():
    assert 'id="follow"' in render(made_campaign())
    assert 'id="follow"' not in render(made_campaign(phase="through"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"toward": "runs", "most_runs": 50_000, "left": 540.0}, "39,112 of 50,000 runs, 9 min left"),
        ({"toward": "round", "left": None, "first_round": None}, "asking backends what they support, time left not"),
        ({"toward": "round", "left": 9e5}, "2,310 of 2,310 networks that meet every pair of features once, 10 days"),
        ({"phase": "through"}, "34 of 60 minutes, at its end after 34 min"),
        ({"phase": "interrupted"}, "34 of 60 minutes, then it was ended; --resume goes on"),
        ({"phase": "shrinking"}, "the last findings are made small"),
    ],
)
def test_progress_in_words(changes, told):
    assert told in progress_text(made_campaign(**changes))


def test_durations():
    assert [duration(s) for s in (3, 150, 7260, 400_000)] == ["3 s", "2 min", "2 h 1 min", "5 days"]


def test_an_empty_campaign_has_a_page():
    text = words(render(made_campaign(
        counts=Counts(), backends=(), findings=(), known=(), machines=(), speeds=(), share=0.0, left=None
    )))  # fmt: skip
    assert "Nothing new so far" in text


def test_it_sums_up_what_the_journal_has(tmp_path):
    campaign = Campaign(seed=1, backends=("numpy_loop",), models=("lstm",))
    ran = Ran(n=0, verdict="agree", sigma=2.5, framework_seconds=0.3, harness_seconds=0.1)
    with Journal(tmp_path) as journal:
        journal.begin(campaign)
        journal.choose("numpy_loop", 0, (3, 4))
        unit = UnitResult(
            k=3, backend="numpy_loop", features=("float32", "layers"), runs=(ran,), versions={"numpy": "2"}
        )
        journal.write([unit], 60.0)
        values = summary(journal, phase="running", minutes=None, runs=None, counts=journal.counts())
        write_search_page(msgspec.to_builtins(values), tmp_path)
    (row,) = values.backends
    assert (row.networks, row.runs, row.sigma, row.pairs) == (1, 1, 2.5, 1)
    assert row.features["layers"].networks == 1
    assert row.pairs_in_all >= len(pairs_among(frozenset(row.features)))
    assert values.first_round == (1, 2)
    assert (values.share, values.left) == (0.5, 60.0)
    assert "1 of 2 networks" in (tmp_path / "index.html").read_text()


def test_the_plan_tells_units_by_backend_and_together():
    told = plan_text([PlannedRow(backend="a", units=3, pairs=9), PlannedRow(backend="longer", units=4, pairs=8)], 5)
    assert re.search(r"^together +7 +17$", told, re.MULTILINE)
    assert "7 units of 5 problems each meet every pair of features once" in told


def test_counts_go_on_from_unit_to_unit_as_the_journal_would_count(tmp_path):
    campaign = Campaign(seed=1, backends=("numpy_loop",), models=("lstm",))
    runs = (Ran(n=0, verdict="agree", sigma=2.5), Ran(n=1, verdict="known", known="x", expected="x"))
    units = [
        UnitResult(k=k, backend="numpy_loop", features=("float32",), runs=runs if k else (), versions={})
        for k in (0, 1)
    ]
    with Journal(tmp_path) as journal:
        journal.begin(campaign)
        counts = journal.counts().with_units(journal.write(units, 1.0))
        assert counts.with_units(journal.write(units, 1.0)) == counts
        assert msgspec.structs.replace(counts, seconds=1.0) == journal.counts()
