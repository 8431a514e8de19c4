"""Checks of whole networks and of gradients: what agrees, where a wrong one first diverges, and what is not run."""

from __future__ import annotations

import numpy as np
import pytest
from examples import mostly_slow
from judge import causes_of
from lstm_cases import make_case
from port_answers import answers

from lockstep.harness.cases.find import shipped
from lockstep.harness.cases.problem import Problem
from lockstep.harness.comparison.results import Diagnosis
from lockstep.harness.diagnosis.clock import searching_for
from lockstep.harness.diagnosis.unexplained import UNEXPLAINED
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.check import cases_of, check, float32_will_do, left_out, strength
from lockstep.harness.ports.port import LocalPort

NETWORK = {"num_layers": 2, "direction": "bidirectional", "initial_state": "probe"}
EVERYTHING = {**NETWORK, "proj_size": 2, "peephole": True, "cell_clip": 0.6, "lengths": (5, 2), "gradients": True}
KINDS = [
    NETWORK,
    {"direction": "reverse"},
    {"gradients": True},
    {"num_layers": 3, "gradients": True, "dtype": "float64"},
    {"gradients": True, "dtype": "float16"},
    {"dtype": "bfloat16", **NETWORK},
    EVERYTHING,
]


def right(*cases, spoil=lambda results: results):
    """Give a port that knows the right results of some cases, told apart by their x, and spoils them."""
    problems = [Problem.from_case(case) for case in cases]
    known = {problem.x.tobytes(): answers(problem) for problem in problems}

    def port(x, weights, h0, c0, dh=None, dc=None, lengths=None):  # noqa: ARG001 (what every port is handed)
        results = spoil({name: _copied(part) for name, part in known[x.tobytes()].items()})
        if dh is not None:
            return results
        return tuple(results[name] for name in (("h_seq", "c_seq") if "c_seq" in results else ("h_seq", "h_n", "c_n")))

    return port


def _copied(part):
    return [[one.copy() for one in layer] for layer in part] if isinstance(part, list) else part.copy()


def checked(port, *cases, **options):
    """Check a port over cases; give the results by case."""
    return {run.case: run for run in check(LocalPort(port), cases, **options)}


def spoilt(spoil, **settings):
    """Give the result of one case whose right results are spoilt."""
    case = make_case("one", **settings)
    return checked(right(case, spoil=spoil), case)["one"]


