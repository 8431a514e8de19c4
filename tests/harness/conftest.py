"""What tests of the commands share."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from lockstep.harness.adapters import backend as registry
from lockstep.harness.cli.main import main
from lockstep.harness.diagnosis.adequacy import adequacy
from lockstep.harness.diagnosis.clock import SECONDS, searching_for
from lockstep.harness.jobs import check


@pytest.fixture(scope="session", autouse=True)
def strength_measured_once():
    """How strong cases are is measured once for each set of them: it plants every fault, and many tests ask."""
    known = {}

    def measured(cases, *, layout="canonical"):
        key = (repr(cases), layout)
        if key not in known:
            known[key] = adequacy(cases, layout=layout)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lockstep.harness.diagnosis.adequacy.adequacy", measured)
        yield


@pytest.fixture
def no_strength(monkeypatch):
    """Leave out how strong the cases are: for tests of what is computed, whatever it would have shown."""
    monkeypatch.setattr(check, "strength", lambda *_: None)


@pytest.fixture
def lockstep(capsys):
    """Run a command in this process; give its exit status, stdout and stderr."""

    def lockstep(*arguments):
        with pytest.raises(SystemExit) as exited:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return exited.value.code, out, err

    return lockstep


@pytest.fixture
def planted(monkeypatch):
    """Offer planted backends only, misbehaving ones and healthy ones."""

    def offer(*names):
        entries = [EntryPoint(name, f"planted.{name}", registry.BACKEND_GROUP) for name in names]
        monkeypatch.setattr(registry, "entry_points", lambda group: entries)

    return offer


@pytest.fixture
def short_search(monkeypatch):
    """Leave the search for causes little time: for tests of where something diverges, whatever the cause."""
    monkeypatch.setitem(SECONDS, "all", 0.5)


@pytest.fixture
def long_search():
    """Leave the search for causes all the time that it takes: a busy machine computes slower."""
    with searching_for(90.0):
        yield
