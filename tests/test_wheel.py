"""The wheel installs ``lockstep`` and nothing beside it: it leaves a project's own packages alone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """An interpreter in which the wheel is installed, and no development install."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    program = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([program, "-c", ask], check=True, capture_output=True, text=True).stdout.strip())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", str(site), str(wheel)], check=True)
    # The dependencies are those of this environment. A path in a .pth file comes last, and .pth files of the folder
    # it names are not read: so the development install, which is such a file, is not seen.
    site.joinpath("dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return program


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
