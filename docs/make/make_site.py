"""Build the documentation site: put its pages together in build/docs, render them into build/site, check every link.

Pages that the code knows best (commands, case files, results, the catalogue of faults) are made here, so that none goes
stale; pictures of the report are taken of the real one. ``nox -s docs`` runs this after the docs' commands.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from case_page import case_page
from catalogue_page import catalogue_page
from commands_page import commands_page
from links import broken_links
from results_page import results_page
from screenshots import PICTURES, take_screenshots

ROOT = Path(__file__).resolve().parents[2]

GENERATED: dict[str, Callable[[], str]] = {
    "catalogue.md": catalogue_page,
    "reference/commands.md": commands_page,
    "reference/case-files.md": case_page,
    "reference/results.md": results_page,
}


def main() -> int:
    """Build the site; 0 if it is whole."""
    parser = argparse.ArgumentParser(description="Build the documentation site into build/site.")
    parser.add_argument("--quick", action="store_true", help="no pictures")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="folder for docs/ and site/")
    options = parser.parse_args()
    pages, site = options.out / "docs", options.out / "site"
    assemble(ROOT / "docs", pages)
    missing = None if options.quick else take_screenshots(pages / "pictures")
    if options.quick or missing:
        leave_out_pictures(pages)
    problems = render(ROOT / "mkdocs.yml", pages, site) or broken_links(site)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"The site: {site / 'index.html'}")
    if missing:
        print(f"Without pictures of the report: {missing}")
    return 1 if problems else 0


def assemble(source: Path, pages: Path) -> None:
    """Copy the written pages, and make the generated ones.

    Args:
        source: The folder with the written pages.
        pages: Where all of them go; emptied first.
    """
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(source, pages, ignore=lambda folder, names: {"make"} if Path(folder) == source else set())
    for name, make in GENERATED.items():
        path = pages / name
        if path.exists():
            raise FileExistsError(f"docs/{name} is generated, and a written page has its place")
        path.parent.mkdir(exist_ok=True)
        path.write_text(make(), encoding="utf-8")
    compare = pages / "compare.md"
    if compare.exists():
        compare.write_text(with_sections_of_the_readme(compare.read_text(encoding="utf-8")), encoding="utf-8")


def with_sections_of_the_readme(page: str) -> str:
    """A page with the table of a section of the README in the place of each ``<!-- README: Its title -->``."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    def table(match: re.Match[str]) -> str:
        section = readme.partition(f"\n## {match[1]}\n")[2].partition("\n## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("|")]
        if not rows:
            raise ValueError(f"the README has no section {match[1]!r} with a table")
        return "\n".join(rows)

    return re.sub(r"<!-- README: (.+?) -->", table, page)


def leave_out_pictures(pages: Path) -> None:
    """Take the lines that show pictures of the report out of the pages: there are none."""
    for path in pages.rglob("*.md"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not any(f"pictures/{name}" in line for name in PICTURES)]
        path.write_text("".join(kept), encoding="utf-8")


def render(configuration: Path, pages: Path, site: Path) -> list[str]:
    """Render pages into a site, and give what was wrong: strictly, a warning is an error.

    Args:
        configuration: The file that says how.
        pages: The folder with all pages.
        site: Where to; emptied first, and beside ``pages``.
    """
    shutil.rmtree(site, ignore_errors=True)
    text = configuration.read_text(encoding="utf-8")
    # Zensical takes folders relative to the file that names them.
    for place, folder in (
        ("docs_dir: build/docs", f"docs_dir: {pages.name}"),
        ("site_dir: build/site", f"site_dir: {site.name}"),
        ("paths: [.]", f"paths: [{ROOT}]"),
    ):
        assert place in text, place
        text = text.replace(place, folder)
    own = pages.parent / "mkdocs.yml"
    own.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", str(own)]
    environment = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(  # noqa: S603 (our own command)
        command, cwd=pages.parent, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    for page in site.rglob("*.html"):
        _search_from_disk(page, site)
    # Zensical ends an unsuccessful build with a traceback of its own.
    return [] if done.returncode == 0 else [(done.stdout + done.stderr).partition("\nTraceback")[0]]


# Zensical lets pages that are opened from disk fetch this from elsewhere; docs/assets has it.
SHIM = "https://unpkg.com/iframe-worker/shim"


def _search_from_disk(page: Path, site: Path) -> None:
    """Let a page take what its search needs from the site."""
    own = os.path.relpath(site / "assets" / "iframe-worker.js", page.parent)
    page.write_text(page.read_text(encoding="utf-8").replace(SHIM, Path(own).as_posix()), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
