"""Conventions of networks, measured lane by lane; and checks that go on from what was measured."""

from __future__ import annotations

import numpy as np
import pytest
from examples import mostly_slow
from judge import causes_of
from lstm_cases import make_case

from lockstep.harness.cases.case import LSTM, AttentionDecoder, Case, Run
from lockstep.harness.cases.tensors import Lane, lanes
from lockstep.harness.diagnosis.anatomy.anatomy import prove
from lockstep.harness.diagnosis.anatomy.lane_box import NO_ANSWER, NO_STATES, LaneBlackBox
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.check import check
from lockstep.harness.jobs.measure import FORMS, LimitedCalls, anatomy_of_port, tensors_of_calls
from lockstep.harness.ports.port import LocalPort


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def hard_sigmoid(z):
    return np.clip(0.2 * z + 0.5, 0, 1)


def turned(array, lengths):
    result = array.copy()
    for n, length in enumerate(lengths):
        result[:length, n] = array[:length, n][::-1]
    return result


def network_port(*, cell=lambda z, c: (sigmoid(z[3]), sigmoid(z[1]) * c + sigmoid(z[0]) * np.tanh(z[2])),
                 weights_of=lambda lane, layer, reverse: lane, directions=None, final=True):  # fmt: skip
    """A port of networks of any form; ``cell`` gives o and c from the pre-activations (i, f, g, o) and c."""

    def run(x, lane, h, c, lengths):
        outputs, cells, P, p = [], [], lane.get("P"), lane.get("p")
        bound = lane.get("clip", np.inf)
        for t, x_t in enumerate(x):
            z = np.split(x_t @ lane["W"].T + h @ lane["R"].T + lane["b"], 4, axis=-1)
            if p is not None:
                z[0], z[1] = z[0] + p[0] * c, z[1] + p[1] * c
            o, c_new = cell(z, c)
            c_new = np.clip(c_new, -bound, bound)
            o = sigmoid(z[3] + p[2] * c_new) if p is not None else o
            h_new = o * np.tanh(c_new)
            h_new = h_new if P is None else h_new @ P.T
            valid = (t < lengths)[:, None]
            h, c = np.where(valid, h_new, h), np.where(valid, c_new, c)
            outputs.append(np.where(valid, h_new, 0))
            cells.append(c)
        return np.stack(outputs), np.stack(cells), h, c

    def port(x, weights, h0, c0, lengths=None):
        lengths = np.full(x.shape[1], len(x)) if lengths is None else lengths
        single = isinstance(weights, dict)
        stack = [[weights]] if single else weights
        starts = (h0[None], c0[None]) if single else (h0, c0)
        h_seq, c_seq, h_n, c_n = x, x, [], []
        for layer, of_layer in enumerate(stack):
            sides, cells = [], []
            for k, lane in enumerate(of_layer):
                reverse = directions == "reverse" or k == 1
                n = len(h_n)
                inputs = turned(h_seq, lengths) if reverse else h_seq
                h, c, h_end, c_end = run(inputs, weights_of(lane, layer, reverse), starts[0][n], starts[1][n], lengths)
                sides.append(turned(h, lengths) if reverse else h)
                cells.append(turned(c, lengths) if reverse else c)
                h_n.append(h_end)
                c_n.append(c_end)
            h_seq, c_seq = np.concatenate(sides, axis=-1), np.concatenate(cells, axis=-1)
        results = (h_seq, c_seq) if single else (h_seq, np.stack(h_n), np.stack(c_n)) if final else (h_seq, None, None)
        return tuple(None if array is None else array.astype(x.dtype) for array in results)

    return port


def hard_cell(z, c):
    """Hard gates, and 0.3 added to f."""
    return hard_sigmoid(z[3]), hard_sigmoid(z[1] + 0.3) * c + hard_sigmoid(z[0]) * np.tanh(z[2])


def reshaped(lane, *_):
    return {**lane, "R": lane["R"].reshape(lane["R"].shape[::-1]).T}


