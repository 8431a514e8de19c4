"""Deviations of the way back give what a way back by hand gives with that slip; alone, many at a time, and named."""

from __future__ import annotations

import numpy as np
import pytest
from decoder_cases import ENCODER, make_decoder
from examples import mostly_slow
from faulty_way_back import by_gate, in_order, of_step, returned_values, way_back
from lstm_cases import make_case

from lockstep.harness.cases.decoder_problem import problem_of
from lockstep.harness.cases.tensors import kind_of
from lockstep.harness.causes.edits import NoPlaceError
from lockstep.harness.causes.interpret import values_with
from lockstep.harness.causes.many import Many, can_join, rules_of
from lockstep.harness.diagnosis.explain_causes import explain
from lockstep.harness.diagnosis.named_causes import expected_named
from lockstep.harness.diagnosis.observation import Observation
from lockstep.harness.diagnosis.screen import outcomes
from lockstep.harness.diagnosis.seen import Seen
from lockstep.harness.faults.deviation import edits_of
from lockstep.harness.faults.table import backward_deviations, find, forward_deviations
from lockstep.harness.faults.wording.families import family_of
from lockstep.harness.faults.wording.words import Words
from lockstep.harness.reference.expect import expect

SIZES = {"timesteps": 4, "batch": 2, "input_size": 3, "hidden_size": 3, "seed": 3, "initial_state": "probe"}
SQUARE = {"gradients": True, **SIZES}


USES = {"i": "add.i", "f": "keep.f", "g": "add.g", "o": "out.o"}  # of each gate, beside its own slope


def scaled(gate, factor):
    """One gate's block times a number."""
    return by_gate(**{gate: lambda blocks: factor * blocks[gate]})


def copied(gate, replaced):
    """One gate's block in the place of others."""
    return by_gate(**dict.fromkeys(replaced, lambda blocks: blocks[gate]))


def changed(*names, change):
    """Gradients of these names, changed when they are returned."""
    return {"returned": lambda found: found | {f"d{name}": change(found[f"d{name}"]) for name in names}}


def exchanged(one, other):
    """Two gradients returned in each other's place."""
    return {"returned": lambda found: found | {one: found[other], other: found[one]}}


def columns(change):
    """A change of blocks, of what arrives at z (B, 4 H)."""
    return {"dz": lambda d: change(d.T).T}


def gates_saved(order):
    """Gates and their slopes, read in their own order where they were saved in another."""
    pairs = [(gate, name) for gate, name in zip("ifgo", order, strict=True) if gate != name]
    return {"take": {use: of_step(name, 0) for gate, name in pairs for use in (USES[gate], f"slope.{gate}")}}


def initial_c(steps):
    return np.tanh(steps[0]["c_in"])


