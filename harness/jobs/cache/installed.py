"""What is installed: the versions of packages and of all that these require, without importing any."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@cache
def versions_of(packages: frozenset[str]) -> dict[str, str] | None:
    """Versions by distribution: of these packages, by import name, and of what they require, directly or not.

    None if a package was not installed as a distribution: nobody knows its version then.
    """
    versions: dict[str, str] = {}
    for package in packages:
        found = distribution_of(package)
        if found is None:
            return None
        waiting = [found]
        while waiting:
            current = waiting.pop()
            name = _plain(current.metadata["Name"])
            if name not in versions:
                versions[name] = current.version
                waiting += [needed for needed in map(_distribution, _required(name)) if needed is not None]
    return versions


def distribution_of(package: str) -> Distribution | None:
    """The distribution that brings a package, by the name under which it is imported; None if none does."""
    # Most are called as they are imported; reading the files of all distributions takes a second.
    return _distribution(package) or next(map(_distribution, _by_package().get(package, [])), None)


@cache
def _by_package() -> dict[str, list[str]]:
    return {package: list(names) for package, names in packages_distributions().items()}


@cache
def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except (PackageNotFoundError, ValueError):
        return None


@cache
def _required(name: str) -> list[str]:
    """The names of what a distribution requires; what it requires for an extra may be there for other reasons."""
    found = _distribution(name)
    lines = (found.requires or []) if found is not None else []
    names = (_NAME.match(line) for line in lines if "extra ==" not in line)
    return [_plain(match.group()) for match in names if match is not None]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