@pytest.mark.parametrize("settings", KINDS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_a_right_port_agrees_in_every_form(settings):
    run = spoilt(lambda results: results, **settings)
    assert (run.status, run.message, run.notes) == ("agree", None, [])
    assert run.repeatable is True
    assert max(tensor.worst.sigma for tensor in run.tensors.values()) < 5
    if "gradients" in settings:
        assert any(name.startswith("dW") for name in run.tensors)


def wrong_in(name, lane=None):
    """Give what puts one gradient off, of one lane where there are several."""

    def spoil(results):
        part = results[name] if lane is None else results[name][lane[0]][lane[1]]
        part *= part.dtype.type(2)
        return results

    return spoil


@pytest.mark.usefixtures("short_search")
@pytest.mark.parametrize(
    ("name", "lane", "settings", "tensor", "timestep"),
    mostly_slow(
        [
            ("R", None, {"gradients": True}, "dR", 0),
            ("b", None, {"gradients": True, "dtype": "bfloat16"}, "db", 0),
            ("h0", None, {"gradients": True, "initial_state": "probe"}, "dh0", 0),
            ("W", None, {"gradients": True, "direction": "reverse"}, "dW", 4),
            ("R", (0, 1), EVERYTHING, "dR_l0_reverse", 4),
            ("P", (1, 0), EVERYTHING, "dP_l1", 0),
        ],
        every=3,
        names=5,
    ),
)
def test_one_wrong_gradient_diverges_alone_and_is_named(name, lane, settings, tensor, timestep):
    run = spoilt(wrong_in(name, lane), **settings)
    assert run.status == "diverge"
    first = run.first_divergence
    assert (first.tensor, first.timestep, first.backward) == (tensor, timestep, True)
    assert [name for name, one in run.tensors.items() if one.verdict == "diverge"] == [tensor]


@pytest.mark.usefixtures("short_search")
def test_of_several_wrong_gradients_the_first_on_the_way_back_is_named():
    def spoil(results):
        for layer in (0, 1):
            results = wrong_in("R", (layer, 0))(results)
        return wrong_in("x")(results)

    run = spoilt(spoil, **EVERYTHING)
    assert run.first_divergence.tensor == "dR_l1"


@pytest.mark.usefixtures("short_search")
def test_what_is_wrong_going_forward_comes_before_what_is_wrong_on_the_way_back():
    run = spoilt(lambda results: wrong_in("h_seq")(wrong_in("W")(results)), gradients=True)
    assert (run.first_divergence.tensor, run.first_divergence.backward) == ("h", False)


def test_a_network_whose_directions_are_exchanged_diverges_in_its_top_layer():
    def spoil(results):
        results["h_seq"] = np.roll(results["h_seq"], 4, axis=-1)
        return results

    run = spoilt(spoil, **NETWORK)
    assert run.first_divergence.tensor == "h_l1"
    assert {name: one.verdict for name, one in run.tensors.items() if name.startswith("h_l1")} == {
        "h_l1": "diverge", "h_l1_reverse": "diverge",
    }  # fmt: skip


def zeros(x, weights, h0, c0, lengths=None):  # noqa: ARG001
    if isinstance(weights, list):
        return np.zeros((*x.shape[:2], 8), x.dtype), h0, c0
    return np.zeros((*x.shape[:2], 4), x.dtype), None


def test_faults_of_one_layer_are_looked_for_in_cases_of_one_layer_alone(monkeypatch):
    asked = []
    found = Diagnosis(fault="of-networks", message="It is so.", fix="Do otherwise.", sigma=1.0)

    def explain(_form, checking):
        asked.append((checking.port.name, [run.case for run in checking.runs]))
        return {run.case: [found] for run in checking.runs}

    monkeypatch.setattr("lockstep.harness.jobs.checks.explaining._explain_network", explain)
    cases = [make_case("half", dtype="float16"), make_case("plain"), make_case("network", **NETWORK)]
    runs = checked(zeros, *cases, measure=False)
    assert {run.status for run in runs.values()} == {"diverge"}
    assert asked == [("zeros", ["half", "network"])]
    assert runs["half"].diagnosis == runs["network"].diagnosis == [found]
    assert runs["plain"].diagnosis
    assert runs["plain"].diagnosis[0].fault != "of-networks"


def waves(x, weights, h0, c0):
    """A network that computes something else altogether."""
    del weights
    return np.cos(np.arange(x.shape[0] * x.shape[1] * 8)).reshape(*x.shape[:2], 8).astype(x.dtype), h0, c0


@pytest.mark.parametrize("case", [make_case("network", **NETWORK), make_case("plain")], ids=lambda case: case.name)
def test_a_search_that_time_ended_says_so_and_how_to_look_longer(case):
    def one_layer(x, weights, h, c):
        steps = []
        for x_t in x:
            i, f, g, o = np.split(x_t @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=-1)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i)) ** 1.3
            h = np.tanh(c) / (1 + np.exp(-o))
            steps.append((h, c))
        return tuple(map(np.stack, zip(*steps, strict=True)))

    with searching_for(0.02):
        run = checked(waves if case.name == "network" else one_layer, case)[case.name]
    (found,) = run.diagnosis
    assert found.fault == UNEXPLAINED
    assert found.facts[-1] == (
        "the search for a cause was ended after 0.02 s of computing: lockstep check --search-seconds 0.2 looks longer"
    )


@pytest.mark.slow  # nothing explains it: the search goes to its limits
def test_a_network_that_nothing_explains_says_what_is_known():
    runs = checked(waves, make_case("network", **NETWORK))
    (found,) = runs["network"].diagnosis
    assert found.fault == UNEXPLAINED
    assert found.facts


def exchanged(x, weights, h0, c0):
    """A network whose directions have each other's weights."""
    return bidirectional([lanes[::-1] for lanes in weights], x, h0, c0)


def forgetful(x, weights, h0, c0):
    """A network that starts every lane from zeros."""
    return bidirectional(weights, x, 0 * h0, 0 * c0)


def bidirectional(weights, x, h0, c0):
    below, finals = x, []
    for lanes in weights:
        sides = []
        for reverse, own in enumerate(lanes):
            h, c, outputs = h0[len(finals)], c0[len(finals)], []
            for x_t in below[::-1] if reverse else below:
                i, f, g, o = np.split(x_t @ own["W"].T + h @ own["R"].T + own["b"], 4, axis=-1)
                c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
                h = np.tanh(c) / (1 + np.exp(-o))
                outputs.append(h)
            sides.append(np.stack(outputs[::-1] if reverse else outputs))
            finals.append((h, c))
        below = np.concatenate(sides, axis=-1)
    return below, np.stack([h for h, _ in finals]), np.stack([c for _, c in finals])


