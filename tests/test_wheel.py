"""The wheel installs ``lockstep`` and nothing beside it: it leaves a project's own packages alone."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from lstm_cases import make_case
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lockstep.harness.jobs.campaign.failures.shrink import shrink
from lockstep.harness.jobs.campaign.failures.sorting import Sorting
from lockstep.harness.jobs.campaign.hands import Hands, SharedProblems
from lockstep.harness.jobs.campaign.journal import Journal
from lockstep.harness.jobs.campaign.run_unit import run_problem
from lockstep.harness.jobs.campaign.unit import Campaign, TargetWords, UnitResult
from lockstep.harness.jobs.findings import findings
from lockstep.harness.output.messages import text_of

ROOT = Path(__file__).parents[1]
PARTS = ("backends", "cases", "harness", "reports")  # folders of this repository, and names that any project may use


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling", reason="install the extra dev: hatchling builds the wheel")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_nothing_but_lockstep_is_at_the_top(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lockstep"}
    # Links of the repository are folders in the wheel.
    assert {f"lockstep/{part}/__init__.py" for part in PARTS} <= set(names)
    assert "lockstep/cases/ones.toml" in names
    assert {f"lockstep/cases/ports/lstm.{ending}" for ending in ("c", "rs", "js")} <= set(names)


def environment_with(wheel, folder):
    """Make an environment in which the wheel is installed; give its interpreter and its folder of packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    program = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([program, "-c", ask], check=True, capture_output=True, text=True).stdout.strip())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", str(site), str(wheel)], check=True)
    return program, site


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """An interpreter in which the wheel is installed, and no development install."""
    program, site = environment_with(wheel, tmp_path_factory.mktemp("environment"))
    # The dependencies are those of this environment. A path in a .pth file comes last, and .pth files of the folder
    # it names are not read: so the development install, which is such a file, is not seen.
    site.joinpath("dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return program


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory):
    """An interpreter in which the wheel is installed with what it requires, and no framework."""
    program, site = environment_with(wheel, tmp_path_factory.mktemp("bare"))
    install(required("lockstep-rnn"), site)
    return program


def install(names, site):
    """Have distributions of this environment in another one too."""
    here = Path(sysconfig.get_path("purelib"))
    for name in names:
        for top in {file.parts[0] for file in distribution(name).files or () if file.parts[0] != ".."}:
            if not (site / top).exists():
                (site / top).symlink_to(here / top)


def required(name, known=()):
    """Name the distributions that one requires, and those that these require."""
    known = set(known)
    for requirement in map(Requirement, distribution(name).requires or ()):
        wanted = canonicalize_name(requirement.name)
        if wanted not in known and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            known |= required(wanted, known | {wanted}) | {wanted}
    return known


@pytest.fixture
def project(tmp_path):
    """A project whose packages are called as the parts of this one."""
    for part in PARTS:
        tmp_path.joinpath(part).mkdir()
        tmp_path.joinpath(part, "__init__.py").write_text(f'OWNER = "the project, {part}"\n')
    tmp_path.joinpath("harness", "errors.py").write_text("MINE = True\n")
    tmp_path.joinpath("test_mine.py").write_text(
        "import backends, cases, harness, reports\n"
        "from harness.errors import MINE\n"
        "from lockstep import Results\n\n\n"
        "def test_packages_are_the_projects_own():\n"
        "    assert MINE\n"
        "    packages = backends, cases, harness, reports\n"
        "    assert all(package.OWNER == f'the project, {package.__name__}' for package in packages)\n\n\n"
        "def test_a_port(lockstep):\n"
        "    def port(x, weights, h0, c0, lengths=None):\n"
        "        import numpy as np\n\n"
        "        h, c, hs, cs = h0, c0, [], []\n"
        "        for x_t in x:\n"
        "            z = x_t @ weights['W'].T + h @ weights['R'].T + weights['b']\n"
        "            i, f, g, o = np.split(z, 4, axis=-1)\n"
        "            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))\n"
        "            h = np.tanh(c) / (1 + np.exp(-o))\n"
        "            hs.append(h), cs.append(c)\n"
        "        return np.stack(hs), np.stack(cs)\n\n"
        "    assert lockstep.check(port, case='ones').exit_status == 0\n"
    )
    return tmp_path


def run(python, project, *arguments):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
    return subprocess.run([python, *arguments], cwd=project, env=kept, capture_output=True, text=True, check=False)


def test_what_is_tested_here_is_the_wheel(python, project):
    done = run(python, project, "-c", "import lockstep, lockstep.harness as h; print(lockstep.__file__, h.__file__)")
    assert done.returncode == 0, done.stderr
    installed = Path(python).parents[1]
    assert all(Path(path).is_relative_to(installed) for path in done.stdout.split())


@pytest.mark.parametrize("part", PARTS)
def test_a_projects_package_is_its_own(python, project, part):
    done = run(python, project, "-c", f"import lockstep; import {part}; print({part}.OWNER)")
    assert done.stdout == f"the project, {part}\n", done.stderr


def test_pytest_passes_with_our_plugin_and_writes_its_report(python, project):
    done = run(python, project, "-m", "pytest", "-p", "no:cacheprovider", "--lockstep-html", "report")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "lockstep: 1 result in" in done.stdout
    assert "ones" in project.joinpath("report", "index.html").read_text()


def test_the_module_is_the_command(python, project):
    done = run(python, project, "-m", "lockstep", "cases")
    assert done.returncode == 0, done.stderr
    assert "ones" in done.stdout


