"""The journal: what is written is there once, and what cannot be written is told."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
from lstm_cases import make_case

from lockstep.harness.comparison.results import RunResult
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.campaign.begin import Wanted, bounds_of, campaign_of, opened
from lockstep.harness.jobs.campaign.journal import FILE, Journal, LoggedFinding
from lockstep.harness.jobs.campaign.unit import PROBLEMS, Campaign, Ran, UnitResult

CAMPAIGN = Campaign(seed=3, backends=("numpy_loop",), models=("lstm",))


def unit(k, *runs):
    return UnitResult(k=k, backend="numpy_loop", features=("float32",), runs=runs, versions={"lockstep": "0"})


def agreed(n, sigma=1.0):
    return Ran(n=n, verdict="agree", sigma=sigma)


def failed(n, message="it raised ValueError: 3 is not 4"):
    result = RunResult(case="tiny", backend="numpy_loop", status="failed", message=message)
    return Ran(n=n, verdict="failed", case=make_case(), result=result)


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "campaign") as journal:
        journal.begin(CAMPAIGN)
        yield journal


def test_a_unit_that_comes_twice_counts_once(journal):
    journal.write([unit(4, agreed(0), agreed(1, 2.0))], 1.0)
    journal.write([unit(4, agreed(0)), unit(5, failed(0))], 2.5)
    counts = journal.counts()
    assert (counts.units, counts.runs, counts.new, counts.seconds) == (2, 3, 1, 2.5)
    assert journal.done() == {("numpy_loop", 4), ("numpy_loop", 5)}
    assert journal.rows("SELECT sigma FROM units WHERE k = 4") == [(2.0,)]


def test_a_failure_comes_back_as_it_was_and_is_counted_as_one_finding(journal):
    journal.write([unit(5, failed(0), failed(1, "it raised ValueError: 5 is not 6"), failed(2, "other"))], 1.0)
    first, second, other = journal.unsorted()
    assert first.failure.case == make_case()
    assert first.signature == second.signature == "numpy_loop | failed |  | it raised ValueError: N is not N"
    finding = LoggedFinding(
        id=0, signature="one", backend="numpy_loop", status="failed", tensor="", place="", cause=None,
        features=(("lengths",),), k=5, n=0, shrunk={}, bundle=None, title="one", runs=0,
    )  # fmt: skip
    number = journal.add_finding(finding, [first])
    assert journal.add_finding(finding, [second]) == number
    assert [(logged.runs, logged.features) for logged in journal.findings()] == [(2, (("lengths",),))]
    assert journal.unsorted() == [other]


def test_two_campaigns_do_not_share_a_folder(journal):
    with pytest.raises(LockstepError, match=r"a campaign is running in this folder, and two cannot share one\. Wait"):
        Journal(journal.folder)


def test_a_full_disk_is_told_and_leaves_what_was_there(journal):
    journal.write([unit(1, agreed(0))], 1.0)
    ((pages,),) = journal.rows("PRAGMA page_count")
    journal.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(
        LockstepError, match=r"the disk is full.*make room, then go on with lockstep search --out .* --re"
    ):
        journal.write([unit(k, *(failed(n, "x" * 4000) for n in range(9))) for k in range(2, 30)], 2.0)
    assert journal.done() == {("numpy_loop", 1)}
    assert journal.counts().runs == 1


def test_a_file_that_is_no_journal_is_told(tmp_path):
    (tmp_path / FILE).write_bytes(b"not a database, " * 100)
    with pytest.raises(LockstepError, match="not a journal of a campaign, or damaged"):
        Journal(tmp_path)


def test_a_campaign_is_resumed_as_it_was_begun(tmp_path):
    wanted, folder = Wanted(["numpy_loop"], seed=7), tmp_path / "campaign"
    with pytest.raises(LockstepError, match="no campaign to resume"):
        opened(folder, Wanted(), 120, resume=True)
    assert not folder.exists()
    with opened(folder, wanted, 120, resume=False)[0] as journal:
        assert bounds_of(journal, 5, None, 60).minutes == 5
    with pytest.raises(LockstepError, match=r"a campaign is in this folder\. Add --resume"):
        opened(folder, wanted, 120, resume=False)
    with pytest.raises(LockstepError, match="begun otherwise than --seed and --backend says"):
        opened(folder, Wanted(["numpy_attention"], seed=8), 120, resume=True)
    journal, campaign = opened(folder, Wanted(), 120, resume=True)
    with journal:
        assert (campaign.seed, campaign.backends) == (7, ("numpy_loop",))
        assert bounds_of(journal, None, None, 60).minutes == 5
        assert (bounds_of(journal, None, 9, 60).minutes, bounds_of(journal, None, None, 60).runs) == (None, 9)


@pytest.mark.parametrize(("wanted", "problems"), [
    (Wanted(), PROBLEMS), (Wanted(runs=10), 1), (Wanted(runs=100), 6), (Wanted(runs=100_000), PROBLEMS),
    (Wanted(runs=10, problems=7), 7), (Wanted(problems=3), 3),
])  # fmt: skip
def test_few_runs_are_spread_over_several_networks(wanted, problems):
    campaign = campaign_of(replace(wanted, backends=["numpy_loop", "numpy_attention"]), 120)
    assert campaign.problems == problems


def test_any_tool_reads_it_while_it_is_written(journal):
    journal.write([unit(1, agreed(0))], 1.0)
    reader = sqlite3.connect(journal.folder / FILE)
    assert reader.execute("SELECT k, verdict FROM units").fetchall() == [(1, "agree")]
    journal.write([unit(2, agreed(0))], 1.0)
    assert reader.execute("SELECT count(*) FROM units").fetchall() == [(2,)]
    reader.close()
