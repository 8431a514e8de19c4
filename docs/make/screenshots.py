"""Pictures of the report: of the real one, made anew for every build of the site, light and dark."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCHEMES = ("light", "dark")
WIDTH, HEIGHT = 1100, 900

# Two reports: one of several backends, one of the loop that the tutorial begins with.
CASES = ("ones", "probe", "batch", "lengths", "layers", "reverse", "peepholes", "coupled", "gradients", "float16")
BACKENDS = ("numpy_loop", "torch_lstm", "jax_scan")
REPORTS = {
    "backends": ("run", *CASES, *(word for name in BACKENDS for word in ("--backend", name))),
    "loop": ("check", "cases/ports/broken_loop.py:port", "--case", "probe", "--case", "batch", "--case", "long"),
}


@dataclass(frozen=True)
class Picture:
    """Part of a report: what is opened, and the text at which the picture begins, else the top of the page."""

    report: str
    place: str = ""
    begins: str | None = None


PICTURES = {
    "overview": Picture("backends"),
    "case": Picture("loop", "#probe/port/1"),
    "curves": Picture("loop", "#probe/port/1", begins="Selected:"),
}


def take_screenshots(folder: Path) -> str | None:
    """Write ``NAME-light.png`` and ``NAME-dark.png`` of each picture into a folder.

    Returns:
        What is missing here to take them; None if they were taken.

    Raises:
        RuntimeError: If a report cannot be made.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return f"no Chromium here (looked for {', '.join(BROWSERS)}): install one, and build again."
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, words in REPORTS.items():
            _make_report(words, Path(scratch) / name)
        for scheme in SCHEMES:
            with _page(browser, scheme) as page:
                for name, picture in PICTURES.items():
                    page.goto("about:blank")  # else only the place in the page would change
                    page.goto(f"{(Path(scratch) / picture.report / 'index.html').as_uri()}{picture.place}")
                    page.wait_for_load_state("networkidle")
                    if picture.begins is not None:
                        begins = page.get_by_role("heading", name=picture.begins).first
                        begins.evaluate("element => element.scrollIntoView()")
                    page.screenshot(path=folder / f"{name}-{scheme}.png", animations="disabled")
    return None


def _make_report(words: tuple[str, ...], folder: Path) -> None:
    command = [sys.executable, "-m", "lockstep", *words, "--html", str(folder)]
    done = subprocess.run(  # noqa: S603 (our own command)
        command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if not (folder / "index.html").exists():
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")


@contextmanager
def _page(browser: str, scheme: str) -> Iterator[Page]:
    from playwright.sync_api import sync_playwright

    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    arguments = ["--no-sandbox"] if as_root else []  # Chromium has no sandbox for root
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=arguments)
        size = {"width": WIDTH, "height": HEIGHT}
        yield opened.new_page(viewport=size, color_scheme=scheme, device_scale_factor=1.5)  # type: ignore[arg-type]
        opened.close()
