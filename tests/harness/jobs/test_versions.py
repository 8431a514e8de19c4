"""Two recordings held against each other: what is the same, what is rounding, what is not, and who is to blame."""

from __future__ import annotations

import json

import numpy as np
import pytest
from lstm_cases import make_case
from msgspec.structs import replace

from lockstep.backends import numpy_loop
from lockstep.harness.adapters.trace import Recorded, save_trace
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cli.main import main
from lockstep.harness.comparison.compare import limit_for
from lockstep.harness.errors import TraceError
from lockstep.harness.jobs.judge_run import difference
from lockstep.harness.jobs.versions import hold_against
from lockstep.harness.output.tables.versions_table import divergence_text, framework_of, versions_line
from lockstep.harness.reference.expect import expect
from lockstep.harness.text import grouped


def _recorded(folder, case, version, change=lambda trace: trace, backend="numpy_loop", forget_bias=0.0):
    """Write a trace of a case as a version of a framework might have given it; one may add a forget bias of its own."""
    problem = Problem.from_case(case)
    b = problem.b.copy()
    b[3:6] += forget_bias
    given = Problem.plain(case, problem.W, problem.R, b, problem.x, problem.h0, problem.c0)
    trace = change(numpy_loop.run(given))
    about = Recorded(
        case=case, problem=problem.digest, backend=backend, parameters=(), device="cpu",
        versions={"frame": version}, seconds={}, environment={"numpy": "2.4"},
    )  # fmt: skip
    save_trace(folder / f"{case.name}.{backend}.safetensors", trace, about)
    return trace


def _rounded_up(trace):
    """As another order of summation might give it: the last bit of every h differs."""
    return trace.replaced(h=np.nextafter(trace.h, np.float32(2)))


def _case(name, **changes):
    return replace(make_case(timesteps=6, batch=2, hidden_size=3, **changes), name=name)


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "new", tmp_path / "old"


@pytest.fixture
def compare(capsys):
    def compare(*arguments):
        with pytest.raises(SystemExit) as exited:
            main(["compare", *map(str, arguments)])
        return exited.value.code, *capsys.readouterr()

    return compare


def test_what_has_the_same_bits_is_called_so(folders, compare):
    for folder, version in zip(folders, ("2.0", "1.0"), strict=True):
        _recorded(folder, _case("one"), version)
    status, out, _ = compare(folders[0], "--against", folders[1])
    assert status == 0
    assert "frame 2.0 against 1.0: agree bit for bit." in out


def test_rounding_is_told_in_sigma_and_ulp(folders, compare):
    _recorded(folders[0], _case("one"), "2.0", _rounded_up)
    _recorded(folders[1], _case("one"), "1.0")
    status, out, _ = compare(folders[0], "--against", folders[1])
    assert status == 0
    assert "frame 2.0 against 1.0: agree to 0." in out
    assert "at most 1 ulp." in out


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_one_float_is_one_ulp_and_below_a_few_sigma_in_every_precision(dtype):
    case = _case("one", dtype=dtype)
    problem = Problem.from_case(case)
    trace = numpy_loop.run(problem)
    other = trace.replaced(h=np.nextafter(trace.h, np.ones((), trace.h.dtype)))
    found = difference(case, trace, other, expect(problem), limit_for(case))
    assert found.tensors["h"].worst.ulp == 1
    assert 0 < found.tensors["h"].worst.sigma < 3
    assert found.tensors["c"].worst.ulp == 0
    assert found.status == "agree"


def test_more_than_rounding_is_a_difference_with_its_place_and_its_cause(folders, compare):
    _recorded(folders[0], _case("one"), "2.0", forget_bias=1.0)
    _recorded(folders[1], _case("one"), "1.0")
    _recorded(folders[0], _case("one"), "2.0", backend="other")
    _recorded(folders[1], _case("one"), "1.0", backend="other")
    status, out, _ = compare(folders[0], "--against", folders[1])
    assert status == 1
    assert "frame 2.0 against 1.0: 1 of 2 runs differ by more than rounding; the others agree bit for bit." in out
    assert 'numpy_loop, case "one": frame 2.0 and frame 1.0 differ from timestep 0 of 6 on.' in out
    assert "with frame 2.0" in out
    assert 'frame 1.0: numpy_loop agrees with the reference in case "one"' in out
    assert 'frame 2.0: numpy_loop diverges from the reference in case "one" at timestep 0 of 6.' in out
    assert "Why: The forget bias" in out


def test_what_is_wrong_alike_in_both_is_no_difference_between_them(folders, compare):
    # Far beyond the noise of the right numbers, next to nothing beside how wrong both are.
    _recorded(folders[0], _case("one"), "2.0", forget_bias=1.0)
    _recorded(folders[1], _case("one"), "1.0", forget_bias=1.00001)
    status, out, _ = compare(folders[0], "--against", folders[1])
    assert status == 0
    assert "frame 2.0 against 1.0: in 1 of 1 run both are wrong in the same way." in out
    assert 'numpy_loop, case "one": both diverge from the reference in f at timestep 0, by up to ' in out