# By name: the slip, as ``way_back`` takes it.
SLIPS = {
    # Weights read otherwise.
    "R-on-the-way-back:read-as-fogi": {"R": in_order("fogi")},
    "WR-on-the-way-back:read-as-igfo": {"W": in_order("igfo"), "R": in_order("igfo")},
    "W-on-the-way-back:block-f-for-g": {"W": copied("f", "g")},
    "W.i-on-the-way-back:zero": {"W": scaled("i", 0)},
    "R-on-the-way-back:zero-but-for-o": {"R": by_gate(**dict.fromkeys("ifg", lambda blocks: 0 * blocks["i"]))},
    "R-on-the-way-back:times--1": {"R": lambda a: -a},
    "W-on-the-way-back:times-1/2": {"W": lambda a: a / 2},
    "WR-on-the-way-back:times-2": {"W": lambda a: 2 * a, "R": lambda a: 2 * a},
    "R-on-the-way-back:zero": {"R": lambda a: 0 * a},
    "R.g-on-the-way-back:transposed": {"R": by_gate(g=lambda blocks: blocks["g"].T)},
    "R-on-the-way-back:transposed-by-gate": {"R": by_gate(**{k: lambda b, k=k: b[k].T for k in "ifgo"})},
    # Gradients returned, and what arrives at z, by gate.
    "dW.i:zero": changed("W", change=scaled("i", 0)),
    "dR.f:times--1": changed("R", change=scaled("f", -1)),
    "db.g:times-1/2": changed("b", change=scaled("g", 0.5)),
    "dWRb.o:times-2": changed("W", "R", "b", change=scaled("o", 2)),
    "db:block-f-for-o": changed("b", change=copied("f", "o")),
    "db:block-f-for-i-and-o": changed("b", change=copied("f", "io")),
    "dWR:block-g-for-all": changed("W", "R", change=copied("g", "ifo")),
    "dh0-and-dc0:exchanged": exchanged("dh0", "dc0"),
    "dW-and-dR:exchanged": exchanged("dW", "dR"),
    "d-z:returned-as-igfo": columns(in_order("igfo")),
    "d-z:block-i-for-f-and-o": columns(copied("i", "fo")),
    # Slopes of other values.
    "slope.u:saved-as-previous-u": {"take": {"slope.u": of_step("u", -1)}},
    "slope.u:taken-at-c_in": {"take": {"slope.u": of_step("u", -1, initial_c)}},
    "slope.i:saved-as-next-i": {"take": {"slope.i": of_step("i", 1)}},
    "slope.f:saved-as-o": {"take": {"slope.f": of_step("o", 0)}},
    "slope.g:saved-as-u": {"take": {"slope.g": of_step("u", 0)}},
    "slope.o:saved-as-previous-f": {"take": {"slope.o": of_step("f", -1)}},
    "slope.g:taken-at-c": {"take": {"slope.g": of_step("u", 0)}},
    # Several at once.
    "gates:saved-as-figo": gates_saved("figo"),
    "gates:saved-as-iofg": gates_saved("iofg"),
    "gates:saved-as-previous": {
        "take": {use: of_step(name, -1) for name, used in USES.items() for use in (used, f"slope.{name}")}
    },
    "add.i-and-add.g:saved-for-each-other": {"take": {"add.i": of_step("g", 0), "add.g": of_step("i", 0)}},
    "x-and-h_in:saved-as-next": {"take": {"x": of_step("x", 1), "h_in": of_step("h_in", 1)}},
    "out.o:saved-as-1": {"take": {"out.o": lambda steps, t: 1.0}},
}  # fmt: skip
PEEPHOLES = {
    "d-peep.i,-peep.f-and-peep.o:zero": {"peepholes": 0.0},
    "d-peep.i,-peep.f-and-peep.o:times-1/2": {"peepholes": 0.5},
    "p-on-the-way-back:read-as-ofi": {"p": lambda a: a[[2, 1, 0]]},
    "dp.f:zero": changed("p", change=lambda a: a * [[1], [0], [1]]),
}


@pytest.mark.parametrize("name", [*SLIPS, *PEEPHOLES])
def test_a_deviation_of_the_way_back_gives_what_the_slip_gives(name):
    problem = problem_of(make_case(dtype="float64", peephole=name in PEEPHOLES, **SQUARE))
    computed = expected_named(name, problem)
    by_hand = way_back(problem, **(SLIPS | PEEPHOLES)[name])
    right = expect(problem)
    assert computed is not None
    assert any(not np.allclose(by_hand[name], right[name].value, rtol=1e-6) for name in by_hand)
    for tensor, value in by_hand.items():
        np.testing.assert_allclose(computed[tensor].value, value, rtol=1e-9, atol=1e-12, err_msg=tensor)
    for tensor in {"c", "h", "h_n", "c_n"} & set(right):
        np.testing.assert_array_equal(computed[tensor].value, right[tensor].value)


def test_the_way_back_without_a_slip_is_the_reference():
    for peephole in (False, True):
        problem = problem_of(make_case(dtype="float64", peephole=peephole, **SQUARE))
        for tensor, value in way_back(problem).items():
            np.testing.assert_allclose(expect(problem)[tensor].value, value, rtol=1e-10, atol=1e-13, err_msg=tensor)


NAMED = [
    "R-on-the-way-back:read-as-fogi", "W.i-on-the-way-back:zero", "dR.f:times--1", "db:block-f-for-i-and-o",
    "slope.u:saved-as-previous-u", "slope.f:saved-as-o", "gates:saved-as-figo", "d-z:returned-as-igfo",
    "d-peep.i,-peep.f-and-peep.o:zero", "dh0-and-dc0:exchanged",
]  # fmt: skip


