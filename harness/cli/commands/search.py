"""``lockstep search``: campaigns of random configurations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lockstep.harness.cli import options
from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.outputs import JsonOption, QuietOption
from lockstep.harness.errors import LockstepError, check_positive
from lockstep.harness.output.console import INTERRUPTED, console_beside, error_console, say, tell
from lockstep.harness.text import counted, names_text

if TYPE_CHECKING:
    from lockstep.harness.jobs.campaign.journal import Journal, LoggedFinding
    from lockstep.harness.jobs.campaign.search import CampaignBounds
    from lockstep.harness.jobs.campaign.tasks import Executor
    from lockstep.harness.jobs.campaign.unit import Campaign

SEARCH_JOBS = 2  # units at once
ANNOUNCED = 6  # backends in the line that announces a campaign


def search(
    *,
    out: Annotated[
        Path | None, Argument(help="Folder of the campaign: its journal, its page, a folder for each finding.")
    ] = None,
    plan: Annotated[
        bool, Argument(negative="", help="Tell how many units meet every pair of features once, and run none.")
    ] = False,
    backend: options.BackendOption = None,
    everything: options.AllOption = False,
    port: Annotated[
        str | None, Argument(help="Search your own function or object in place of backends: FILE.py:NAME.")
    ] = None,
    command: Annotated[str | None, Argument(help="A program in its place, as of lockstep check.")] = None,
    command_serve: Annotated[str | None, Argument(help="The same for one that is started once.")] = None,
    init: Annotated[str | None, Argument(help="Of an object: what it is made with, as of lockstep check.")] = None,
    layout: options.LayoutOption = None,
    arrays: options.ArraysOption = None,
    minutes: Annotated[
        float | None, Argument(help="End after so many minutes of running, those before a --resume included.")
    ] = None,
    runs: Annotated[
        int | None, Argument(help="End after so many runs: a run is one problem through one backend.")
    ] = None,
    features: Annotated[
        list[str] | None,
        Argument(
            name=("--features", "--feature"),
            help="Search networks of this feature alone, such as lengths; may be repeated. Default: all.",
        ),
    ] = None,
    problems: Annotated[
        int | None,
        Argument(
            help="Problems of each network: all but the first are cheap where it is compiled. Default: 40; fewer where "
            "few --runs are to meet several networks."
        ),
    ] = None,
    seed: Annotated[int | None, Argument(help="Of the choice of configurations. Default: 0.")] = None,
    resume: Annotated[bool, Argument(help="Go on with the campaign that is in the folder.")] = False,
    jobs: Annotated[int, Argument(help="How many units run at the same time.")] = SEARCH_JOBS,
    shrink_seconds: Annotated[float, Argument(help="The most that making one finding small may take.")] = 120.0,
    timeout: options.TimeoutOption = None,
    limit: options.LimitOption = None,
    scheduler: options.SchedulerOption = None,
    allow_mixed: options.AllowMixedOption = False,
    json: JsonOption = None,
    quiet: QuietOption = False,
) -> int:
    """Search random configurations for what is wrong, for minutes or days, and keep each finding as small as it gets.

    Networks and decoders of all pairs of features go through backends, or through a port of yours. Whatever ends it,
    --resume goes on. Exit status 0: nothing new, 1: findings, 3: a backend died of itself.
    """
    from lockstep.harness.jobs.campaign.begin import Wanted, bounds_of, campaign_of, opened
    from lockstep.harness.jobs.campaign.unit import TargetWords
    from lockstep.harness.output.write_results import check_writable

    check_positive("--{} ", minutes=minutes, runs=runs, jobs=jobs, problems=problems)
    check_positive("--shrink-seconds ", shrink_seconds=shrink_seconds)
    asked, seconds = options.bounds(limit, timeout, quiet=quiet or resume)
    words = TargetWords(port, command, command_serve, init, layout, arrays)
    wanted = Wanted(
        options.backend_names(backend, everything=everything), None if words == TargetWords() else words,
        tuple(features or ()), seed, timeout, limit if resume or asked is None else asked.sigma, problems, runs,
    )  # fmt: skip
    check_writable(json)
    start = partial(_executor, jobs=jobs, scheduler=scheduler, allow_mixed=allow_mixed)
    if plan:
        return _plan(campaign_of(wanted, seconds), start, json)
    if out is None:
        raise LockstepError("a campaign needs a folder for its journal and its findings: give one with --out DIR.")
    journal, campaign = opened(out, wanted, seconds, resume=resume)
    with journal:
        bounds = bounds_of(journal, minutes, runs, shrink_seconds)
        return _run(journal, campaign, start(campaign), bounds, json=json, quiet=quiet)


def _executor(campaign: Campaign, *, jobs: int, scheduler: str | None, allow_mixed: bool) -> Executor:
    """What runs the tasks of a campaign."""
    if scheduler is not None:
        from lockstep.harness.jobs.cluster.client import ClusterExecutor

        return ClusterExecutor(campaign, scheduler, allow_mixed=allow_mixed)
    from lockstep.harness.jobs.campaign.local import LocalExecutor

    return LocalExecutor(campaign, jobs)


def _plan(campaign: Campaign, start: Callable[[Campaign], Executor], json: Path | None) -> int:
    """Tell what the first round of a campaign takes, and run none of it."""
    from lockstep.harness.jobs.campaign.summary import planned
    from lockstep.harness.output.search_text import plan_text
    from lockstep.harness.output.write_results import write_json

    with start(campaign) as executor:
        rows = planned(campaign, executor)
    write_json(rows, json)
    say(console_beside(json), plan_text(rows, campaign.problems))
    return 0


def _run(
    journal: Journal, campaign: Campaign, executor: Executor, bounds: CampaignBounds, *, json: Path | None, quiet: bool
) -> int:
    """Run a campaign to its end, or until somebody presses Ctrl-C: the exit status."""
    from lockstep.harness.jobs.campaign.failures.bundle import command
    from lockstep.harness.jobs.campaign.search import CampaignRun, status_of
    from lockstep.harness.output.messages import text_of
    from lockstep.harness.output.progress import campaign_progress
    from lockstep.harness.output.search_text import CampaignPage, campaign_text, campaign_values, found_text
    from lockstep.harness.output.write_results import write_json

    console = console_beside(json)
    if not quiet:
        tell(_announced(journal, campaign, bounds))

    def on_finding(finding: LoggedFinding) -> None:
        say(console, found_text(finding, journal.folder, command(campaign, finding.backend)))

    interrupted = False
    page = CampaignPage(journal, bounds)
    with executor, campaign_progress(error_console, quiet=quiet) as on_state:
        campaign_run = CampaignRun(journal, campaign, executor, bounds, text_of, on_state, on_finding, page.on_tick)
        try:
            campaign_run.run()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            page.close()
    write_json(campaign_values(journal), json)
    if not quiet:
        say(console, campaign_text(journal, interrupted=interrupted))
    return INTERRUPTED if interrupted else status_of(journal.findings())


def _announced(journal: Journal, campaign: Campaign, bounds: CampaignBounds) -> str:
    """What is about to be searched, and until when."""
    names = names_text(campaign.backends, ANNOUNCED)
    ends = [text for text in (
        None if bounds.minutes is None else f"{bounds.minutes:g} min of running",
        None if bounds.runs is None else counted(bounds.runs, "run"),
    ) if text]  # fmt: skip
    end = f"until {' or '.join(ends)}" if ends else "until it is interrupted with Ctrl-C"
    done = journal.counts()
    before = f"; {counted(done.runs, 'run')} of it are there" if done.runs else ""
    return f"Searching {names}, seed {campaign.seed}, in {journal.folder}, {end}{before}."
