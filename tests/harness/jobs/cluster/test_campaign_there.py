"""A campaign on a cluster that loses its scheduler, or whose workers have other versions, as its user meets it."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from campaign_processes import rows, start, units, until
from dask_processes import Processes

pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]

SMALL = ("--problems", "2")


def said(text):
    """What is printed, without its breaks of lines."""
    return " ".join(text.split())


def numpy_of_another_version(folder, another):
    """Make a folder with a NumPy that differs from this one in its version."""
    here, there = Path(np.__file__).parent, folder / "numpy"
    there.mkdir(parents=True)
    for entry in here.iterdir():
        (there / entry.name).symlink_to(entry)
    (there / "version.py").unlink()
    (there / "version.py").write_text((here / "version.py").read_text().replace(np.__version__, another))
    if (libraries := here.with_name("numpy.libs")).exists():
        (folder / libraries.name).symlink_to(libraries)
    about = folder / f"numpy-{another}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: numpy\nVersion: {another}\n")


@pytest.fixture
def clusters(tmp_path):
    """Makes clusters, each in a folder of its own."""
    there = []

    def cluster(workers):
        there.append(Processes(tmp_path / f"cluster-{len(there)}", workers))
        return there[-1]

    yield cluster
    for processes in there:
        processes.close()


def test_a_lost_scheduler_ends_a_campaign_with_a_message_and_a_new_one_goes_on(clusters, tmp_path):
    folder, first = tmp_path / "campaign", clusters(2)
    process = start(folder, "--backend", "numpy_loop", "--runs", "100000", *SMALL, "--scheduler", first.address)
    until(lambda: len(units(folder)) > 3, process)
    first.scheduler.kill()
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert f"the Dask scheduler at {first.address} is gone." in text
    assert f"What was done is in the journal. Go on with: lockstep search --out {folder} --resume" in said(text)
    assert "Traceback" not in text
    done = units(folder)
    assert len(done) > 3
    assert rows(folder, "PRAGMA integrity_check") == [("ok",)]
    assert rows(folder, "SELECT k, count(*) FROM runs GROUP BY k") == [(k, 2) for k, *_ in done]
    first.close()
    runs = 2 * len(done) + 10
    process = start(folder, "--resume", "--runs", str(runs), "--scheduler", clusters(1).address)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    after = units(folder)
    assert [row for row in after if row in done] == done
    assert rows(folder, "SELECT k, count(*) FROM runs GROUP BY k") == [(k, 2) for k, *_ in after]
    assert 2 * len(after) >= runs


def test_workers_with_other_versions_are_refused_and_where_that_is_allowed_results_are_told_apart(clusters, tmp_path):
    cluster, another = clusters(2), version("numpy") + ".post1"
    numpy_of_another_version(tmp_path / "other", another)
    other = cluster.worker(PYTHONPATH=os.pathsep.join([str(tmp_path / "other"), os.environ.get("PYTHONPATH", "")]))
    cluster.wait(3)
    asked = ["--backend", "numpy_loop", *SMALL, "--scheduler", cluster.address]
    process = start(tmp_path / "refused", *asked, "--runs", "10")
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "the workers are not alike; 2 of 3 are as most are, the others have:" in said(text)
    assert f"numpy {another} (most: {version('numpy')})" in said(text)
    assert "Make them alike, or allow it with --allow-mixed" in said(text)
    assert units(tmp_path / "refused") == []
    assert other.poll() is None
    process = start(tmp_path / "mixed", *asked, "--runs", "60", "--allow-mixed")
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text
    marked = rows(
        tmp_path / "mixed",
        "SELECT versions, count(*) FROM units JOIN environments ON environments.id = environment GROUP BY 1",
    )
    by_version = {json.loads(versions)["numpy"]: count for versions, count in marked}
    assert by_version.keys() == {another, version("numpy")}
    assert min(by_version.values()) > 0
