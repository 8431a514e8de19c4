"""How far a command is and how long the rest may take, on a terminal that somebody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lockstep.harness.text import counted, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task
    from rich.text import Text

    from lockstep.harness.comparison.results import RunResult
    from lockstep.harness.jobs.campaign.search import State


def _sentence(task: Task) -> str:
    """251/675, 8 min left: saturated x tf_function. The time left is told as soon as a first run is done."""
    from lockstep.harness.jobs.durations import duration_text

    left = task.time_remaining if task.fields["done"] else task.fields["estimate"]
    time = "" if left is None else f", {duration_text(left)} left"
    return f"{task.fields['done']}/{task.fields['count']}{time}: {task.description}"


def _campaign_sentence(task: Task) -> str:
    """1234 runs, 3 findings, 8 min left: configuration 17 x torch_lstm. Time is left where there is an end."""
    from lockstep.harness.jobs.durations import duration_text

    state: State | None = task.fields["state"]
    if state is None:
        return task.description
    counts, minutes = state.counts, state.minutes
    words = [counted(counts.runs, "run"), counted(counts.findings, "finding")]
    if state.phase == "shrinking":
        words.append("making them small")
    elif minutes is not None:
        words.append(f"{duration_text(max(0.0, 60 * minutes - counts.seconds))} left")
    elif state.runs is not None and counts.runs:
        words.append(f"{duration_text(counts.seconds / counts.runs * max(0, state.runs - counts.runs))} left")
    return f"{', '.join(words)}: {printable(state.last)}"


@contextmanager
def _drawn(
    console: Callable[[], Console], sentence: Callable[[Task], str], *, quiet: bool, period: float = 30.0
) -> Iterator[Progress | None]:
    """A bar beside a sentence, or None where nobody watches: the library that draws it takes longer than a small run.

    ``period``: the seconds whose speed tells the time left.
    """
    # FORCE_COLOR makes no terminal of a pipe: nobody watches there.
    terminal = None if quiet else console()
    if terminal is None or not terminal.file.isatty() or terminal.is_dumb_terminal:
        yield None
        return
    from rich import progress as bars
    from rich.table import Column
    from rich.text import Text

    class Sentence(bars.ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(sentence(task))

    # A long name is cut, and moves nothing beside it.
    cut = Sentence(Column(no_wrap=True, overflow="ellipsis", ratio=1))
    columns = (bars.SpinnerColumn(), bars.BarColumn(bar_width=20), cut)
    with bars.Progress(*columns, console=terminal, transient=True, expand=True, speed_estimate_period=period) as bar:
        yield bar


@contextmanager
def campaign_progress(console: Callable[[], Console], *, quiet: bool = False) -> Iterator[Callable[[State], None]]:
    """Show how far a campaign is while somebody watches: what takes its states."""
    with _drawn(console, _campaign_sentence, quiet=quiet) as bar:
        task = None if bar is None else bar.add_task("starting workers", total=None, state=None)

        def show(state: State) -> None:
            if bar is not None and task is not None:
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
    console: Callable[[], Console],
    count: int,
    *,
    weight: float | None = None,
    estimate: float | None = None,
    quiet: bool = False,
) -> Iterator[Progress | None]:
    """Show how many of so many runs are done, and how long the rest may take, while somebody watches.

    ``weight``: what the runs weigh together; as many as they are, if they are alike. ``estimate``: the seconds that are
    told before any is done.
    """
    # Results come in bursts, framework by framework: the time left is that of the whole run, not of its last seconds.
    with _drawn(console, _sentence, quiet=quiet, period=3600) as bar:
        if bar is not None:
            bar.add_task("starting frameworks", total=weight or count, count=count, done=0, estimate=estimate)
        yield bar


def advance(bar: Progress | None, run: RunResult, weight: float = 1.0) -> None:
    """Move the progress bar on by one run."""
    if bar is None:
        return
    (task,) = bar.tasks
    text = printable(f"{run.case} x {run.backend}").replace("\n", " ")
    bar.update(task.id, advance=weight, description=text, done=task.fields["done"] + 1)


def search(bar: Progress | None, verdict: str) -> None:
    """Tell a verdict at once, and that its cause is looked for."""
    if bar is not None:
        bar.console.print(verdict, markup=False, highlight=False, soft_wrap=True)


def look_for(bar: Progress | None, words: str) -> None:
    """Tell what is looked for as the cause."""
    if bar is not None:
        (task,) = bar.tasks
        bar.update(task.id, description=f"looking for the cause: {words}")