@pytest.mark.parametrize(
    ("port", "fault"),
    mostly_slow(
        [(exchanged, "all-weights-of-lanes:directions-exchanged"), (forgetful, "all-h0-and-c0:zero")], every=2, names=2
    ),
)
def test_a_fault_of_a_network_is_named_and_held_against_fresh_numbers(port, fault):
    run = checked(port, make_case("network", **NETWORK))["network"]
    assert run.status == "diverge"
    assert run.diagnosis[0].fault == fault
    assert run.diagnosis[0].sigma < 10


def test_a_network_that_gives_other_numbers_when_called_again_is_found_out():
    calls = []

    def grows(results):
        calls.append(0)
        return {**results, "h_seq": results["h_seq"] * np.float32(len(calls))}

    run = spoilt(grows, **NETWORK)
    assert (run.status, run.repeatable) == ("diverge", False)


def test_a_network_whose_rounding_differs_from_call_to_call_is_right():
    rng = np.random.default_rng(0)

    def rounds(results):
        h = results["h_seq"]
        return {**results, "h_seq": np.nextafter(h, rng.choice([-1, 1], h.shape).astype(h.dtype), dtype=h.dtype)}

    run = spoilt(rounds, **NETWORK)
    assert (run.status, run.repeatable) == ("agree", True)


def test_a_port_that_goes_forward_only_is_checked_where_gradients_are_asked_for_and_the_text_says_so():
    cases = [
        make_case("plain"),
        make_case("gradients", seed=1, gradients=True),
        make_case("network", seed=2, **NETWORK, gradients=True),
    ]
    both_ways = right(*cases)

    def forward_alone(x, weights, h0, c0):
        return both_ways(x, weights, h0, c0)

    runs = checked(forward_alone, *cases)
    assert {case: run.status for case, run in runs.items()} == dict.fromkeys(("plain", "gradients", "network"), "agree")
    note = "gradients are not compared: it takes no dh, dc"
    assert {case: note in run.notes for case, run in runs.items()} == {
        "plain": False, "gradients": True, "network": True,
    }  # fmt: skip
    assert "dW" in checked(both_ways, *cases)["gradients"].tensors


def test_what_is_wrong_in_a_port_that_goes_forward_only_is_explained_where_gradients_are_asked_for():
    (run,) = check(LocalPort(read_as_ifog), [make_case("gradients", gradients=True, initial_state="probe")])
    (cause,) = causes_of([run])
    assert cause.fault == "WRb:read-as-ifog"
    assert "gradients are not compared: it takes no dh, dc" in run.notes


@pytest.mark.usefixtures("short_search")
@pytest.mark.parametrize("gradients", [False, True])
def test_the_verdict_is_told_before_causes_are_looked_for_and_then_what_is_looked_for(gradients):
    told = []
    case = make_case("a", gradients=gradients, initial_state="probe")
    check(
        LocalPort(read_as_ifog), [case],
        on_result=lambda run: told.append(("result", run.status, run.diagnosis)),
        on_search=lambda run: told.append(("search", run.status, run.diagnosis)),
        on_part=lambda words: told.append(("part", words, [])),
    )  # fmt: skip
    assert told[:3] == [("result", "diverge", []), ("search", "diverge", []), ("part", "one mistake", [])]


@pytest.mark.usefixtures("short_search")
def test_all_that_is_looked_for_is_told_where_nothing_explains():
    told = []
    check(LocalPort(zeros), [make_case("a", initial_state="probe")], on_part=told.append)
    assert told[0] == "one mistake"
    assert len(told) == len(dict.fromkeys(told))


def read_as_ifog(x, weights, h0, c0):
    """One layer that takes the third block for o and the fourth for g."""
    return network(x, [[weights]], [h0], [c0], "ifog")[0], None