@pytest.mark.parametrize("name", mostly_slow(NAMED, every=5))
def test_a_slip_on_the_way_back_is_named_from_numbers_alone(name):
    settings = SQUARE | {"input_size": 2, "batch": 3}
    problem = problem_of(make_case(dtype="float32", peephole=name in PEEPHOLES, **settings))
    tensors = returned_values(problem, **(SLIPS | PEEPHOLES)[name])
    (diagnosis, *_) = explain([Observation(problem, {k: v.astype(np.float32) for k, v in tensors.items()})])
    assert name in {diagnosis.fault, *diagnosis.indistinguishable_from}
    assert diagnosis.sigma < 10
    assert "going forward is right" in diagnosis.message or "returned" in diagnosis.message


# -- decoders ----------------------------------------------------------------------------------------------------


def differing(name, case, other):
    """The gradients that differ between two deviations of a decoder; None: none at all."""
    problem = problem_of(case)
    one = expected_named(name, problem)
    two = expect(problem) if other is None else expected_named(other, problem)
    return {k for k in one if not np.allclose(one[k].value, two[k].value, rtol=1e-9, atol=1e-13)}


def test_kernels_of_a_decoder_can_be_read_otherwise_on_the_way_back():
    case = make_decoder(gradients=True, dtype="float64", seed=3, score="general")
    # Twice the kernel is twice what comes to it, but for its own gradient.
    assert differing("W_target-on-the-way-back:times-2", case, "all-dlogit:times-2") <= {"dW_target", "dW_target_t"}
    assert differing("W_a-on-the-way-back:zero", case, "d-W_a.query:zero") <= {"dW_a", "dW_a_t"}
    assert {"dR", "denc", "dh0"} <= differing("W_target-on-the-way-back:times-2", case, None)
    nothing = expected_named("W_tilde-on-the-way-back:zero", problem_of(case))
    for name in ("dW", "dR", "db", "dh0", "dc0", "denc", "dW_a"):  # all that is below it
        assert not nothing[name].value.any(), name
    assert nothing["dW_tilde"].value.any()


def test_the_slope_of_the_softmax_and_of_y_can_be_others():
    case = make_decoder(gradients=True, dtype="float64", seed=3)
    problem = problem_of(case)
    assert differing("slope-of-softmax:1", case, None)
    last = -1  # of the last step y goes nowhere but to the logits
    slope = expected_named("slope.y:saved-as-previous-y", problem)["db_tilde_t"].value[last]
    right = expect(problem)
    y = right["y"].value
    arrives = problem.dy[last] + problem.dlogit[last] @ problem.weights.arrays()["W_target"]
    np.testing.assert_allclose(slope, (arrives * (1 - y[-2] ** 2)).sum(axis=0), rtol=1e-9)


def test_an_operand_is_saved_through_what_only_moves_it():
    case = make_decoder(gradients=True, dtype="float64", seed=3, timesteps=1)
    problem = problem_of(case)
    E = problem.decoder.width(problem.case.lstm)
    right = expect(problem)["dW_tilde"].value
    wrong = expected_named("join.h:saved-as-next-h", problem)["dW_tilde"].value  # behind the last step it is 0
    np.testing.assert_allclose(wrong[:, :E], right[:, :E])
    assert not wrong[:, E:].any()
    assert right[:, E:].any()


# -- many at a time ------------------------------------------------------------------------------------------------

FORMS = {
    "plain": make_case(dtype="float64", **SQUARE),
    "peepholes and a clip": make_case(dtype="float64", peephole=True, cell_clip=0.3, **SQUARE),
    "coupled": make_case(dtype="float64", input_forget=True, forget_bias=0.0, **SQUARE),
    "projection, two layers": make_case(dtype="float64", num_layers=2, proj_size=2, **SQUARE),
    "two directions with lengths": make_case(dtype="float64", direction="bidirectional", lengths=(4, 2), **SQUARE),
    "decoder": make_decoder(gradients=True, dtype="float64", seed=3, score="general"),
}


def alone(problem, edits):
    """The values of one set of edits; None where there is no place for it."""
    try:
        return values_with(problem, edits)
    except NoPlaceError:
        return None


def sampled(problem, every):
    """Some of the deviations of the way back, with their edits."""
    found = []
    for deviation in list(backward_deviations(problem))[::every]:
        try:
            edits = edits_of((deviation,), problem)
        except NoPlaceError:
            continue
        if can_join(edits) and not rules_of(edits):
            found.append((deviation, edits))
    return found


