"""Every chore of the project. ``nox --list`` is the manual.

All sessions but ``wheel`` and ``fleet`` share one virtual environment, so that the frameworks are installed once. nox
makes an environment for each session, and cannot share one: so these sessions have none of nox's, and use ``.venv``;
``fleet``, which has every framework, uses ``.venvs/fleet``.
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
FLEET = ROOT / ".venvs" / "fleet"
PROGRAMS = "Scripts" if os.name == "nt" else "bin"
CONSTRAINTS = ROOT / "constraints.txt"
SELDOM_IMPORTED = r"[/\\](tests|_inductor|_internal)[/\\]"  # a fifth of what there is to compile

shared = nox.session(venv_backend="none")


# The main job compares the frameworks that the main environment has, one way each; `nox -s fleet` runs all there are.
MAIN = (
    "numpy_loop", "tf_loop", "tf_static_rnn", "tf_dynamic_rnn", "torch_lstm", "jax_scan",
    "numpy_attention", "tf_attention_reuse", "tf_attention_cell", "torch_attention", "jax_attention",
)  # fmt: skip


def furnish(session: nox.Session, house: Path = HOUSE, extras: str = "all,dev") -> Path:
    """Bring an environment to the pinned versions, if they have changed; the folder of its programs."""
    programs = house / PROGRAMS
    wanted = hashlib.sha256(CONSTRAINTS.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    furnished = house / "furnished"
    if not furnished.exists() or furnished.read_text() != wanted:
        session.log(f"installing into {house.name} what constraints.txt pins: some minutes the first time")
        session.run(sys.executable, "-m", "venv", str(house), external=True)
        python = str(programs / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--no-compile", "-c", str(CONSTRAINTS)]
        session.run(*pip, "-e", f"{ROOT}[{extras}]", external=True)
        # pip compiles one file after the other, frameworks have ten thousands; some are templates and do not compile.
        library = str(house / ("Lib" if os.name == "nt" else "lib"))
        compile_all = [python, "-m", "compileall", "-qq", "-j", "0", "-x", SELDOM_IMPORTED, library]
        session.run(*compile_all, external=True, success_codes=[0, 1], silent=True)
        furnished.write_text(wanted)
    return programs


def run(session: nox.Session, program: str, *arguments: str, house: Path = HOUSE, extras: str = "all,dev") -> None:
    """Run a program of an environment, after bringing that to the pinned versions if they have changed."""
    programs = furnish(session, house, extras)
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(house),
        # Tests start us a hundred times: what is compiled is kept, whatever is usual here.
        "PYTHONDONTWRITEBYTECODE": "",
    }
    session.run(str(programs / program), *arguments, external=True, env=environment)


@shared
def install(session: nox.Session) -> None:
    """The environment that all others share, and nothing else: so that several can be run side by side."""
    furnish(session)


@shared
def diff(session: nox.Session) -> None:
    """The main job: all shipped cases (or those after --) through the main backends; a report in build/report."""
    outputs = ["--html", "build/report", "--json", "build/report/results.json"]
    backends = [word for name in MAIN for word in ("--backend", name)]
    run(session, "lockstep", "run", *session.posargs, *backends, *outputs)


@shared
def fleet(session: nox.Session) -> None:
    """All shipped cases (or those after --) through every backend there is, in .venvs/fleet; report in build/fleet."""
    outputs = ["--html", "build/fleet", "--json", "build/fleet/results.json"]
    run(session, "lockstep", "run", *session.posargs, "--all", "--jobs", "2", *outputs, house=FLEET, extras="fleet,dev")


@shared
def contract(session: nox.Session) -> None:
    """Contract, edges, findings, ONNX attributes of the fleet's backends, in .venvs/fleet; arguments go to pytest."""
    of_backends = [f"tests/backends/test_{name}.py" for name in ("contract", "edges", "findings", "onnx_attributes")]
    wanted = [*of_backends, "tests/harness/diagnosis/anatomy/test_anatomy.py"]
    options = ["-m", "slow or not slow", "-n", "2", "--dist", "loadgroup", "-q", *session.posargs]
    run(session, "pytest", *wanted, *options, house=FLEET, extras="fleet,dev")


@shared
def search(session: nox.Session) -> None:
    """A campaign over the fleet in build/search, resumed if there is one: --minutes M, --runs N, --backend NAME."""
    folder = "build/search"
    going = ["--resume"] if Path(folder, "journal.sqlite").exists() else []
    every = [] if going or "--backend" in session.posargs else ["--all"]
    run(
        session,
        "lockstep",
        "search",
        "--out",
        folder,
        *going,
        *every,
        *session.posargs,
        house=FLEET,
        extras="fleet,dev",
    )