def box_of(port, lane, **form):
    lstm = LSTM(input_size=3, hidden_size=4, **form)
    local = LocalPort(port)
    return LaneBlackBox(lambda p: tensors_of_calls(local, p), lstm, lane, name="port", layout="canonical")


def proved_names(proof):
    assert proof.cause is not None
    return {deviation.name for deviation in proof.cause}


# Both directions of the lower layer, one of the upper; a projection, peepholes and a clip; backward alone.
LANES = [
    ({"num_layers": 2, "direction": "bidirectional"}, Lane(0, reverse=True)),
    ({"num_layers": 2, "direction": "bidirectional"}, Lane(1, reverse=False)),
    ({"num_layers": 3}, Lane(2, reverse=False)),
    ({"proj_size": 3}, Lane(0, reverse=False)),
    ({"cell_clip": 0.5, "proj_size": 2}, Lane(0, reverse=False)),
]


@pytest.mark.parametrize(("form", "lane"), LANES)
def test_a_healthy_lane_is_canonical(form, lane):
    proof = prove(box_of(network_port(), lane, **form))
    assert proof.cause == ()
    assert proof.sigma is not None
    assert proof.sigma < 5


@pytest.mark.parametrize(("form", "lane"), mostly_slow(LANES, every=6, names=2))
def test_three_conventions_of_a_lane_are_measured_at_once(form, lane):
    port = network_port(cell=hard_cell, weights_of=reshaped)
    proof = prove(box_of(port, lane, **form))
    assert proved_names(proof) == {"R:reshaped,-not-transposed", "b.f:plus-0.3", "curve-of-gates:hard_sigmoid_0.2"}


def test_a_reverse_layer_is_told_in_its_own_order_of_time():
    port = network_port(directions="reverse", weights_of=with_f_and_g_exchanged)
    form = {"direction": "reverse"}
    assert proved_names(prove(box_of(port, Lane(0, reverse=True), **form))) == {"W:read-as-igfo"}
    assert prove(box_of(network_port(directions="reverse"), Lane(0, reverse=True), **form)).cause == ()


def with_f_and_g_exchanged(lane, *_):
    i, f, g, o = np.split(lane["W"], 4)
    return {**lane, "W": np.concatenate([i, g, f, o])}


def test_peepholes_do_not_disturb_what_is_measured():
    proof = prove(box_of(network_port(weights_of=with_f_and_g_exchanged), Lane(0, reverse=False), peephole=True))
    assert proved_names(proof) == {"W:read-as-igfo"}


@pytest.mark.slow  # four lanes are measured
def test_the_anatomy_of_a_network_has_a_table_for_each_lane_and_is_proved_as_a_whole():
    def weights_of(lane, layer, reverse):
        H = lane["R"].shape[1]
        b = lane["b"].copy()
        b[H : 2 * H] += 0.7 * reverse
        return {**(reshaped(lane, layer, reverse) if layer == 0 else lane), "b": b}

    result = anatomy_of_port(
        LocalPort(network_port(weights_of=weights_of)),
        LSTM(input_size=3, hidden_size=4, num_layers=2, direction="bidirectional"),
    )
    assert result.proved
    differing = {lane.lane: {row.name for row in lane.anatomy.conventions if row.differs} for lane in result.lanes}
    R, b = "R as it drives the gates from h", "constant added to f"
    assert differing == {"0": {R}, "0r": {R, b}, "1": set(), "1r": {b}}
    assert set(result.explanation.fault.split(" + ")) == {
        "R:reshaped,-not-transposed@below-the-top", "b.f:plus-0.7@reverse",
    }  # fmt: skip
    # What one timestep does not show of an upper layer, the proof of the whole does.
    rows = {row.name: row for row in result.lanes[-1].anatomy.conventions}
    assert "proof of the whole" in rows["h that reaches the next step"].evidence


