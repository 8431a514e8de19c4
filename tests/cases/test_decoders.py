"""The three attention decoders: what is said of their variables, and what their numbers are."""

from __future__ import annotations

import numpy as np
import pytest
from build_answers import PORTS, Builds, called, line_of, summary

from lockstep.harness.adapters.user_code import parse_target
from lockstep.harness.adapters.worker import Process
from lockstep.harness.cli.main import main
from lockstep.harness.jobs.check import cases_of, check
from lockstep.harness.ports.port import Port

pytestmark = pytest.mark.xdist_group("tensorflow")

SCOPE = "lstm_cell_decoder"
LSTM = [f"{SCOPE}/rnn/lstm_cell/kernel", f"{SCOPE}/rnn/lstm_cell/bias"]
OWN = {"weights_tilde": (128, 64), "bias_tilde": (64,), "weights_target": (64, 1)}
FIX = "`tf.Variable` never reuses; use `tf.get_variable` under `reuse=tf.AUTO_REUSE`."


@pytest.fixture(scope="module")
def ask(processes):
    pytest.importorskip("tf_keras", reason="install the extra tf: the decoders are TensorFlow's")
    builds = Builds(processes)
    yield lambda name: builds(PORTS / f"{name}.py", "build")
    builds.process.close()


def pairs(*names):
    return [[f"{SCOPE}/{name}", f"{SCOPE}_1/{name}"] for name in names]


def test_of_the_decoder_as_asked_the_lstm_is_shared_and_its_projections_are_not(ask):
    found = ask("decoder_as_asked")
    assert summary(found) == {
        "names": [*LSTM, *(f"{SCOPE}{step}/{name}" for step in ("", "_1") for name in OWN)],
        "shared": LSTM,
        "not shared": pairs(*OWN),
        "separate": [],
    }
    for v in found.variables[:2]:
        assert v.iterations == (0, 1)
    for v in found.variables[2:]:
        assert v.shape == OWN[v.name.rpartition("/")[2]]
        assert v.iterations == ((1,) if "_1/" in v.name else (0,))
    place = line_of(PORTS / "decoder_as_asked.py", 'name="weights_target"')
    target = found.of("not shared")[2]
    assert (target.place, target.made_by, target.fix) == (place, "tf.Variable", FIX)
    assert target.message == (
        f"`{SCOPE}/weights_target` is a new variable in each iteration (`{SCOPE}/weights_target` and "
        f"`{SCOPE}_1/weights_target`), made at {place} by tf.Variable: not shared."
    )
    assert found.groups[0].message == f"the LSTM kernel `{LSTM[0]}` is one variable, read in both iterations: shared."
    # The names that the question's printout showed are scopes of operations.
    assert [(scope.scope, scope.reads) for scope in found.scopes] == [(f"{SCOPE}_1/rnn", tuple(LSTM))]


def test_of_the_decoder_as_first_mended_the_last_projection_is_shared_alone(ask):
    found = ask("decoder_first_mended")
    assert summary(found)["shared"] == [*LSTM, f"{SCOPE}/weights_target"]
    assert summary(found)["not shared"] == pairs("weights_tilde", "bias_tilde")
    assert {group.fix for group in found.of("not shared")} == {FIX}
    assert next(v for v in found.variables if v.name == f"{SCOPE}/weights_target").made_by == "tf.get_variable"


def test_of_the_shared_decoder_all_is_shared_and_the_second_scope_is_a_name_only(ask):
    found = ask("decoder_shared")
    names = [*LSTM, *(f"{SCOPE}/{name}" for name in OWN)]
    assert summary(found) == {"names": names, "shared": names, "not shared": [], "separate": []}
    assert {v.iterations for v in found.variables} == {(0, 1)}
    assert [(scope.scope, set(scope.reads)) for scope in found.scopes] == [(f"{SCOPE}_1", set(names))]