@shared
def tests(session: nox.Session) -> None:
    """The test suite; arguments after -- go to pytest instead of "-n 2 --dist loadgroup -q"."""
    run(session, "pytest", *(session.posargs or ["-n", "2", "--dist", "loadgroup", "-q"]))


@shared
def slow(session: nox.Session) -> None:
    """What needs more time: every fault planted and named, slow starts, each searched property over 100 examples."""
    wanted = ["-m", "(slow or hypothesis) and not contract", "--hypothesis-profile", "earnest"]
    run(session, "pytest", *wanted, "-n", "2", "--dist", "loadgroup", "-q", "-rPx", *session.posargs)


@shared
def proof(session: nox.Session) -> None:
    """The proof of the limit: 5,000 random networks through every backend; --write docs/noise.md keeps the tables."""
    backends = [word for name in MAIN for word in ("--backend", name)]
    run(session, "python", "tests/proof/agreement.py", *backends, *session.posargs)


@shared
def quantised(session: nox.Session) -> None:
    """The proof of the noise of int8 and float16 kernels, in .venvs/fleet; --write docs/noise.md keeps the tables."""
    run(session, "python", "tests/proof/quantised.py", *session.posargs, house=FLEET, extras="fleet,dev")


@shared
def causes(session: nox.Session) -> None:
    """How well causes are found: mistakes drawn over all forms; --runs, --kind, --form; --publish writes the page."""
    run(session, "python", "tests/proof/causes.py", *session.posargs)


@shared
def interpreters(session: nox.Session) -> None:
    """The interpreter of causes against the reference, 5,000 random problems of each form; --runs, --form, --jobs."""
    run(session, "python", "tests/proof/interpreters.py", *session.posargs)


@shared
def lint(session: nox.Session) -> None:
    """Format, style, types, and who imports whom."""
    for command in (["ruff", "format", "--check", "."], ["ruff", "check", "."], ["pyright"], ["lint-imports"]):
        run(session, *command)


@shared
def bench(session: nox.Session) -> None:
    """Speed and memory, as ratios within one run; names after -- choose parts, --list shows them.

    The part "fleet", every backend by itself, is measured in .venvs/fleet.
    """
    everything = {"house": FLEET, "extras": "fleet,dev"} if "fleet" in session.posargs else {}
    run(session, "python", "tests/bench/run.py", *session.posargs, **everything)


@shared
def versions(session: nox.Session) -> None:
    """Other versions of the frameworks, recorded one by one and compared; names after -- choose, --list shows them."""
    run(session, "python", "tests/versions/run.py", *session.posargs)


@shared
def onnx2tf(session: nox.Session) -> None:
    """The environment .venvs/onnx2tf for `lockstep export --onnx2tf .venvs/onnx2tf`: that program pins old packages."""
    house = ROOT / ".venvs" / "onnx2tf"
    session.run(sys.executable, "-m", "venv", str(house), external=True)
    session.run(str(house / PROGRAMS / "python"), "-m", "pip", "install", "--quiet", "onnx2tf==1.29.24", external=True)


@shared
def docs(session: nox.Session) -> None:
    """The site in build/site, after running what its pages show; --quick after -- only builds, without pictures."""
    if "--quick" not in session.posargs:
        run(session, "pytest", "tests/docs", "-m", "slow or not slow", "-n", "2", "-q")
    run(session, "python", "docs/make/make_site.py", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """The wheel: built, installed into an empty environment, and used there, away from the checkout."""
    session.install("--quiet", "-c", str(CONSTRAINTS), "build")
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "build", "--wheel", "--outdir", folder, silent=True)
        (built,) = Path(folder).glob("*.whl")
        session.run("python", "-m", "venv", f"{folder}/empty")
        binaries = Path(folder) / "empty" / PROGRAMS
        pip = [str(binaries / "python"), "-m", "pip", "install", "--quiet", "-c", str(CONSTRAINTS), str(built)]
        session.run(*pip, external=True)
        with session.chdir(folder):
            lockstep = str(binaries / "lockstep")
            session.run(lockstep, "cases", external=True)
            # Nothing but lockstep is installed: a project's own packages of these names are its own.
            parts = ["harness", "backends", "cases", "reports"]
            alone = f"from importlib.util import find_spec; assert not any(map(find_spec, {parts}))"
            session.run(str(binaries / "python"), "-I", "-c", alone, external=True)
            session.run(str(binaries / "python"), "-m", "lockstep", "--version", external=True)
            outputs = ["--json", "report/results.json", "--html", "report"]
            session.run(lockstep, "run", "ones", "probe", *outputs, external=True)
            session.run(lockstep, "compare", "report/results.json", external=True)
