"""The key of a trace changes with what a trace depends on, and with nothing else."""

from __future__ import annotations

import pytest
from lstm_cases import make_case

from lockstep.harness.adapters.backend import BackendInfo, find_backends
from lockstep.harness.cases.problem import Problem
from lockstep.harness.jobs.cache import installed as packages
from lockstep.harness.jobs.cache.installed import versions_of
from lockstep.harness.jobs.cache.key import key_of
from lockstep.harness.jobs.cache.sources import closure_of, forget_sources

PROBLEM = Problem.from_case(make_case())
MINE = BackendInfo("mine", "mine_lstm.backend")
FILES = {
    "mine_lstm/__init__.py": "",
    "mine_lstm/backend.py": "import typing\nfrom . import gates\nif typing.TYPE_CHECKING:\n    import mine_types\n",
    "mine_lstm/gates.py": "def late():\n    from mine_lstm.deep.cell import curve\n",
    "mine_lstm/deep/__init__.py": "",
    "mine_lstm/deep/cell.py": "curve = 1",
    "mine_lstm/unused.py": "",
}


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """A package with a backend, and a function that changes one of its files; what it holds after gives another key."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        forget_sources()

    for name, text in FILES.items():
        write(name, text)
    monkeypatch.syspath_prepend(tmp_path)
    yield write
    forget_sources()


@pytest.fixture
def installed(tmp_path):
    """Install a distribution of a name and version, which may require another."""

    def install(name, version, requires=()):
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
        path = tmp_path / f"{name.replace('-', '_')}-1.dist-info" / "METADATA"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))
        for asked in (packages._distribution, packages._required, packages._by_package, versions_of):
            asked.cache_clear()  # a process sees nothing that is installed while it runs

    return install


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mine_lstm/backend.py", True),
        ("mine_lstm/gates.py", True),
        ("mine_lstm/deep/cell.py", True),
        ("mine_lstm/deep/__init__.py", True),
        ("mine_lstm/unused.py", False),
        ("mine_types.py", False),
    ],
)
def test_the_text_of_a_backend_and_of_what_it_imports_counts(name, changes, package):
    before = key_of(MINE, PROBLEM)
    assert before == key_of(MINE, PROBLEM)
    package(name, FILES.get(name, "") + "\n# edited\n")
    assert (key_of(MINE, PROBLEM) != before) is changes


def test_what_our_backends_import_of_ours_counts_and_no_framework_is_imported():
    closure = closure_of(("lockstep.backends.tf_dynamic_rnn",))
    assert {"lockstep.backends.tf_dynamic_rnn", "lockstep.harness.adapters.trace"} <= closure.texts.keys()
    assert "tensorflow" in closure.packages
    assert "lockstep.harness.jobs.run" not in closure.texts


def test_numbers_and_what_is_asked_for_count_but_not_the_name():
    keys = [
        key_of(MINE, Problem.from_case(case))
        for case in (make_case(), make_case("other"), make_case(seed=1), make_case(gradients=True))
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("name", "changes"), [("OMP_NUM_THREADS", True), ("XLA_FLAGS", True), ("PWD", False), ("LINES", False)]
)
def test_variables_that_frameworks_read_count(name, changes, monkeypatch):
    before = key_of(MINE, PROBLEM)
    monkeypatch.setenv(name, "7")
    assert (key_of(MINE, PROBLEM) != before) is changes


def test_the_environment_of_a_backend_counts():
    other = BackendInfo(MINE.name, MINE.module, environment=(("MY_FLAG", "1"),))
    assert key_of(other, PROBLEM) != key_of(MINE, PROBLEM)


def test_the_versions_of_what_it_requires_count_and_of_what_these_require(package, installed):
    package("my_framework.py", "")
    needs = BackendInfo(MINE.name, MINE.module, requires=("my_framework",))
    installed("my-kernels", "1.0")
    installed("my-framework", "2.0", ["my_kernels>=1; python_version > '3'", "numpy; extra == 'all'"])
    assert versions_of(frozenset({"my_framework"})) == {"my-framework": "2.0", "my-kernels": "1.0"}
    before = key_of(needs, PROBLEM)
    assert before is not None
    installed("my-kernels", "1.1")
    assert key_of(needs, PROBLEM) not in {before, None}


def test_there_is_no_key_where_something_cannot_be_known(package):
    package("my_build.py", "")
    assert key_of(BackendInfo(MINE.name, MINE.module, requires=("my_build",)), PROBLEM) is None  # built by hand
    assert key_of(BackendInfo(MINE.name, MINE.module, listed=False), PROBLEM) is None  # the file of a model
    package("mine_lstm/backend.py", "import not_installed_anywhere")
    assert key_of(MINE, PROBLEM) is None


def test_main_backends_have_keys_of_their_own():
    backends = [backend for backend in find_backends() if backend.main and not backend.absent]
    keys = [key_of(backend, PROBLEM) for backend in backends]
    assert None not in keys
    assert len(set(keys)) == len(keys)
