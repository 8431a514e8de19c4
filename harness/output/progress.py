"""How far a command is and how long the rest may take, on a terminal that somebody watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import progress as bars
from rich.console import Console
from rich.table import Column
from rich.text import Text

from lockstep.harness.jobs.durations import duration_text
from lockstep.harness.text import printable

if TYPE_CHECKING:
    from lockstep.harness.comparison.results import RunResult


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
