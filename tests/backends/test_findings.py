"""What is known still shows: by its smallest case, and by its script. A version that mends it fails here."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from backend_marks import cannot_run
from judge import judged

from lockstep.harness.adapters.backend import find_backends
from lockstep.harness.jobs.findings import findings

INFOS = {backend.name: backend for backend in find_backends()}
PAIRS = [
    pytest.param(finding, INFOS[name], id=f"{finding.name}-{name}",
                 marks=pytest.mark.xdist_group("+".join(map(str, INFOS[name].worker))))
    for finding in findings()
    for name in finding.backends
    if name in INFOS and finding.case is not None
]  # fmt: skip


@pytest.mark.parametrize(("finding", "backend"), PAIRS)
def test_the_smallest_case_still_shows_it(run_backend, finding, backend):
    missing = cannot_run(backend)
    if missing:
        pytest.skip(missing)
    case = finding.smallest()
    problem, answer = run_backend(backend, case)
    status = judged(case, problem, answer.trace).status if answer.trace is not None else answer.status
    if status == "unsupported":
        pytest.skip(answer.message)
    installed = version(finding.framework)
    assert status == finding.status, (
        f"{finding.name} no longer shows in {finding.framework} {installed}: remove it, or say which versions it is in"
    )


@pytest.mark.contract  # each imports a framework of its own
@pytest.mark.slow
@pytest.mark.parametrize("finding", findings(), ids=lambda finding: finding.name)
def test_its_script_shows_it_without_lockstep(finding):
    missing = cannot_run(INFOS[finding.backends[0]])
    if missing:
        pytest.skip(missing)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, finding.script], capture_output=True, text=True, check=False, env=environment, timeout=240
    )
    assert done.returncode != 0, f"{finding.script} shows nothing: {done.stdout}"
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    assert "lockstep" not in Path(finding.script).read_text().lower()