def test_two_that_are_wrong_in_different_ways_differ(folders, compare):
    _recorded(folders[0], _case("one"), "2.0", forget_bias=1.0)
    _recorded(folders[1], _case("one"), "1.0", forget_bias=2.0)
    status, out, _ = compare(folders[0], "--against", folders[1])
    assert status == 1
    assert out.count("diverges from the reference in case") == 2


def test_a_side_that_is_a_known_finding_is_told_by_its_name(folders):
    _recorded(folders[0], _case("one"), "2.0", forget_bias=1.0)
    _recorded(folders[1], _case("one"), "1.0")
    (pair,) = hold_against(*folders)[0].pairs
    first, second = pair.reference
    text = divergence_text(replace(pair, reference=(replace(first, known="too-much-forgotten"), second)))
    assert "Known: lockstep findings too-much-forgotten" in text
    assert "Why:" not in text


def test_json_has_every_pair_and_both_results_where_they_differ(folders, compare, tmp_path):
    _recorded(folders[0], _case("one"), "2.0", forget_bias=1.0)
    _recorded(folders[1], _case("one"), "1.0")
    _recorded(folders[1], _case("two"), "1.0")
    status, _, _ = compare(folders[0], "--against", folders[1], "--json", tmp_path / "pairs.json")
    assert status == 1
    found = json.loads((tmp_path / "pairs.json").read_text())
    (pair,) = found["pairs"]
    assert pair["verdict"] == "diverge"
    assert pair["versions"] == [{"frame": "2.0", "numpy": "2.4"}, {"frame": "1.0", "numpy": "2.4"}]
    assert pair["difference"]["first_divergence"]["timestep"] == 0
    assert [one["status"] for one in pair["reference"]] == ["diverge", "agree"]
    assert found["alone"] == [[], ["two.numpy_loop"]]


def test_what_only_one_recording_has_is_named(folders, compare):
    for folder, version in zip(folders, ("2.0", "1.0"), strict=True):
        _recorded(folder, _case("one"), version)
    _recorded(folders[0], _case("two"), "2.0")
    _, out, _ = compare(folders[0], "--against", folders[1])
    assert "Only the first recording has two.numpy_loop." in out


def test_tensors_that_only_one_of_them_exposes_are_left_out():
    case = _case("one")
    problem = Problem.from_case(case)
    trace = numpy_loop.run(problem)
    found = difference(case, trace, trace.replaced(c=None, i=None), expect(problem), limit_for(case))
    assert "h" in found.tensors
    assert not {"c", "i"} & found.tensors.keys()


def test_numbers_that_are_not_finite_are_no_difference_where_both_have_them():
    case = _case("one")
    problem = Problem.from_case(case)
    h = numpy_loop.run(problem).h.copy()
    h[2, 0, 0], h[2, 0, 1] = np.nan, np.inf
    trace = numpy_loop.run(problem).replaced(h=h)
    assert difference(case, trace, trace, expect(problem), limit_for(case)).status == "agree"
    other = trace.replaced(h=np.where(np.isnan(h), np.float32(0), h))
    found = difference(case, trace, other, expect(problem), limit_for(case))
    assert found.status == "diverge"
    assert found.first_divergence.timestep == 2


def test_frameworks_are_told_apart_and_what_changed_beside_them_is_named(folders):
    for folder, version in zip(folders, ("2.0", "1.0"), strict=True):
        _recorded(folder, _case("one"), version, backend="a")
        _recorded(folder, _case("one"), version, backend="b")
    found, errors = hold_against(*folders)
    assert not errors
    assert [len(pairs) for pairs in grouped(found.pairs, framework_of).values()] == [2]
    changed = [replace(pair, versions=({**pair.versions[0], "numpy": "3.0"}, pair.versions[1])) for pair in found.pairs]
    assert versions_line(changed) == "frame 2.0 against 1.0: agree bit for bit (numpy 3.0 against 2.4)."


def test_recordings_of_other_numbers_are_no_pair(folders, compare):
    _recorded(folders[0], _case("one"), "2.0")
    _recorded(folders[1], _case("one", seed=9), "1.0")
    status, _, err = compare(folders[0], "--against", folders[1])
    assert status == 2
    assert "recorded from another case" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "needs exactly one trace or folder"),
        (["{new}", "{new}"], "needs exactly one trace or folder"),
        (["{new}", "--case", "ones"], "without --case"),
        (["absent"], "absent"),
        (["{empty}"], "no trace"),
    ],
)
def test_a_wrong_request_is_one_message(folders, tmp_path, compare, arguments, words):
    _recorded(folders[0], _case("one"), "2.0")
    (tmp_path / "empty").mkdir()
    given = [one.format(new=folders[0], empty=tmp_path / "empty") for one in arguments]
    status, _, err = compare(*given, "--against", folders[0])
    assert status == 2
    assert words in err


def test_recordings_without_anything_in_common_are_refused(folders):
    _recorded(folders[0], _case("one"), "2.0")
    _recorded(folders[1], _case("two"), "1.0")
    with pytest.raises(TraceError, match="no case and backend in common"):
        hold_against(*folders)