@pytest.mark.slow  # a search in full, after all is measured
@pytest.mark.usefixtures("long_search")
@pytest.mark.parametrize("form", [{"num_layers": 2, "direction": "bidirectional"}, {"num_layers": 2, "proj_size": 3}])
def test_a_check_goes_on_from_what_was_measured_in_the_first_wrong_lane(form):
    def weights_of(lane, layer, _):
        return with_f_and_g_exchanged(lane) if layer == 0 else lane

    cases = [
        make_case(f"case {seed}", timesteps=5, batch=3, initial_state="probe", seed=seed, **form) for seed in (0, 1)
    ]
    port = network_port(cell=hard_cell, weights_of=weights_of)
    (cause,) = causes_of(check(LocalPort(port), cases))
    lower = "layer-0" if "direction" in form else "0"
    where = {f"W:read-as-igfo@{lower}", "W:read-as-igfo@below-the-top"}
    names = set(cause.fault.split(" + "))
    assert {"b.f:plus-0.3", "curve-of-gates:hard_sigmoid_0.2"} <= names
    assert names & where
    assert cause.sigma is not None
    assert cause.sigma < 10


def with_f_raised(lane, by=0.7):
    i, f, g, o = np.split(lane["b"], 4)
    return {**reshaped(lane), "b": np.concatenate([i, f + np.float32(by), g, o])}


IN_THE_FORM = [
    ({"peephole": True}, lambda lane, *_: {**with_f_and_g_exchanged(lane), "p": lane["p"][[1, 0, 2]]},
     {"W:read-as-igfo", "p:read-as-fio"}),
    ({"cell_clip": 0.4}, lambda lane, *_: {**with_f_raised(lane), "clip": 2 * lane["clip"]},
     {"R:reshaped,-not-transposed", "b.f:plus-0.7", "clip:times-2"}),
    ({"proj_size": 3}, lambda lane, *_: {**with_f_raised(lane), "P": lane["P"] / 2},
     {"R:reshaped,-not-transposed", "b.f:plus-0.7", "o:times-0.5"}),
]  # fmt: skip


@pytest.mark.parametrize(("form", "weights_of", "names"), mostly_slow(IN_THE_FORM, every=3, names=3))
def test_what_a_form_adds_is_found_on_top_of_what_was_measured(form, weights_of, names):
    cases = [
        make_case(f"case {seed}", timesteps=5, batch=3, initial_state="probe", seed=seed, **form) for seed in (0, 1)
    ]
    causes = causes_of(check(LocalPort(network_port(weights_of=weights_of)), cases))
    assert names in [set(cause.fault.split(" + ")) for cause in causes]


def test_what_cannot_be_asked_says_why():
    def no_silence(*_, **__):
        raise ValueError("weights are 0")

    form = {"num_layers": 2}
    assert box_of(no_silence, Lane(0, reverse=False), **form).refusal == NO_ANSWER
    assert box_of(network_port(final=False), Lane(0, reverse=False), **form).refusal == NO_STATES
    assert (
        "its cell is not the standard one" in box_of(network_port(), Lane(0, reverse=False), activation="relu").refusal
    )


def test_every_form_that_is_tried_is_one_that_can_be_measured():
    for form in FORMS:
        lstm = LSTM(input_size=3, hidden_size=4, **form)
        assert len(lanes(lstm)) > 0
        assert box_of(network_port(directions=form.get("direction")), lanes(lstm)[0], **form).refusal == ""


def test_a_gate_that_never_opens_below_leaves_the_upper_lane_out():
    port = network_port(cell=lambda z, c: (np.zeros_like(z[3]), sigmoid(z[1]) * c + sigmoid(z[0]) * np.tanh(z[2])))
    lstm = LSTM(input_size=3, hidden_size=4, num_layers=2)
    assert "gives no rising curve" in box_of(port, lanes(lstm)[1], num_layers=2).refusal


