"""Every chore of the project. ``nox --list`` is the manual.

All sessions but ``wheel`` share one virtual environment, so that the frameworks are installed once. nox makes an
environment for each session, and cannot share one: so these sessions have none of nox's, and use ``.venv``.
"""

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["diff"]

ROOT = Path(__file__).parent
HOUSE = ROOT / ".venv"
BIN = HOUSE / ("Scripts" if os.name == "nt" else "bin")
CONSTRAINTS = ROOT / "constraints.txt"

shared = nox.session(venv_backend="none")


def furnish(session: nox.Session) -> None:
    """Bring the shared environment to the pinned versions, if anything has changed since it was last done."""
    session.env["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    session.env["VIRTUAL_ENV"] = str(HOUSE)
    wanted = hashlib.sha256(CONSTRAINTS.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = HOUSE / "furnished"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if not BIN.exists():
        session.run(sys.executable, "-m", "venv", str(HOUSE), external=True)
    python, project = str(BIN / "python"), f"{ROOT}[all,dev]"
    session.log("installing into .venv what constraints.txt pins: some minutes the first time")
    session.run(python, "-m", "pip", "install", "--quiet", "-c", str(CONSTRAINTS), "-e", project, external=True)
    stamp.write_text(wanted)


@shared
def diff(session: nox.Session) -> None:
    """The main job: all shipped cases (or those after --) through all backends, a table, a report in build/report."""
    furnish(session)
    outputs = ["--html", "build/report", "--json", "build/report/results.json"]
    session.run("lockstep", "run", *session.posargs, *outputs, external=True)


@shared
def tests(session: nox.Session) -> None:
    """The test suite; arguments after -- go to pytest instead of "-n 2 --dist loadgroup -q"."""
    furnish(session)
    session.run("pytest", *(session.posargs or ["-n", "2", "--dist", "loadgroup", "-q"]), external=True)


@shared
def lint(session: nox.Session) -> None:
    """Format, style, types, and who imports whom."""
    furnish(session)
    for command in (["ruff", "format", "--check", "."], ["ruff", "check", "."], ["pyright"], ["lint-imports"]):
        session.run(*command, external=True)


@shared
def bench(session: nox.Session) -> None:
    """Speed and memory, as ratios within one run; names after -- choose parts, --list shows them."""
    furnish(session)
    session.run("python", "tests/bench/run.py", *session.posargs, external=True)


@nox.session
def wheel(session: nox.Session) -> None:
    """The wheel: built, installed into an empty environment, and used there, away from the checkout."""
    session.install("--quiet", "-c", str(CONSTRAINTS), "build")
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "build", "--wheel", "--outdir", folder, silent=True)
        (built,) = Path(folder).glob("*.whl")
        session.run("python", "-m", "venv", f"{folder}/empty")
        binaries = Path(folder) / "empty" / BIN.name
        pip = [str(binaries / "python"), "-m", "pip", "install", "--quiet", "-c", str(CONSTRAINTS), str(built)]
        session.run(*pip, external=True)
        with session.chdir(folder):
            lockstep = str(binaries / "lockstep")
            session.run(lockstep, "cases", external=True)
            outputs = ["--json", "report/results.json", "--html", "report"]
            session.run(lockstep, "run", "ones", "probe", *outputs, external=True)
            session.run(lockstep, "compare", "report/results.json", external=True)
