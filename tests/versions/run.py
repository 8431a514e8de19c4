"""Record every version of the table in an environment of its own, and compare them; ``--list`` shows the table."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from environments import Places, RowError, build, failures, is_recorded, record, remove
from rows import TABLE, Row, choose, load_rows

if TYPE_CHECKING:
    from lockstep.harness.jobs.versions import Pairs

NOTHING, APART, WRONG, FAILED = 0, 1, 2, 3  # exit statuses


def main() -> int:
    """Do what is asked for."""
    options = _options()
    rows = load_rows(options.table)
    try:
        chosen = choose(rows, options.names)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return WRONG
    if options.list:
        _show_table(rows)
    elif options.remove:
        for row in chosen if options.names else rows:
            if remove(row):
                print(f"Removed {Places.of(row).house}.")
    else:
        return _record_and_compare(rows, chosen, options)
    return NOTHING


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "names", nargs="*", metavar="ROW", help="rows or frameworks; else all but those to be asked for"
    )
    parser.add_argument("--list", action="store_true", help="show the table, and what of it is there")
    parser.add_argument(
        "--remove", action="store_true", help="remove environments, not what was recorded; build nothing"
    )
    parser.add_argument("--discard", action="store_true", help="remove each environment once its row is recorded")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was compared to this file")
    parser.add_argument("--table", type=Path, default=TABLE, metavar="FILE", help="another table")
    return parser.parse_args()


def _record_and_compare(rows: list[Row], chosen: list[Row], options: argparse.Namespace) -> int:
    """Record what is not recorded yet, one row after the other, and hold each framework's rows against its first."""
    failed = {row.name: reason for row in chosen if (reason := _recorded(row, discard=options.discard))}
    done = [row for row in chosen if row.name not in failed]
    compared = _compared(rows, done)
    _tell_failures(failed, done)
    if options.json:
        from lockstep.harness.output.write_results import write_json

        write_json({"format": 1, "compared": compared, "failed": failed}, options.json)
    if failed:
        return FAILED
    return NOTHING if all(pairs.agree for pairs in compared.values()) else APART


def _recorded(row: Row, *, discard: bool) -> str | None:
    """Build and record a row, if that has not been done; say why it failed."""
    if is_recorded(row):
        return None
    started = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{row.name}, {time.monotonic() - started:.0f} s: {text}\n")

    say(f"installing {' '.join(row.packages)}")
    try:
        build(row)
        say("recording")
        record(row)
        say("done")
    except RowError as error:
        say("failed")
        return str(error)
    finally:
        if discard:
            remove(row)
    return None


def _compared(rows: list[Row], done: list[Row]) -> dict[str, Pairs]:
    """Compare each recorded row with the first of its framework that is recorded, and tell it."""
    from rich.console import Console

    from lockstep.harness.jobs.versions import hold_against
    from lockstep.harness.output.tables.versions_table import show_pairs

    compared: dict[str, Pairs] = {}
    for framework in dict.fromkeys(row.framework for row in done):
        first, *others = [row for row in rows if row.framework == framework and (row in done or is_recorded(row))]
        print(f"\n{framework}: {', '.join(row.version for row in (first, *others))} recorded")
        for row in others:
            if row not in done and first not in done:
                continue
            pairs, errors = hold_against(Places.of(first).recording, Places.of(row).recording)
            show_pairs(Console(), pairs)
            for error in errors:
                print(error)
            compared[f"{first.name} against {row.name}"] = pairs
    return compared


def _tell_failures(failed: dict[str, str], done: list[Row]) -> None:
    """Say what a row could not build, or not record, and why."""
    for row in done:
        for line in failures(row):
            print(f"{row.name}: {line}")
    for name, reason in failed.items():
        print(f"\n{name} failed, which costs only this row:\n  " + reason.replace("\n", "\n  "))


def _show_table(rows: list[Row]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column in ("row", "installs", "state"):
        table.add_column(column, overflow="fold")
    for row in rows:
        installed = " ".join(row.packages) + (f"\n{row.note}" if row.note else "")
        table.add_row(row.name, installed, _state(row))
    Console(highlight=False).print(table)


def _state(row: Row) -> str:
    built = "environment there" if Places.of(row).built.exists() else ""
    recorded = "recorded" if is_recorded(row) else "when named" if row.asked else ""
    return ", ".join(filter(None, (recorded, built)))


if __name__ == "__main__":
    sys.exit(main())