# What the decoders compute, against the same written in NumPy.


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def decode(enc, weights, h, c, y, steps, lengths=None, later=None):
    """Run the decoder in float64; ``later`` are the weights of all steps but the first."""
    valid = np.arange(len(enc))[:, None] < (np.full(len(h), len(enc)) if lengths is None else lengths)
    logits, h_tilde = [], []
    for step in range(steps):
        w = weights if step == 0 or later is None else weights | later
        i, f, g, o = np.split(y @ w["W"].T + h @ w["R"].T + w["b"], 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        scores = np.sum(enc * (h @ w["W_a"].T if "W_a" in w else h), axis=2)
        attention = np.where(valid, np.exp(scores - scores.max(axis=0)), 0)
        attention /= attention.sum(axis=0)
        context = np.sum(attention[:, :, None] * enc, axis=0)
        y = np.tanh(np.concatenate([context, h], axis=1) @ w["W_tilde"].T + w["b_tilde"])
        h_tilde.append(y)
        logits.append(y @ w["W_target"].T)
    return np.stack(logits), np.stack(h_tilde)


S, B, E, H, A, O, STEPS = 5, 2, 4, 3, 6, 2, 4


def given(*, general=False, ones=False):
    rng = np.random.default_rng(0)
    E_ = E if general else H
    shapes = {"W": (4 * H, A), "R": (4 * H, H), "W_tilde": (A, E_ + H), "W_target": (O, A)} | (
        {"W_a": (E, H)} if general else {}
    )
    weights = {name: np.ones(shape) if ones else rng.normal(0, 0.5, shape) for name, shape in shapes.items()}
    biases = {"b": 4 * H, "b_tilde": A}
    weights |= {name: np.zeros(size) if ones else rng.normal(0, 0.5, size) for name, size in biases.items()}
    state = [rng.normal(0, 1, shape) for shape in ((S, B, E_), (B, H), (B, H), (B, A))]
    return state[0], weights, *state[1:], STEPS


def later_of(name, weights):
    """Give what the later steps of a decoder have for themselves: what the initialisers give."""
    own = {
        "decoder_as_asked": ("W_tilde", "b_tilde", "W_target", "W_a"),
        "decoder_first_mended": ("W_tilde", "b_tilde", "W_a"),
        "decoder_shared": (),
    }[name]
    return {
        key: np.zeros_like(weights[key]) if key == "b_tilde" else np.ones_like(weights[key])
        for key in own
        if key in weights
    }


@pytest.fixture(scope="module")
def port():
    """Call a decoder's port, in one process for all."""
    pytest.importorskip("tf_keras", reason="install the extra tf: the decoders are TensorFlow's")
    process = Process((("TF_USE_LEGACY_KERAS", "1"), ("TF_CPP_MIN_LOG_LEVEL", "3")))

    def port(name, *arguments, **options):
        answer = process.call(called, (PORTS / f"{name}.py", "port", arguments, options), timeout=120)
        assert isinstance(answer, list | tuple), answer
        return answer

    yield port
    process.close()


NAMES = ("decoder_as_asked", "decoder_first_mended", "decoder_shared")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("lengths", [None, np.array([5, 2])])
def test_a_port_computes_what_its_variables_hold(port, name, general, lengths):
    arguments = given(general=general)
    logits, h_tilde = port(name, *arguments, lengths=lengths)
    expected = decode(*arguments, lengths, later=later_of(name, arguments[1]))
    assert logits.shape == (STEPS, B, O)
    np.testing.assert_allclose(logits, expected[0], atol=1e-9)
    np.testing.assert_allclose(h_tilde, expected[1], atol=1e-9)


def test_under_ones_all_three_agree_as_in_the_question_and_under_other_weights_they_do_not(port):
    # That is why the author could not tell from the numbers.
    same = [port(name, *given(ones=True))[0] for name in NAMES]
    other = [port(name, *given())[0] for name in NAMES]
    for one in (0, 1):
        np.testing.assert_allclose(same[one], same[2], atol=1e-12)
        np.testing.assert_allclose(other[one][0], other[2][0], atol=1e-9)
        assert np.abs(other[one][1:] - other[2][1:]).max() > 0.01


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_port_keeps_the_dtype_it_is_given(port, dtype):
    enc, weights, *rest = given()
    cast = [a.astype(dtype) if isinstance(a, np.ndarray) else a for a in rest]
    logits, h_tilde = port("decoder_shared", enc.astype(dtype), {k: w.astype(dtype) for k, w in weights.items()}, *cast)
    assert logits.dtype == h_tilde.dtype == dtype


def checked(name, case):
    with Port(parse_target(f"{PORTS}/{name}.py:port")) as port:
        (run,) = check(port, cases_of([case]))
    return run


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("decoder_as_asked", "W_target+W_tilde+b_tilde-not-shared"),
        pytest.param("decoder_first_mended", "W_tilde+b_tilde-not-shared", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("case", ["attention-question", pytest.param("attention-probe", marks=pytest.mark.slow)])
def test_unshared_weights_are_found_by_what_the_port_does_also_where_all_are_ones(name, fault, case):
    pytest.importorskip("tf_keras", reason="install the extra tf: the decoders are TensorFlow's")
    run = checked(name, case)
    assert run.status == "diverge"
    assert (run.first_divergence is None) == (case == "attention-question")
    assert run.diagnosis[0].fault == fault
    assert "reuse=tf.AUTO_REUSE" in run.diagnosis[0].fix


@pytest.mark.parametrize("case", ["attention-question", "attention-probe"])
@pytest.mark.slow  # the static graph of a whole decoder
def test_the_shared_decoder_agrees(case):
    pytest.importorskip("tf_keras", reason="install the extra tf: the decoders are TensorFlow's")
    assert checked("decoder_shared", case).status == "agree"


@pytest.mark.slow  # a search by calls of a static graph
def test_the_tutorial_shows_what_check_says_of_the_decoder_as_asked(capfd):
    pytest.importorskip("tf_keras", reason="install the extra tf: the decoders are TensorFlow's")
    with pytest.raises(SystemExit):
        main(["check", "cases/ports/decoder_as_asked.py:port", "--case", "attention-question"])
    assert capfd.readouterr().out in (PORTS.parents[1] / "docs" / "tutorial.md").read_text()
