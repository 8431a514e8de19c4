"""The dialect of a black box, measured."""

from __future__ import annotations

import numpy as np
import pytest
from faulty_lstm import make_port

from lockstep.harness.adapters.backend import find_backends
from lockstep.harness.adapters.worker import Worker
from lockstep.harness.diagnosis.anatomy.anatomy import anatomy, curve_facts
from lockstep.harness.jobs.measure import BackendBlackBox, PortBlackBox
from lockstep.harness.ports.port import LocalPort

right = make_port()


def measured(port, **options):
    return anatomy(PortBlackBox(LocalPort(port, **options)))


def rows(anatomy_of_port):
    return {row.name: row for row in anatomy_of_port.conventions}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def port_of(step, *, before=lambda weights: weights):
    """Make a port from what one step does with z and c."""

    def port(x, weights, h0, c0, lengths=None):
        weights = before(weights)
        h, c, h_seq, c_seq = h0, c0, [], []
        for t in range(len(x)):
            z = x[t] @ weights["W"].T + h @ weights["R"].T + weights["b"]
            new_h, new_c = step(np.split(z, 4, axis=1), c)
            runs = True if lengths is None else (t < lengths)[:, None]
            h, c = np.where(runs, new_h, h), np.where(runs, new_c, c)
            h_seq.append(np.where(runs, h, 0))
            c_seq.append(c)
        return np.stack(h_seq).astype(x.dtype), np.stack(c_seq).astype(x.dtype)

    return port


# The others' conventions are looked at where all are installed.
OF_OTHERS = (pytest.mark.slow, pytest.mark.contract)
QUICK = {"numpy_loop", "torch_lstm"}
# They compute with weights that are rounded to few bits: no convention of the reference gives their numbers.
OF_OTHER_WEIGHTS = {"onnxruntime_int8", "torch_int8", "ncnn_fp16"}
BACKENDS = [
    pytest.param(backend, id=backend.name, marks=[] if backend.name in QUICK else OF_OTHERS)
    for backend in find_backends()
    if backend.model == "lstm" and backend.name not in OF_OTHER_WEIGHTS
]


