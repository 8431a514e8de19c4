"""Problems: the same numbers everywhere, the numbers that a case asks for, and files read with care."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from decoder_cases import make_decoder
from hypothesis import given
from lstm_cases import cases, make_case
from safetensors.numpy import save
from values_alone import forward

from lockstep.harness.cases.case import Values
from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.problem import Problem
from lockstep.harness.errors import CaseError
from lockstep.harness.jobs.problems import Problems
from lockstep.harness.reference.expect import expect

SHIPPED = sorted(Path(str(files("lockstep.cases"))).glob("*.toml"))
DIGESTS = json.loads(Path(__file__).with_name("digests.json").read_text())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_case_makes_the_numbers_it_always_made(path):
    assert problem_of(load_case(path)).digest == DIGESTS[path.stem]


def test_every_digest_belongs_to_a_shipped_case():
    assert set(DIGESTS) == {path.stem for path in SHIPPED}


def test_another_process_makes_the_same_numbers():
    code = (
        "from pathlib import Path; from lockstep import load_case;"
        "from lockstep.harness.cases.decoder_problem import problem_of;"
        f"print(problem_of(load_case(Path({str(SHIPPED[0])!r}))).digest)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == DIGESTS[SHIPPED[0].stem]


@given(cases())
def test_problems_of_one_case_are_alike_and_of_two_seeds_are_not(case):
    from msgspec.structs import replace

    assert Problem.from_case(case).digest == Problem.from_case(case).digest
    other = replace(case, run=replace(case.run, seed=case.run.seed ^ 1))
    drawn = {"probe", "uniform"} & {case.run.weights, case.run.inputs, case.run.initial_state}
    assert (Problem.from_case(other).digest == Problem.from_case(case).digest) == (not drawn)


@given(cases())
def test_arrays_have_the_shapes_and_the_dtype_of_the_case(case):
    T, B, I, H = case.shape
    problem = Problem.from_case(case)
    shapes = {"W": (4 * H, I), "R": (4 * H, H), "b": (4 * H,), "x": (T, B, I), "h0": (B, H), "c0": (B, H)}
    for name, shape in shapes.items():
        assert getattr(problem, name).shape == shape
        assert getattr(problem, name).dtype == case.run.dtype


def test_ones_are_what_the_scope_of_ones_gives_a_basic_lstm_cell():
    problem = Problem.from_case(make_case(weights="ones", hidden_size=2, forget_bias=1.0))
    assert (problem.W == 1).all()
    assert (problem.R == 1).all()
    assert problem.b.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


def test_probe_weights_are_all_of_different_magnitude():
    problem = Problem.from_case(make_case(forget_bias=0.0, input_size=7, hidden_size=9))
    weights = np.concatenate([problem.W.ravel(), problem.R.ravel(), problem.b])
    assert len(np.unique(np.abs(weights))) == len(weights)


@pytest.mark.parametrize("shape", [(1, 1), (5, 4), (64, 128), (3, 40), (40, 3)])
def test_probe_keeps_every_gate_in_its_sensitive_range(shape):
    I, H = shape
    problem = Problem.from_case(make_case(input_size=I, hidden_size=H, timesteps=30, batch=8, initial_state="probe"))
    gates = forward(problem)
    for name in "ifo":
        slope = gates[name] * (1 - gates[name])
        assert np.median(slope) > 0.1  # of 0.25 at most
    assert np.median(1 - gates["g"] ** 2) > 0.3  # of 1 at most


def test_the_saturated_case_reaches_pre_activations_of_thirty():
    problem = Problem.from_case(load_case(Path(str(files("lockstep.cases"))) / "saturated.toml"))
    h = np.concatenate([problem.h0[None], forward(problem)["h"][:-1]])
    z = problem.x @ problem.W.T + h @ problem.R.T + problem.b
    assert 29 < np.abs(z).max() < 35


def test_the_tiny_case_holds_subnormal_numbers():
    problem = Problem.from_case(load_case(Path(str(files("lockstep.cases"))) / "tiny.toml"))
    assert 0 < np.abs(problem.x).min() < np.finfo(np.float32).smallest_normal
    assert np.abs(forward(problem)["c"]).max() < 2e-38


def test_inputs_are_zero_at_the_timesteps_that_are_named_and_as_drawn_elsewhere():
    drawn = Problem.from_case(make_case(timesteps=4))
    problem = Problem.from_case(make_case(timesteps=4, inputs=Values(kind="probe", zero_timesteps=(1, 3))))
    assert not problem.x[[1, 3]].any()
    np.testing.assert_array_equal(problem.x[[0, 2]], drawn.x[[0, 2]])
    np.testing.assert_array_equal(problem.W, drawn.W)
    decoder = make_decoder(source_timesteps=3, inputs=Values(kind="ones", zero_timesteps=(2,)))
    problem = problem_of(decoder)
    assert (problem.enc[:2] == 1).all()
    assert (problem.enc[2] == 0).all()
    assert (problem.y0 == 1).all()


def test_zeros_past_the_last_timestep_are_refused_before_anything_runs():
    case = make_case("zeros", timesteps=4, inputs=Values(kind="probe", zero_timesteps=(1, 4)))
    with pytest.raises(CaseError, match=r"case zeros, \[run\] inputs: zero_timesteps has 4.*allowed are 0 to 3"):
        Problems().check(case)


def test_the_overflow_case_has_scores_that_overflow_a_softmax_without_its_maximum():
    case = load_case(Path(str(files("lockstep.cases"))) / "attention-overflow.toml")
    scores, room = expect(problem_of(case))["scores"].value, np.log(np.finfo(np.float32).max)
    assert (scores.max(axis=-1) > room).any(axis=0).sum() == 4  # of five sequences; one source has a single timestep


def test_numbers_beyond_half_precision_are_refused():
    case = make_case(dtype="float16", weights=Values(kind="probe", scale=1e5))
    with pytest.raises(CaseError, match="beyond the range of float16"):
        Problem.from_case(case)


def test_a_network_draws_weights_of_which_no_two_are_alike():
    problem = Problem.from_case(
        make_case(num_layers=2, direction="bidirectional", peephole=True, proj_size=2, forget_bias=0.0)
    )
    drawn = [array.ravel() for name, array in problem.arrays().items() if name[0] in "WRbPp"]
    weights = np.abs(np.concatenate(drawn))
    assert len(np.unique(weights)) == len(weights)


def test_weights_of_several_lanes_come_from_one_file(tmp_path):
    case = make_case(num_layers=2, direction="bidirectional", proj_size=2)
    drawn = {name: array for name, array in Problem.from_case(case).arrays().items() if name[0] in "WRbP"}
    (tmp_path / "w.safetensors").write_bytes(save(drawn))
    read = Problem.from_case(
        make_case(
            num_layers=2, direction="bidirectional", proj_size=2, weights=Values(file=str(tmp_path / "w.safetensors"))
        )
    )
    for name, array in drawn.items():
        np.testing.assert_array_equal(read.arrays()[name], array)


def test_without_bias_b_holds_nothing():
    assert not Problem.from_case(make_case(bias=False, forget_bias=0.0)).b.any()


def test_arrays_are_read_only_and_stay_so_in_another_process():
    problem = pickle.loads(pickle.dumps(Problem.from_case(make_case(lengths=(3, 5)))))
    for array in problem.arrays().values():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def save_npz(path, **arrays):
    np.savez(path, **arrays)


def weights(H=4, I=3, dtype=np.float32):
    return {
        "W": np.full((4 * H, I), 0.5, dtype), "R": np.full((4 * H, H), 0.25, dtype), "b": np.zeros(4 * H, dtype)
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_weights_come_from_a_file_as_they_are(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    given_weights = weights()
    path.write_bytes(save(given_weights)) if suffix == ".safetensors" else save_npz(path, **given_weights)
    problem = Problem.from_case(make_case(weights=Values(file=str(path))))
    for name, array in given_weights.items():
        np.testing.assert_array_equal(getattr(problem, name), array)


def test_inputs_and_initial_state_come_from_files_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    x, h0, c0 = (rng.random(shape, np.float32) for shape in ((5, 2, 3), (2, 4), (2, 4)))
    save_npz(tmp_path / "x.npz", x=x)
    (tmp_path / "state.safetensors").write_bytes(save({"h0": h0, "c0": c0}))
    files = {
        "inputs": Values(file=str(tmp_path / "x.npz")),
        "initial_state": Values(file=str(tmp_path / "state.safetensors")),
    }
    problem = Problem.from_case(make_case(**files))
    for name, array in {"x": x, "h0": h0, "c0": c0}.items():
        np.testing.assert_array_equal(getattr(problem, name), array)


def npz_with_pickle():
    buffer = io.BytesIO()
    np.savez(buffer, W=np.array([{"a": 1}], dtype=object), R=np.zeros(1), b=np.zeros(1))
    return buffer.getvalue()


def zip_of_text():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("W.npy", "no array")
    return buffer.getvalue()


def bare_array():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("w.npz", b"no archive", "not a readable .npz"),
        ("w.npz", npz(**weights())[:300], "not a readable .npz"),
        ("w.npz", npz_with_pickle(), "never loaded"),
        ("w.npz", zip_of_text(), "lacks W, R, b. It holds: nothing|not a readable"),
        ("w.npz", bare_array(), "one bare array"),
        ("w.npz", npz(W=weights()["W"]), "lacks R, b. It holds: W"),
        ("w.npz", npz(**weights(H=5)), r"W has shape \(20, 3\), and the case needs \(16, 3\)"),
        ("w.npz", npz(**weights(dtype=np.float64)), "W is float64, and the case computes in float32"),
        ("w.safetensors", b"\xff" * 40, "not a readable .safetensors"),
        ("w.safetensors", save(weights())[:-20], "not a readable .safetensors"),
        ("w.safetensors", b"", "not a readable .safetensors|cannot be read"),
    ],
    ids=range(11),  # an archive holds the time at which it was made: workers would name it otherwise
)
def test_a_bad_file_ends_in_one_message(tmp_path, name, data, words):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(CaseError, match=words):
        Problem.from_case(make_case(weights=Values(file=str(path))))


def test_a_pickled_object_in_a_file_is_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path(tmp_path / "exploded").touch, ())

    path = tmp_path / "w.npz"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CaseError, match="never loaded"):
        Problem.from_case(make_case(weights=Values(file=str(path))))
    assert not (tmp_path / "exploded").exists()
