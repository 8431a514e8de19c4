"""A campaign over a port with planted mistakes: what is found, how small it gets, what its bundle says and does."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from campaign_here import PORT, Here
from lstm_cases import make_case
from msgspec.structs import replace

from lockstep.backends import numpy_loop
from lockstep.harness.adapters.outcome import Outcome
from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cli.main import main
from lockstep.harness.comparison.results import load_results
from lockstep.harness.jobs.campaign.begin import Wanted, opened
from lockstep.harness.jobs.campaign.hands import Hands
from lockstep.harness.jobs.campaign.run_unit import run_unit
from lockstep.harness.jobs.campaign.search import CampaignBounds, CampaignRun, status_of
from lockstep.harness.jobs.campaign.unit import Campaign, TargetWords
from lockstep.harness.jobs.campaign.work import unit_of
from lockstep.harness.jobs.judge_run import Judge
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.output.messages import text_of


def search(folder, wanted, runs, *, resume=False, lost=0):
    """Run a campaign: its journal, closed, and the findings that were told."""
    journal, campaign = opened(folder, wanted, 60, resume=resume)
    executor, told, states = Here(campaign, lost), [], []
    with journal:
        bounds = CampaignBounds(runs=runs, shrinking=30)
        CampaignRun(journal, campaign, executor, bounds, text_of, states.append, told.append).run()
        executor.close()
        assert states[-1].phase == "through"
        return journal.findings(), told, journal.counts()


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    (folder / "my.py").write_text(PORT)
    wanted = Wanted(
        port=TargetWords(target=f"{folder / 'my.py'}:port"), features=("clip", "float32"), seed=1, problems=5
    )
    return folder / "campaign", wanted, search(folder / "campaign", wanted, 25)


def test_different_problems_are_found_and_made_small(campaign):
    folder, _, (findings, told, counts) = campaign
    assert sorted(finding.title for finding in findings) == [
        "port differs first in c: clip:none",
        "port failed: it raised RuntimeError in my.py, line 11: 7 timesteps are too many",
    ]
    assert [finding.id for finding in told] == [1, 2]
    assert sum(finding.runs for finding in findings) == counts.new > 2
    clip, long = sorted(findings, key=lambda finding: finding.title)
    case = load_case(folder / clip.bundle / "case.toml")
    assert case.run.timesteps == (1 if clip.place == "first step" else 2)
    assert (case.run.batch, case.lstm.hidden_size, case.lstm.input_size) == (1, 1, 1)
    assert case.lstm.cell_clip is not None
    assert clip.features == (("clip",),)
    case = load_case(folder / long.bundle / "case.toml")
    assert (case.run.timesteps, case.lstm.cell_clip) == (7, None)
    assert status_of(findings) == 1


def test_a_bundle_shows_its_finding_by_its_command(campaign, monkeypatch, capsys):
    folder, _, (findings, *_) = campaign
    clip = next(finding for finding in findings if finding.cause)
    bundle = folder / clip.bundle
    readme = (bundle / "README.md").read_text()
    assert "The clip of c is left out." in readme
    assert "No smaller case that was tried shows it" in readme
    assert load_results(bundle / "results.json").runs[0].diagnosis[0].fault == "clip:none"
    (command,) = (line.strip() for line in readme.splitlines() if line.startswith("    lockstep "))
    monkeypatch.chdir(bundle)
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(command)[1:])
    assert ended.value.code == 1
    assert "clip:none" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["compare", "trace.safetensors", "results.json"])
    assert ended.value.code == 1


def test_what_is_there_is_not_told_again(campaign):
    folder, wanted, (findings, _, counts) = campaign
    again, told, more = search(folder, Wanted(port=wanted.port), counts.runs + 10, resume=True)
    assert told == []
    assert more.runs >= counts.runs + 10
    assert [finding.signature for finding in again] == [finding.signature for finding in findings]


def test_what_takes_its_worker_with_it_twice_is_kept_as_it_was(tmp_path):
    (tmp_path / "my.py").write_text(PORT)
    wanted = Wanted(
        port=TargetWords(target=f"{tmp_path / 'my.py'}:port"), features=("clip", "float32"), seed=1, problems=5
    )
    findings, told, _ = search(tmp_path / "campaign", wanted, 15, lost=2)
    assert told[0].title.endswith("; did not show again")
    text = (tmp_path / "campaign" / told[0].bundle / "README.md").read_text()
    assert "It did not show again when its case was run once more" in text
    assert status_of([replace(findings[0], status="crashed")]) == 3
    assert status_of([]) == 0


def test_a_network_gets_no_further_problem_where_those_before_took_long(monkeypatch):
    campaign = Campaign(seed=1, backends=("numpy_loop",), models=("lstm",), problems=3)
    with Hands(campaign) as hands:
        assert len(run_unit(unit_of(campaign, 0, "numpy_loop"), hands).runs) == 3
        monkeypatch.setattr(f"{run_unit.__module__}.FURTHER_SECONDS", 0.0)
        assert len(run_unit(unit_of(campaign, 0, "numpy_loop"), hands).runs) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_what_agrees_is_told_by_the_same_sigma_as_ever(dtype):
    case = make_case(dtype=dtype, gradients=True, num_layers=2, direction="bidirectional", lengths=(5, 2))
    problems = Problems()
    trace = numpy_loop.run(problems.problem(case))
    judge = Judge(problems)
    full = judge.judge_outcome(case, "numpy_loop", Outcome("ran", trace))
    assert judge.agreement(case, Outcome("ran", trace)) == pytest.approx(full.worst[1].sigma)
    name = next(name for name in trace.tensors(case) if name.startswith("h"))
    one = trace.arrays[name].copy()
    one.flat[3] = np.nan
    assert judge.agreement(case, Outcome("ran", trace.replaced(**{name: one}))) is None
    one.flat[3] = 0.5
    assert judge.agreement(case, Outcome("ran", trace.replaced(**{name: one}))) is None