def test_without_frameworks_the_shipped_cases_run_and_what_is_not_there_is_told_in_one_line(bare, tmp_path):
    done = run(bare, tmp_path, "-m", "lockstep", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    absent, announced = done.stderr.splitlines()
    assert absent.startswith("Not installed, left out: ")
    assert len(absent) < 120
    assert "cases through 2 backends, about " in announced
    assert "numpy_loop" in done.stdout


def test_without_frameworks_a_port_in_numpy_is_written_and_checked(bare, tmp_path):
    assert run(bare, tmp_path, "-m", "lockstep", "new", "port", "my_lstm.py").returncode == 0
    done = run(bare, tmp_path, "-m", "lockstep", "check", "my_lstm.py:port", "probe", "lengths")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "2 runs: 2 agree" in done.stdout


def bundle_of(case, campaign, folder):
    """The bundle of a finding that a case shows, in a campaign's folder: its folder, and the words of its command."""
    (backend,) = campaign.backends
    with Journal(folder) as journal, Hands(campaign) as hands:
        journal.begin(campaign)
        with hands.runner(backend) as runner:
            ran, outcome = run_problem(0, case, backend, hands, SharedProblems(), runner)
        unit = UnitResult(k=0, backend=backend, features=(), runs=(ran,), versions=outcome.versions)
        journal.write([unit], 1.0)
        sorting = Sorting(journal, campaign, 30.0, text_of)
        task = sorting.next(lambda: 1)
        finding = sorting.shrunk(1, shrink(task, hands))
    bundle = folder / finding.bundle
    (command,) = [line for line in (bundle / "README.md").read_text().splitlines() if line.startswith("    lockstep ")]
    return bundle, shlex.split(command)[1:]


@pytest.mark.slow  # a search for the cause, there and here
def test_a_port_s_bundle_shows_its_finding_where_the_wheel_is_installed_alone(bare, tmp_path):
    text = (ROOT / "cases" / "ports" / "numpy_loop.py").read_text()
    (tmp_path / "my.py").write_text(text.replace("np.tanh(c_new)", "c_new"))
    words = TargetWords(target=f"{tmp_path / 'my.py'}:port")
    campaign = Campaign(seed=0, backends=("port",), models=("lstm",), port=words)
    bundle, command = bundle_of(make_case(), campaign, tmp_path / "campaign")
    done = run(bare, bundle, "-m", "lockstep", *command)
    assert (done.returncode, done.stderr) == (1, "")
    assert "The activation of c is left out." in done.stdout


@pytest.mark.slow  # PyTorch, twice
@pytest.mark.xdist_group("torch")
def test_a_backend_s_bundle_shows_its_finding_where_the_wheel_and_its_framework_are_installed_alone(
    wheel, tmp_path, monkeypatch
):
    pytest.importorskip("torch")
    # What is known is no finding: here one is not known.
    monkeypatch.setattr(f"{run_problem.__module__}.expected_of", lambda *_: None)
    (known,) = [finding for finding in findings() if finding.name == "torch-hardsigmoid-float64-gradient"]
    campaign = Campaign(seed=0, backends=("torch_script",), models=("lstm",))
    bundle, command = bundle_of(known.smallest(), campaign, tmp_path / "campaign")
    program, site = environment_with(wheel, tmp_path / "environment")
    install({*required("lockstep-rnn"), "torch", *required("torch")}, site)
    done = run(program, bundle, "-m", "lockstep", *command)
    assert (done.returncode, done.stderr) == (0, "")  # there it is known
    assert re.search(rf"^{bundle.name} +diverge ", done.stdout, re.MULTILINE)
    assert f"Known: {known.title}" in done.stdout


MISTAKEN = """
class Model(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x2h = nn.Linear(input_size, 4 * hidden_size)
        self.h2h = nn.Linear(hidden_size, 4 * hidden_size)

    def forward(self, x, h, c):
        h_seq = []
        for x_t in x:
            i, f, o, g = (self.x2h(x_t) + self.h2h(h)).chunk(4, dim=1)  # PyTorch has g before o
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            h_seq.append(h)
        return torch.stack(h_seq), c


NAMES = {
    "weight_ih_l0": "x2h.weight", "weight_hh_l0": "h2h.weight", "bias_ih_l0": "x2h.bias", "bias_hh_l0": "h2h.bias",
}
"""


@pytest.mark.slow  # a search, and PyTorch twice
@pytest.mark.xdist_group("torch")
def test_from_nothing_to_the_cause_of_a_wrong_module_in_three_commands(python, tmp_path):
    # The first is pip install, which is done.
    written = run(python, tmp_path, "-m", "lockstep", "new", "port", "my_lstm.py", "--from", "torch")
    assert written.returncode == 0, written.stderr
    assert "  lockstep check my_lstm.py:port" in written.stdout.splitlines()
    file = tmp_path / "my_lstm.py"
    before, place, after = file.read_text().partition("class Model(")
    assert "YOUR LSTM HERE" in after
    file.write_text(before + MISTAKEN + "\n\ndef port(" + (place + after).partition("def port(")[2])
    done = run(python, tmp_path, "-m", "lockstep", "check", "my_lstm.py:port")
    assert done.returncode == 1, done.stdout + done.stderr
    (why,) = [line for line in done.stdout.splitlines() if line.startswith("  Why: ")]
    assert why.endswith("[WRb:read-as-ifog]")
    assert "weight_ih_l0" in why
    assert "  Fix: " in done.stdout