def decoder_port(
    *,
    cell=lambda z, c: (sigmoid(z[3]), sigmoid(z[1]) * c + sigmoid(z[0]) * np.tanh(z[2])),
    weights_of=lambda w: w,
    tilde=True,
):
    """A port of an attention decoder; ``cell`` as of ``network_port``."""

    def port(enc, weights, h0, c0, y0, steps, lengths=None):
        w, h, c, y = weights_of(weights), h0, c0, y0
        valid = np.ones(enc.shape[:2], bool) if lengths is None else np.arange(len(enc))[:, None] < lengths
        logits, outputs = [], []
        for _ in range(steps):
            into_cell = w["W"].shape[1] > y.shape[1]
            context = attend(enc, w, h, valid) if into_cell else None
            x = np.concatenate([context, y], axis=1) if into_cell else y
            o, c = cell(np.split(x @ w["W"].T + h @ w["R"].T + w["b"], 4, axis=1), c)
            h = o * np.tanh(c)
            context = context if into_cell else attend(enc, w, h, valid)
            y = np.tanh(np.concatenate([context, h], axis=1) @ w["W_tilde"].T + w["b_tilde"])
            outputs.append(y)
            logits.append(y @ w["W_target"].T)
        return np.stack(logits).astype(enc.dtype), np.stack(outputs).astype(enc.dtype) if tilde else None

    return port


def attend(enc, w, h, valid):
    if "v_a" in w:
        scores = (np.tanh(enc @ w["W_k"].T + h @ w["W_q"].T) @ w["v_a"].T)[..., 0]
    else:
        scores = (enc * (h @ w["W_a"].T if "W_a" in w else h)).sum(-1)
    scores = np.where(valid, scores, -np.inf)
    attention = np.exp(scores - scores.max(0))
    return (attention[:, :, None] * enc).sum(0) / attention.sum(0)[:, None]


CELL = LSTM(input_size=3, hidden_size=4)


@pytest.mark.parametrize(
    ("score", "context"),
    mostly_slow([("dot", "output"), ("general", "output"), ("additive", "input")], every=3, names=2),
)
def test_a_decoders_cell_is_measured_and_the_decoder_is_proved_as_a_whole(score, context):
    decoder = AttentionDecoder(source_timesteps=4, score=score, context=context)
    healthy = anatomy_of_port(LocalPort(decoder_port()), CELL, decoder)
    assert healthy.proved
    assert healthy.explanation is None
    assert [row.name for row in healthy.lanes[0].anatomy.conventions if row.differs is not False] == []

    faulty = anatomy_of_port(LocalPort(decoder_port(cell=hard_cell, weights_of=reshaped)), CELL, decoder)
    assert set(faulty.explanation.fault.split(" + ")) == {
        "R:reshaped,-not-transposed", "b.f:plus-0.3", "curve-of-gates:hard_sigmoid_0.2",
    }  # fmt: skip


@pytest.mark.usefixtures("long_search")
@pytest.mark.slow  # a search in full, after all is measured
def test_a_check_of_a_decoder_goes_on_from_what_was_measured_in_its_cell():
    decoder = AttentionDecoder(source_timesteps=4, source_size=3, score="general", output_size=2)
    cases = [
        Case(lstm=CELL, run=Run(timesteps=4, batch=3, initial_state="probe", seed=s), attention_decoder=decoder, name=n)
        for s, n in ((1, "first"), (2, "second"))
    ]
    (cause,) = causes_of(check(LocalPort(decoder_port(cell=hard_cell, weights_of=reshaped)), cases))
    assert set(cause.fault.split(" + ")) == {
        "R:reshaped,-not-transposed", "b.f:plus-0.3", "curve-of-gates:hard_sigmoid_0.2",
    }  # fmt: skip


def test_a_decoder_that_keeps_its_h_tilde_is_not_measured_and_says_so():
    with pytest.raises(LockstepError, match="does not return h_tilde"):
        anatomy_of_port(LocalPort(decoder_port(tilde=False)), CELL, AttentionDecoder(source_timesteps=4))


def test_questions_beyond_the_calls_that_are_waited_for_have_no_answer():
    port = network_port()
    limited = LimitedCalls(LocalPort(port), 3)
    lstm = LSTM(input_size=3, hidden_size=4, num_layers=2)
    box = LaneBlackBox(limited, lstm, Lane(0, reverse=False), name="port", layout="canonical")
    assert box.refusal == ""
    assert prove(box).cause is None
