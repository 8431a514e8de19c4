"""Pictures of the report: of the real one, light and dark.

Those of the pages are made anew for every build of the site. That of the README and the start page is kept in
docs/assets: ``python docs/make/screenshots.py`` takes it again.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Locator, Page

ROOT = Path(__file__).resolve().parents[2]
# The shell has neither windows nor profiles: a page costs it a third of the time.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SCHEMES = ("light", "dark")
WIDTH, HEIGHT, MARGIN = 1100, 900, 6

# One report of several backends, and two of the loop that the tutorial begins with.
CASES = ("ones", "probe", "batch", "lengths", "layers", "reverse", "peepholes", "coupled", "gradients", "float16")
BACKENDS = ("numpy_loop", "torch_lstm", "jax_scan")
LOOP = "cases/ports/broken_loop.py:port"
REPORTS = {
    "backends": ("run", *CASES, *(word for name in BACKENDS for word in ("--backend", name))),
    "loop": ("check", LOOP, "--case", "probe", "--case", "batch", "--case", "long"),
    "report": ("check", LOOP),
}


@dataclass(frozen=True)
class Picture:
    """Part of a report: what is opened, the heading to begin at, and that of the section to end with."""

    report: str
    place: str = ""
    begins: str | None = None  # the top of the page
    ends: str | None = None  # the bottom of the window


PICTURES = {
    "overview": Picture("report", ends="Layers: port"),
    "table": Picture("backends", begins="Cases and backends", ends="Cases and backends"),
    "case": Picture("loop", "#probe/port/1"),
    "curves": Picture("loop", "#probe/port/1", begins="Selected:"),
}


LANDING = Picture("report", ends="What is wrong, by cause")

# Chromium writes WebP too, a third of a PNG's size; Playwright itself does not.
AS_WEBP = """async png => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    canvas.getContext("2d").drawImage(image, 0, 0);
    const webp = await canvas.convertToBlob({type: "image/webp", quality: 0.8});
    return new Promise(done => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result.split(",")[1]);
        reader.readAsDataURL(webp);
    });
}"""


def take_screenshots(folder: Path) -> str | None:
    """Write ``NAME-light.png`` and ``NAME-dark.png`` of each picture of the pages into a folder.

    Returns:
        What is missing here to take them; None if they were taken.

    Raises:
        RuntimeError: If a report cannot be made.
    """
    return _take(PICTURES, lambda name, png, page: (folder / f"{name}.png").write_bytes(png), folder)


def take_landing_picture(folder: Path) -> str | None:
    """Write ``report-light.webp`` and ``report-dark.webp`` into a folder; returns and raises as `take_screenshots`."""

    def write(name: str, png: bytes, page: Page) -> None:
        webp = page.evaluate(AS_WEBP, base64.b64encode(png).decode())
        (folder / f"{name}.webp").write_bytes(base64.b64decode(webp))

    return _take({"report": LANDING}, write, folder)


def _take(pictures: dict[str, Picture], write: Callable[[str, bytes, Page], object], folder: Path) -> str | None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return f"no Chromium here (looked for {', '.join(BROWSERS)}): install one, and build again."
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(ROOT / "cases" / "ports", Path(scratch) / "cases" / "ports")
        for name in {picture.report for picture in pictures.values()}:
            _make_report(REPORTS[name], Path(scratch) / name)
        for scheme in SCHEMES:
            with _page(browser, scheme) as page:
                for name, picture in pictures.items():
                    page.goto("about:blank")  # else only the place in the page would change
                    page.goto(f"{(Path(scratch) / picture.report / 'index.html').as_uri()}{picture.place}")
                    page.wait_for_load_state("networkidle")
                    write(f"{name}-{scheme}", _shot(page, picture), page)
    return None


def _shot(page: Page, picture: Picture) -> bytes:
    if picture.ends is None:
        if picture.begins is not None:
            _heading(page, picture.begins).evaluate("element => element.scrollIntoView()")
        return page.screenshot(animations="disabled")
    first, last = (_section(page, heading) if heading else None for heading in (picture.begins, picture.ends))
    assert last is not None
    top = first["y"] - MARGIN if first else 0
    clip: FloatRect = {"x": 0, "y": top, "width": WIDTH, "height": last["y"] + last["height"] + MARGIN - top}
    return page.screenshot(animations="disabled", clip=clip, full_page=True)


def _heading(page: Page, name: str) -> Locator:
    return page.get_by_role("heading", name=name).first


def _section(page: Page, heading: str) -> FloatRect:
    box = _heading(page, heading).locator("xpath=ancestor::section[1]").bounding_box()
    if box is None:
        raise RuntimeError(f"the report shows no section {heading!r}")
    return box


def _make_report(words: tuple[str, ...], folder: Path) -> None:
    # Where it is run: its header shows the command.
    command = [sys.executable, "-m", "lockstep", *words, "--html", folder.name]
    done = subprocess.run(  # noqa: S603 (our own command)
        command,
        cwd=folder.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
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


if __name__ == "__main__":
    sys.exit(take_landing_picture(ROOT / "docs" / "assets"))