# What is told of backends that have a finding, that they ignore lengths: the fault, and the convention that differs.
KNOWN = dict.fromkeys(
    ("onnx_reference", "iree_lstm", "mnn_lstm", "opencv_dnn", "opencv_dnn_classic", "openvino_torch"),
    ("lengths:ignored", ["past the end of a sequence"]),
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backends_anatomy_is_the_canonical_one(backend):
    missing = backend.missing()
    if missing:
        pytest.skip(missing)
    with Worker(backend.environment, 120) as worker:
        result = anatomy(BackendBlackBox(backend, worker))
    assert result.proved
    fault = None if result.explanation is None else result.explanation.fault
    differs = [row.name for row in result.conventions if row.differs]
    assert (fault, differs) == KNOWN.get(backend.name, (None, []))
    assert len(result.conventions) > 30


def test_a_right_port_is_canonical_in_every_row_and_every_row_is_decided():
    result = measured(right)
    assert result.proved
    assert result.sigma is not None
    assert result.sigma < 5
    assert [row for row in result.conventions if row.differs is not False] == []
    assert result.calls < 500


@pytest.mark.parametrize("layout", ["torch", "keras", "tf1", "onnx"])
def test_the_layout_in_which_weights_are_handed_over_changes_nothing(layout):
    from stored_weights import read

    from lockstep.harness.weights.dialects import DIALECTS

    def port(x, weights, h0, c0, lengths=None):
        return right(x, read(weights, DIALECTS[layout]), h0, c0, lengths)

    result = measured(port, layout=layout)
    assert result.explanation is None
    assert result.proved


def test_several_deviations_are_measured_apart_and_proved_together():
    def hard(z):
        return np.clip(0.2 * z + 0.5, 0, 1)

    def step(z, c):
        i, g, f, o = z
        c = hard(f + 0.3) * c + hard(i) * np.tanh(g)
        return hard(o) * np.tanh(c), c

    def before(weights):
        H = weights["R"].shape[1]
        return {**weights, "R": weights["R"].reshape(H, 4 * H).T}

    result = measured(port_of(step, before=before))
    assert result.proved
    assert result.explanation is not None
    assert set(result.explanation.fault.split(" + ")) == {
        "WRb:read-as-igfo", "curve-of-gates:hard_sigmoid_0.2", "R:reshaped,-not-transposed", "b.f:plus-0.3",
    }  # fmt: skip
    table = rows(result)
    assert table["gate order in W"].measured == "i, g, f, o"
    assert table["R as it drives the gates from h"].measured == "R is reshaped where it must be transposed"
    assert "0.2 z + 0.5" in table["activation of o"].measured
    assert "0.3 is added" in table["constant added to f"].measured
    assert table["update of c"].differs is False


@pytest.mark.slow  # nothing explains it: the search goes to its limits
def test_what_one_timestep_shows_is_told_though_something_later_fits_nothing():
    def before(weights):
        i, f, g, o = np.split(weights["R"], 4)
        return {**weights, "R": np.concatenate([i, g, f, o])}

    def port(x, weights, h0, c0, lengths=None):
        h, c = right(x, before(weights), h0, c0, lengths)
        drift = 1 + 0.013 * np.arange(len(x))[:, None, None] ** 2.3
        return (h * drift).astype(x.dtype), c

    result = measured(port)
    assert not result.proved
    table = rows(result)
    assert table["gate order in R"].measured == "i, g, f, o (not confirmed)"
    assert table["gate order in W"].measured == "i, f, g, o (not confirmed)"
    assert table["resets of the state"].measured == "not decided"
    assert {row.differs for row in (table["gate order in R"], table["gate order in W"])} == {None}


@pytest.mark.slow  # nothing explains it: the search goes to its limits
def test_entries_misplaced_by_no_rule_are_listed():
    def before(weights):
        W = weights["W"].copy()
        W[[0, 3]] = W[[3, 0]]
        return {**weights, "W": W}

    result = measured(lambda x, weights, h0, c0, lengths=None: right(x, before(weights), h0, c0, lengths))
    assert result.explanation is not None
    assert result.explanation.fault == "weights-misplaced"
    row = rows(result)["W as it drives the gates from x"]
    assert row.differs
    assert row.measured == "W[0] drives i[3]; W[3] drives i[0]"


@pytest.mark.slow  # nothing explains it: the search goes to its limits
def test_a_curve_of_its_own_is_described():
    def step(z, c):
        i, f, g, o = z
        c = (0.5 + 0.5 * np.tanh(f**3)) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    row = rows(measured(port_of(step)))["activation of f"]
    assert row.differs is None
    assert "curve of its own" in row.evidence


@pytest.mark.parametrize(("to", "bits"), [pytest.param("float16", 11, marks=pytest.mark.slow), (None, 24)])
def test_bits_are_counted(to, bits):
    def port(x, weights, h0, c0, lengths=None):
        if to:
            weights = {**weights, "W": weights["W"].astype(to).astype(x.dtype)}
        return right(x, weights, h0, c0, lengths)

    table = rows(measured(port))
    assert table["precision of W"].measured.startswith(f"{bits} bits")
    assert table["precision of x"].differs is False


def test_a_port_without_c_is_still_proved():
    result = measured(
        lambda x, weights, h0, c0, lengths=None: (make_port("state-reset")(x, weights, h0, c0, lengths)[0], None)
    )
    assert result.explanation is not None
    assert result.explanation.fault == "h_in-and-c_in:initial"


def test_what_takes_no_lengths_is_said():
    def port(x, weights, h0, c0):
        return right(x, weights, h0, c0)

    result = measured(port)
    row = rows(result)["past the end of a sequence"]
    assert row.differs is None
    assert "takes no lengths" in row.measured
    assert result.proved


def test_what_remembers_is_seen():
    kept = {}

    def port(x, weights, h0, c0, lengths=None):
        h, c = right(x, weights, kept.get(x.shape, h0), c0, lengths)
        kept[x.shape] = h[-1]
        return h, c

    assert rows(measured(port))["the same call twice"].differs


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        (0, "i(z) g(z) is a curve of its own: 0 at 0, slope 0.352"),
        (1, "f(z) is a curve of its own: 0.406"),
        (3, "h / tanh(c) is a curve of its own: 0.406"),
    ],
)
def test_a_curve_of_its_own_is_told_with_all_that_may_have_made_it(gate, told):
    def step(z, c):
        i, f, o = (sigmoid(z[n]) ** (1.3 if n == gate else 1) for n in (0, 1, 3))
        c = f * c + i * np.tanh(z[2])
        return o * np.tanh(c), c

    facts = curve_facts(PortBlackBox(LocalPort(port_of(step))))
    assert len(facts) == 3
    (odd,) = [fact for fact in facts if not fact.endswith("is as intended")]
    assert told in odd
    readings = {0: "the curve of i, of g, or both", 3: "the curve of o, or that of the cell's output"}
    assert odd.endswith(readings.get(gate, "over [-9, 9]"))


def test_sequences_that_depend_on_each_other_are_told():
    def step(z, c):
        i, f, o = (sigmoid(z[n]) for n in (0, 1, 3))
        c = f * (c + c.mean(axis=0) / 10) + i * np.tanh(z[2])
        return o * np.tanh(c), c

    facts = curve_facts(PortBlackBox(LocalPort(port_of(step))))
    assert facts[0] == "measured: what a sequence gives depends on the others of its batch"