def network(x, weights, h0, c0, order="ifgo", lengths=None):
    """Stacks and directions, forward only, whatever the lengths."""
    assert lengths is None
    h_n, c_n = [], []
    for layer in weights:
        sides = []
        for reverse, lane in enumerate(layer):
            h, c, hs = h0[len(h_n)], c0[len(h_n)], []
            for x_t in x[::-1] if reverse else x:
                z = dict(zip(order, np.split(x_t @ lane["W"].T + h @ lane["R"].T + lane["b"], 4, axis=-1), strict=True))
                c = sigmoid(z["f"]) * c + sigmoid(z["i"]) * np.tanh(z["g"])
                h = sigmoid(z["o"]) * np.tanh(c)
                hs.append(h)
            sides.append(np.stack(hs[::-1] if reverse else hs))
            h_n.append(h)
            c_n.append(c)
        x = np.concatenate(sides, axis=-1)
    return x, np.stack(h_n), np.stack(c_n)


def sigmoid(z):
    return (1 + np.tanh(z / 2)) / 2


SUITE = [
    make_case("plain", initial_state="probe"),
    make_case("gradients", seed=1, gradients=True),
    make_case("network", seed=2, **NETWORK, gradients=True),
]


def plain(x, weights, h0, c0):
    return network(x, [[weights]], [h0], [c0])[0], None


def of_both_forms(x, weights, h0, c0):
    return network(x, weights, h0, c0) if isinstance(weights, list) else plain(x, weights, h0, c0)


def with_gradients_only(x, weights, h0, c0, dh, dc):
    return right(*SUITE)(x, weights, h0, c0, dh, dc)


@pytest.mark.parametrize(
    ("port", "forms"),
    [
        (plain, {"plain"}),
        (network, {"network"}),
        (of_both_forms, {"plain", "network"}),
        (right(*SUITE), {"plain", "gradients", "network"}),
        (with_gradients_only, {"gradients", "network"}),
    ],
    ids=["plain", "network", "both", "all", "gradients"],
)
def test_of_a_suite_those_forms_are_checked_that_a_port_answers(port, forms):
    runs = checked(port, *SUITE, suite=True)
    assert {name: run.status for name, run in runs.items()} == dict.fromkeys(forms, "agree")


@pytest.mark.parametrize(
    ("port", "form", "message"),
    [
        (lambda x, weights, h0, c0: weights["kernel"], "plain", "it raised KeyError"),
        (
            lambda x, weights, h0, c0: network(x, weights, h0, c0)[0][1:],
            "network",
            "h_seq has shape (4, 2, 8), expected (T, B, D*H)",
        ),
        (lambda x, weights, h0, c0, dh, dc: weights["kernel"], "gradients", "it raised KeyError"),
    ],
)
def test_of_a_suite_that_a_port_answers_nowhere_the_form_is_told_in_which_it_came_furthest(port, form, message):
    (run,) = check(LocalPort(port), SUITE, suite=True)
    assert run.case == form
    assert message in run.message


def test_a_port_for_one_layer_is_told_what_weights_are_in_a_network():
    runs = checked(lambda x, weights, h0, c0: weights["W"], make_case("network", **NETWORK))
    assert runs["network"].status == "failed"
    assert runs["network"].message.endswith("(here weights is a list over layers of a list over directions of dicts)")
    runs = checked(lambda x, weights, h0, c0: weights[0][0]["W"], make_case("plain"))
    assert "raised KeyError" in runs["plain"].message
    runs = checked(lambda x, weights, h0, c0: [layer["W"] for layer in weights], make_case("plain"))
    assert runs["plain"].message.endswith("(here weights is a dict)")


def test_the_suite_is_what_arguments_tell_of_and_the_rest_is_run_when_named():
    suite = {case.name for case in cases_of([])}
    assert {"probe", "gradients", "layers", "bidirectional-layers-lengths"} <= suite
    assert not {"reverse", "peepholes", "cell-clip", "float16", "layers-projection", "relu"} & suite
    decoders = {case.name for case in cases_of([], decoder=True)}
    assert suite | set(left_out(suite)) | decoders == set(shipped())
    assert not suite & set(left_out(suite))
    with pytest.raises(LockstepError, match="no case is called"):
        cases_of(["bidirectoinal"])


# Precision


