"""The core imports no framework. The second test proves that the first can fail."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMEWORKS = ("torch", "tensorflow", "tf_keras", "keras", "jax", "jaxlib", "flax", "onnxruntime", "mlx", "paddle")

MODULES = [
    "lockstep", "lockstep.harness", "lockstep.harness.cli.main", "lockstep.harness.jobs.run",
    "lockstep.harness.jobs.record", "lockstep.harness.comparison.compare", "lockstep.harness.output.terminal",
    "lockstep.harness.output.write_results", "lockstep.harness.jobs.support", "lockstep.harness.adapters.variables",
    "lockstep.harness.output.variables_table", "lockstep.harness.pytest_plugin.plugin",
    "lockstep.reports", "lockstep.reports.html", "lockstep.cases", "lockstep.backends",
]  # fmt: skip

REQUESTS = {
    "list": "cases",
    "schema": "schema",
    "compare": "compare {results} --json {out}",
    "judge a trace": "compare {trace}",
    "report": "report {results} --html {folder}",
    "help": "--help",
}


def frameworks_after(code):
    """Which frameworks a fresh interpreter holds after some code."""
    check = f"{code}\nimport sys; print('FOUND', sorted(set(sys.modules) & set({FRAMEWORKS!r})))"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return found.stdout.rpartition("FOUND ")[2].strip()


@pytest.mark.parametrize("module", MODULES)
def test_importing_the_core_imports_no_framework(module):
    assert frameworks_after(f"import {module}") == "[]"


def test_the_test_above_can_fail():
    pytest.importorskip("jax", reason="install the extra jax: the control imports a framework on purpose")
    assert "jax" in frameworks_after("import lockstep.backends.jax_scan")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A trace and results, made by the one backend that needs no framework."""
    folder = tmp_path_factory.mktemp("made")
    common = [sys.executable, "-m", "lockstep"]
    for arguments in (
        ["record", "ones", "--backend", "numpy_loop", "--out", folder],
        ["run", "ones", "--backend", "numpy_loop", "--json", folder / "results.json"],
    ):
        subprocess.run([*common, *map(str, arguments)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_requests_that_need_no_framework_work_with_none_installed(made, tmp_path, request_):
    """Importing a framework is made an error: the request must succeed all the same."""
    arguments = request_.format(
        results=made / "results.json",
        trace=made / "ones.numpy_loop.safetensors",
        out=tmp_path / "o.json",
        folder=tmp_path,
    ).split()
    code = (
        f"import sys\nfor name in {FRAMEWORKS!r}: sys.modules[name] = None\n"
        f"from lockstep.harness.cli.main import main\nmain({arguments!r})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
