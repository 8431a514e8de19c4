"""Whether a built site is whole: every link and picture leads somewhere, and nothing is fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser loads by itself, and so must lie in the site; anything else is a link that a reader follows.
LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
# These say where a page lives, and are not loaded.
NOT_LOADED = {"canonical", "next", "prev", "alternate", "author"}


@dataclass
class Page:
    """The links of a page, and the places in it that can be linked to."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.page.anchors |= {found[name] for name in ("id", "name") if name in found}
        for name in ("href", "src"):
            if name not in found or (tag == "link" and found.get("rel") in NOT_LOADED):
                continue
            (self.page.loaded if (tag, name) in LOADED else self.page.links).append(found[name])


def broken_links(site: Path) -> list[str]:
    """Each link that leads nowhere, and each thing that a page loads from elsewhere, with its page."""
    pages = {path.resolve(): read_page(path) for path in sorted(site.rglob("*.html"))}
    return [
        f"{path.relative_to(site.resolve())}: {problem}"
        for path, page in pages.items()
        if path.name != "404.html"  # its links are absolute: it is shown at any place
        for problem in _problems(path, page, pages)
    ]


def read_page(path: Path) -> Page:
    """Read the links and anchors of one page."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def _problems(path: Path, page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    for link in page.loaded:
        if urlsplit(link).netloc:
            yield f"{link} is loaded from elsewhere"
    for link in [*page.loaded, *page.links]:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.exists():
            yield f"{link} leads nowhere"
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
            yield f"{link}: no such place in that page"