def loop(x, weights, h0, c0, *, dtype, forget_bias=0.0):
    """One plain layer in a dtype of its own, whatever it is given."""
    W, R, b, x, h, c = (np.asarray(array, dtype) for array in (weights["W"], weights["R"], weights["b"], x, h0, c0))
    h_seq, c_seq = [], []
    for x_t in x:
        i, f, g, o = np.split(x_t @ W.T + h @ R.T + b, 4, axis=-1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f + dtype(forget_bias), o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        h_seq.append(h)
        c_seq.append(c)
    return np.stack(h_seq), np.stack(c_seq)


def in_float32(x, weights, h0, c0):
    return loop(x, weights, h0, c0, dtype=np.float32)


def in_float32_given_back_in_float64(x, weights, h0, c0):
    return tuple(array.astype(np.float64) for array in in_float32(x, weights, h0, c0))


def wrong_in_float32(x, weights, h0, c0):
    return loop(x, weights, h0, c0, dtype=np.float32, forget_bias=1.0)


def narrow_on_the_way(x, weights, h0, c0):
    return loop(x.astype(np.float32), weights, h0, c0, dtype=np.float64)


BOTH = make_case("single"), make_case("double", dtype="float64")


@pytest.mark.parametrize("port", [in_float32, in_float32_given_back_in_float64])
def test_what_computes_in_float32_is_right_in_float64_unless_that_is_asked_for(port):
    run = checked(port, *BOTH, float32_will_do={"double"})["double"]
    assert (run.status, run.computed_in) == ("agree", "float32")
    assert run.notes == ["computed in float32: agrees to float32's rounding"]
    assert run.worst[1].sigma < 5
    strict = checked(port, *BOTH)["double"]
    assert strict.status == "diverge"
    assert strict.diagnosis[0].fault == "computed-in-float32"


def test_a_fault_of_what_computes_in_float32_is_held_against_its_rounding_and_explained_in_all_cases():
    runs = checked(wrong_in_float32, *BOTH, float32_will_do={"double"})
    assert [run.status for run in runs.values()] == ["diverge", "diverge"]
    assert {run.diagnosis[0].fault for run in runs.values()} == {
        checked(wrong_in_float32, BOTH[0])["single"].diagnosis[0].fault
    }
    assert runs["double"].notes == ["computed in float32: held against float32's rounding"]


def test_what_is_narrow_somewhere_on_the_way_only_still_diverges():
    run = checked(narrow_on_the_way, *BOTH, float32_will_do={"double"})["double"]
    assert (run.status, run.computed_in) == ("diverge", None)


def refusing(*dtypes):
    def port(x, weights, h0, c0):
        if x.dtype in dtypes:
            raise TypeError(f"no {x.dtype} here")
        return loop(x, weights, h0, c0, dtype=np.float64)

    return port


@pytest.mark.parametrize(("dtype", "case", "other"), [("float64", "double", "single"), ("float32", "single", "double")])
def test_a_dtype_that_is_refused_is_unsupported(dtype, case, other):
    runs = checked(refusing(dtype), *BOTH)
    assert (runs[case].status, runs[other].status) == ("unsupported", "agree")
    assert runs[case].message.startswith(f"it refuses {dtype}: it raised TypeError in test_check.py")


def test_what_fails_in_every_dtype_or_in_one_case_of_it_alone_is_no_refusal():
    assert {run.status for run in checked(refusing("float32", "float64"), *BOTH).values()} == {"failed"}

    def long_ones_fail(x, weights, h0, c0):
        if len(x) > 5 and x.dtype == np.float64:
            raise ValueError("too long")
        return loop(x, weights, h0, c0, dtype=np.float64)

    longer = make_case("long", dtype="float64", timesteps=7)
    assert checked(long_ones_fail, *BOTH, longer)["long"].status == "failed"


def test_float32_will_do_where_nobody_named_the_case(tmp_path):
    shipped_cases = cases_of([])
    assert float32_will_do(shipped_cases, []) == {"float64", "gradients-float64"}
    assert float32_will_do(cases_of([], decoder=True), []) == {"attention-float64"}
    assert float32_will_do(shipped_cases, [], strict=True) == frozenset()
    assert float32_will_do(cases_of(["float64", "probe"]), ["float64", "probe"]) == frozenset()
    (tmp_path / "mine.toml").write_bytes(shipped()["float64"].read_bytes())
    assert float32_will_do(cases_of([str(tmp_path)]), [str(tmp_path)]) == {"mine"}
    assert float32_will_do(cases_of([f"{tmp_path}/mine.toml"]), [f"{tmp_path}/mine.toml"]) == frozenset()


def test_how_strong_cases_are_is_asked_where_a_port_agrees_alone():
    agrees = check(LocalPort(in_float32), BOTH[:1])
    assert strength(BOTH[:1], agrees, "canonical").unseen
    assert strength(BOTH[:1], check(LocalPort(wrong_in_float32), BOTH[:1]), "canonical") is None
    assert strength(BOTH[:1], check(LocalPort(refusing("float32", "float64")), BOTH[:1]), "canonical") is None