@pytest.mark.parametrize("form", mostly_slow(FORMS, every=3))
def test_many_at_a_time_are_what_each_is_alone(form):
    problem = problem_of(FORMS[form])
    candidates = sampled(problem, 17)
    many = Many.of([edits_of((deviation,), problem) for deviation, _ in candidates])
    together = values_with(problem, many)
    compared = 0
    for n, (deviation, edits) in enumerate(candidates):
        own = alone(problem, edits)
        assert many.alive[n] == (own is not None), deviation.name
        for name, value in (own or {}).items():
            array = together[name]
            if array.ndim > value.ndim:
                axis = 1 if kind_of(name).endswith("_t") else max(array.ndim - 3, 0)
                array = np.take(array, n if array.shape[axis] > 1 else 0, axis)
            np.testing.assert_allclose(array, value, rtol=1e-10, atol=1e-13, err_msg=f"{deviation.name} {name}")
            compared += 1
    assert compared > 100


def test_a_weight_misread_forward_and_another_way_back_hold_together():
    problem = problem_of(make_case(dtype="float64", **SQUARE))
    both = tuple(find(name, problem) for name in ("R:read-as-figo", "R-on-the-way-back:zero"))
    forward = values_with(problem, edits_of(both[:1], problem))
    values = values_with(problem, edits_of(both, problem))
    np.testing.assert_array_equal(values["h"], forward["h"])
    assert not np.allclose(values["dx"], forward["dx"])
    # Nothing comes back from the step after but through c.
    cut = values_with(problem, edits_of((both[0], find("d-Rh:zero", problem)), problem))
    np.testing.assert_allclose(values["dW"], cut["dW"], rtol=1e-12)
    many = Many.of([edits_of(cause, problem) for cause in (both, both[:1], both[1:])])
    np.testing.assert_allclose(values_with(problem, many)["dW"][0], values["dW"], rtol=1e-12)


def test_a_planted_one_is_found_among_others_that_run_with_it():
    problem = problem_of(make_case(dtype="float64", **SQUARE))
    names = [*SLIPS]
    planted = names.index("gates:saved-as-figo")
    seen = Seen.of(Observation(problem, returned_values(problem, **SLIPS[names[planted]])))
    causes = [(find(name, problem),) for name in names]
    passing = [k for k, outcome in enumerate(outcomes(seen, causes, set(seen.observation.tensors))) if outcome.passes]
    assert passing == [planted]


# -- the table -----------------------------------------------------------------------------------------------------


def test_the_table_stays_small_enough_to_be_run_whole():
    assert len(backward_deviations(problem_of(make_case(**SQUARE)))) < 3000


@pytest.mark.parametrize("name", [*SLIPS, *PEEPHOLES])
def test_words_tell_that_it_is_the_way_back(name):
    deviation = find(name, problem_of(make_case(peephole=name in PEEPHOLES, **SQUARE)))
    assert deviation.name == name
    assert family_of(deviation) == "gradient"
    message = Words("torch").message(deviation)
    assert "On the way back" in message or "returned" in message
    assert deviation.way == "back"
    assert deviation.name not in {each.name for each in forward_deviations(problem_of(make_case(**SQUARE)))}


def test_the_gradients_of_an_encoder_are_returned_as_others_are():
    case = make_decoder(gradients=True, dtype="float64", seed=3, encoder=ENCODER)
    problem = problem_of(case)
    right = expect(problem)
    halved = expected_named("dW.g:times-1/2@encoder", problem)
    assert differing("dW.g:times-1/2@encoder", case, None) == {"dW_encoder"}
    H = len(right["dW_encoder"].value) // 4
    np.testing.assert_allclose(halved["dW_encoder"].value[2 * H : 3 * H], right["dW_encoder"].value[2 * H : 3 * H] / 2)
    assert differing("dx:zero", case, None) == {"dx"}


def test_what_is_returned_otherwise_twice_is_changed_twice():
    problem = problem_of(make_case(dtype="float64", **SQUARE))
    quarter = expected_named("dW:times-1/2 + gradients-of-weights:times-1/2", problem)
    np.testing.assert_allclose(quarter["dW"].value, expect(problem)["dW"].value / 4)
    np.testing.assert_allclose(quarter["dR"].value, expect(problem)["dR"].value / 2)
