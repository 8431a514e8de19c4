"""How far a command is and how long the rest may take, on a terminal that somebody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import progress as bars
from rich.console import Console
from rich.table import Column
from rich.text import Text

from lockstep.harness.jobs.durations import duration_text
from lockstep.harness.text import counted, printable

if TYPE_CHECKING:
    from lockstep.harness.comparison.results import RunResult
    from lockstep.harness.jobs.campaign.search import State


class _Sentence(bars.ProgressColumn):
    """251/675, 8 min left: saturated x tf_function."""

    def __init__(self) -> None:
        # A long name is cut, and moves nothing beside it.
        super().__init__(Column(no_wrap=True, overflow="ellipsis", ratio=1))

    def render(self, task: bars.Task) -> Text:
        """The runs done, the time left as soon as a first one is, and the last run done."""
        left = task.time_remaining if task.fields["done"] else task.fields["estimate"]
        time = "" if left is None else f", {duration_text(left)} left"
        return Text(f"{task.fields['done']}/{task.fields['count']}{time}: {task.description}")


class _CampaignSentence(bars.ProgressColumn):
    """1234 runs, 3 findings, 8 min left: configuration 17 x torch_lstm."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True, overflow="ellipsis", ratio=1))

    def render(self, task: bars.Task) -> Text:
        """The runs and findings so far, the time left where there is an end, and what came last."""
        state: State | None = task.fields["state"]
        if state is None:
            return Text(task.description)
        counts, minutes = state.counts, state.minutes
        words = [counted(counts.runs, "run"), counted(counts.findings, "finding")]
        if state.phase == "shrinking":
            words.append("making them small")
        elif minutes is not None:
            words.append(f"{duration_text(max(0.0, 60 * minutes - counts.seconds))} left")
        elif state.runs is not None and counts.runs:
            words.append(f"{duration_text(counts.seconds / counts.runs * max(0, state.runs - counts.runs))} left")
        return Text(f"{', '.join(words)}: {printable(state.last)}")


@contextmanager
def campaign_progress(console: Console, *, quiet: bool = False) -> Iterator[Callable[[State], None]]:
    """Show how far a campaign is while somebody watches: what takes its states."""
    shown = console.file.isatty() and not console.is_dumb_terminal and not quiet
    columns = (bars.SpinnerColumn(), bars.BarColumn(bar_width=20), _CampaignSentence())
    with bars.Progress(*columns, console=console, transient=True, disable=not shown, expand=True) as bar:
        task = bar.add_task("starting workers", total=None, state=None)

        def show(state: State) -> None:
            done, total = share_of(state)
            bar.update(task, completed=done, total=total, state=state)

        yield show


def share_of(state: State) -> tuple[float, float | None]:
    """How much of a campaign is done, of how much; of how much nobody knows where it has no end."""
    counts = state.counts
    if state.minutes is not None:
        return min(counts.seconds, 60 * state.minutes), 60 * state.minutes
    return (counts.seconds, None) if state.runs is None else (min(counts.runs, state.runs), state.runs)


@contextmanager
def progress(
    console: Console, count: int, *, weight: float | None = None, estimate: float | None = None, quiet: bool = False
) -> Iterator[bars.Progress]:
    """Show how many of so many runs are done, and how long the rest may take, while somebody watches.

    ``weight``: what the runs weigh together; as many as they are, if they are alike. ``estimate``: the seconds that are
    told before any is done.
    """
    # FORCE_COLOR makes no terminal of a pipe: nobody watches there.
    shown = console.file.isatty() and not console.is_dumb_terminal and not quiet
    columns = (bars.SpinnerColumn(), bars.BarColumn(bar_width=20), _Sentence())
    # Results come in bursts, framework by framework: the time left is that of the whole run, not of its last seconds.
    with bars.Progress(
        *columns, console=console, transient=True, disable=not shown, expand=True, speed_estimate_period=3600
    ) as bar:
        bar.add_task("starting frameworks", total=weight or count, count=count, done=0, estimate=estimate)
        yield bar


def advance(bar: bars.Progress, run: RunResult, weight: float = 1.0) -> None:
    """Move the progress bar on by one run."""
    (task,) = bar.tasks
    text = printable(f"{run.case} x {run.backend}").replace("\n", " ")
    bar.update(task.id, advance=weight, description=text, done=task.fields["done"] + 1)


def search(bar: bars.Progress, verdict: str) -> None:
    """Tell a verdict at once, and that its cause is looked for."""
    if not bar.disable:
        bar.console.print(verdict, markup=False, highlight=False, soft_wrap=True)


def look_for(bar: bars.Progress, words: str) -> None:
    """Tell what is looked for as the cause."""
    (task,) = bar.tasks
    bar.update(task.id, description=f"looking for the cause: {words}")
