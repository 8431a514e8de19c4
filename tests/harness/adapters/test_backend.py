"""The registry: backends are found, and read without being imported."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from lockstep.harness.adapters import backend as registry
from lockstep.harness.adapters.backend import by_worker, find_backends, main_ways
from lockstep.harness.errors import BackendError


def entry(name, module):
    return EntryPoint(name=name, value=module, group=registry.BACKEND_GROUP)


@pytest.fixture
def offer(monkeypatch):
    def offer(*entries):
        monkeypatch.setattr(registry, "entry_points", lambda group: list(entries))

    return offer


def test_the_shipped_backends_are_found_with_what_they_say_of_themselves():
    found = {backend.name: backend for backend in find_backends()}
    assert {"numpy_loop", "tf_loop", "tf_static_rnn", "tf_dynamic_rnn", "torch_lstm", "jax_scan"} <= set(found)
    assert found["tf_loop"].requires == ("tensorflow", "tf_keras")
    assert dict(found["tf_loop"].environment)["TF_USE_LEGACY_KERAS"] == "1"
    assert found["torch_lstm"].install == "lockstep-rnn[torch]"
    assert "lax.scan" in found["jax_scan"].summary


def test_finding_backends_imports_none_of_them():
    asked = "import sys; from lockstep.harness.adapters.backend import find_backends as find"
    told = f"{asked}; print(*{{backend.module for backend in find()}} & set(sys.modules)); print(len(find()))"
    printed = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout
    imported, number = printed.splitlines()
    assert not imported
    assert int(number) == len(find_backends()) > 0


def test_backends_of_one_framework_share_a_worker():
    groups = [[backend.name for backend in group] for group in by_worker(find_backends())]
    of_tf1 = next(group for group in groups if "tf_loop" in group)
    assert {"tf_dynamic_rnn", "tf_loop", "tf_static_rnn", "tf_attention_cell"} <= set(of_tf1)
    of_torch = next(group for group in groups if "torch_lstm" in group)
    assert {"torch_lstm", "torch_attention"} <= set(of_torch)
    assert not set(of_tf1) & set(of_torch)


def test_backends_that_say_nothing_have_a_worker_each(offer):
    offer(entry("a", "planted.healthy"), entry("b", "planted.raises"))
    assert len(by_worker(find_backends())) == 2


def test_named_backends_come_once_each_and_in_the_order_of_their_naming():
    assert [b.name for b in find_backends(["torch_lstm", "numpy_loop", "torch_lstm"])] == ["torch_lstm", "numpy_loop"]


def test_an_unknown_backend_is_answered_with_a_guess_and_the_list():
    with pytest.raises(BackendError, match=r'no backend is called "torch_lstn".*Did you mean "torch_lstm".*numpy_loop'):
        find_backends(["torch_lstn"])


def test_a_pattern_stands_for_all_that_it_matches():
    matched = [backend.name for backend in find_backends(["jax_scan", "torch_*", "torch_lstm"])]
    assert matched[0] == "jax_scan"
    assert {"torch_lstm", "torch_cell", "torch_attention"} < set(matched)
    assert len(matched) == len(set(matched))
    with pytest.raises(BackendError, match=r'no backend is called "tensor\*"'):
        find_backends(["tensor*"])


@pytest.mark.parametrize(
    ("name", "first"),
    [("torch", "torch_lstm"), ("Torch", "torch_lstm"), ("pytorch", "torch_lstm"), ("tensorflow", "tf_dynamic_rnn"),
     ("tf", "tf_dynamic_rnn"), ("keras", "keras_tf"), ("jax", "jax_scan"), ("numpy", "numpy_loop")],
)  # fmt: skip
def test_the_name_of_a_framework_is_answered_with_its_main_backend(name, first):
    with pytest.raises(BackendError, match=f'Did you mean "{first}".* there are: {first}, '):
        find_backends([name])


def test_one_way_of_each_framework_and_model_is_the_main_one():
    backends = find_backends()
    ways = [(backend.framework, backend.model) for backend in main_ways(backends)]
    assert len(ways) == len(set(ways))
    assert set(ways) == {(backend.framework, backend.model) for backend in backends}
    names = {backend.name for backend in main_ways(backends)}
    assert {"numpy_loop", "torch_lstm", "tf_dynamic_rnn", "jax_scan", "keras_tf", "torch_attention"} <= names


def test_where_a_frameworks_main_way_is_not_installed_another_is_run():
    without = [backend for backend in find_backends() if backend.name != "keras_tf"]
    assert "keras_jax" in {backend.name for backend in main_ways(without)}


def test_backends_of_others_are_run_without_being_named(offer):
    offer(
        entry("numpy_loop", "lockstep.backends.numpy_loop"), entry("a", "planted.healthy"), entry("b", "planted.dies")
    )
    assert [backend.name for backend in main_ways(find_backends())] == ["a", "b", "numpy_loop"]


def test_two_backends_of_one_name_are_refused_with_both_modules(offer):
    offer(entry("a", "planted.healthy"), entry("a", "planted.raises"))
    with pytest.raises(BackendError, match=r"planted\.healthy and planted\.raises"):
        find_backends()


@pytest.mark.parametrize("module", ["no_such_package.module", "planted.absent", "sys", "lockstep"])
def test_a_backend_whose_source_cannot_be_read_is_listed_all_the_same(offer, module):
    offer(entry("a", module))
    assert [backend.name for backend in find_backends()] == ["a"]
    assert find_backends()[0].requires == ()


def test_constants_that_are_no_literals_are_not_evaluated(offer, tmp_path, monkeypatch):
    (tmp_path / "odd_backend.py").write_text('REQUIRES = __import__("os").listdir("/")\nINSTALL = "x"\n')
    monkeypatch.syspath_prepend(tmp_path)
    offer(entry("a", "odd_backend"))
    assert find_backends()[0].requires == ()


def test_a_module_that_pytest_rewrites_is_read_as_any_other(offer, tmp_path, monkeypatch):
    """As it does with all modules of a package that brings a plugin: ours, where it was installed from a wheel."""
    pytest.register_assert_rewrite("rewritten_backend")
    (tmp_path / "rewritten_backend.py").write_text('REQUIRES = ("numpy",)\nENVIRONMENT = {"NAME": "1"}\n')
    monkeypatch.syspath_prepend(tmp_path)
    offer(entry("a", "rewritten_backend"))
    assert find_backends()[0].requires == ("numpy",)
    assert dict(find_backends()[0].environment) == {"NAME": "1"}


def test_every_shipped_backend_claims_a_dialect_that_there_is():
    from lockstep.harness.weights.dialects import DIALECTS

    claimed = {backend.name: backend.dialect for backend in find_backends()}
    assert set(claimed.values()) <= DIALECTS.keys()
    assert claimed["torch_lstm"] == "torch"
    assert claimed["tf_loop"] == claimed["tf_static_rnn"] == claimed["tf_dynamic_rnn"] == "tf1"
    assert claimed["jax_scan"] == claimed["numpy_loop"] == "canonical"
