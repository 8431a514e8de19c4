# ruff: noqa: E501 (sentences)
"""Every deviation is told in plain words, in a sentence, with something to do about it."""

import re
from collections.abc import Iterator
from functools import cache

import pytest

from lockstep.harness.cases.case_file import load_case
from lockstep.harness.cases.decoder_problem import AnyProblem, DecoderProblem, problem_of
from lockstep.harness.cases.find import shipped
from lockstep.harness.faults.deviation import BACK, Deviation, Scope, architecture_of
from lockstep.harness.faults.numbers import numbered
from lockstep.harness.faults.table import backward_deviations, find, forward_deviations, in_part
from lockstep.harness.faults.weight_edits import layout_deviations
from lockstep.harness.faults.wording.clauses import NO_WORDS
from lockstep.harness.faults.wording.families import FAMILIES, family_of
from lockstep.harness.faults.wording.words import Words
from lockstep.harness.weights.dialects import DIALECTS

LONGEST = 220  # characters of a message or a fix
NUMBERS = (0.25, -1.5)


pytestmark = pytest.mark.xdist_group("words")  # all the deviations there are take some seconds to make: once is enough


@cache
def _problems() -> list[AnyProblem]:
    """One of each form that a shipped case has."""
    problems = [problem_of(load_case(path)) for path in shipped().values()]
    return list({architecture_of(problem): problem for problem in problems}.values())


def _each_deviation() -> Iterator[Deviation]:
    """Each site and edit there is, once for networks and once for decoders."""
    seen = set()
    for problem in _problems():
        deviations = [*forward_deviations(problem), *backward_deviations(problem)]
        deviations += [row.at(number) for row in numbered(problem) for number in NUMBERS]
        if not isinstance(problem, DecoderProblem):
            deviations += [each for layout in DIALECTS for each in layout_deviations(problem, layout)]
        for deviation in deviations:
            key = (deviation.way, deviation.site, deviation.edit, isinstance(problem, DecoderProblem))
            if key not in seen:
                seen.add(key)
                yield deviation


@cache
def _deviations() -> list[Deviation]:
    return list(_each_deviation())


# A subject in the plural, and a verb in the singular as the first that follows.
_SINGULAR_OF_MANY = re.compile(
    r"(The |All )?(scores|keys|values|lengths|initial states|attention weights|peephole weights|gradients|pre-activations|W and R)\b"
    r"(?:(?! are | have | count ).)* (is|has|counts) "
)


def _complaints(text: str, deviation: Deviation) -> list[str]:
    """What is wrong with a sentence."""
    wrong = {
        "has no words": NO_WORDS in text or NO_WORDS.replace("is ", "are ") in text,
        "begins with no capital": not text[:1].isupper(),
        "has no full stop": not text.endswith(".") or text.endswith(".."),
        "is long": len(text) > LONGEST,
        "has a name for a computer": bool(re.search(r"\b(h_in|c_in|keep\.|out\.[ou]\b|\w+\.(carry|seq)|y\.fed|of it\b)", text)),
        "has a place that is not filled": "{" in text,
        "says a thing twice": bool(re.search(r"\b(\w{2,}) \1\b", text)),
        "does not agree": bool(_SINGULAR_OF_MANY.match(text)),
    }  # fmt: skip
    return [f"{deviation.name}: {what}: {text}" for what, is_so in wrong.items() if is_so]


def test_every_message_is_a_plain_sentence() -> None:
    words = Words()
    assert len(_deviations()) > 10_000
    complaints = [wrong for each in _deviations() for wrong in _complaints(words.message(each), each)]
    assert complaints == []


def test_every_fix_is_a_plain_sentence() -> None:
    words = Words()
    complaints = [wrong for each in _deviations() for wrong in _complaints(words.fix(each), each)]
    assert complaints == []
    assert not [each.name for each in _deviations() if "`" in words.fix(each).replace("`lockstep convert", "")[:-3]]


def test_a_deviation_without_words_is_complained_about() -> None:
    deviation = Deviation("h", "turned inside out", Scope("", ()), lambda *_: None)
    assert _complaints(Words().message(deviation), deviation)


@pytest.mark.parametrize("layout", DIALECTS)
def test_messages_are_plain_in_every_layout(layout: str) -> None:
    words = Words(layout)
    of_weights = [each for each in _deviations() if each.site[:1] in "WRbpd" and not each.scope.name]
    assert [wrong for each in of_weights for wrong in _complaints(words.message(each), each)] == []


def test_every_scope_is_told_in_words() -> None:
    words = Words(bidirectional=True)
    zeros = [
        each
        for problem in _problems()
        for each in forward_deviations(problem)
        if (each.site, each.edit) == ("h.carry", "zero")
    ]
    told = {each.scope.suffix: words.message(each) for each in zeros}
    assert len(told) > 40
    assert [wrong for each in zeros for wrong in _complaints(words.message(each), each)] == []
    assert told["@1r@first"].startswith("In layer 1 (counted from 0), reverse direction, at the first step, the h that")
    assert told["@1"].startswith("In layer 1 (counted from 0), forward direction, the h that")
    assert told["@layer 1"].startswith("In layer 1 (counted from 0), both directions, the h that")
    assert len(set(told.values())) == len(told)


def test_deviations_in_part_of_the_steps_or_sequences_say_where() -> None:
    problem = problem_of(load_case(shipped()["probe"]))
    told = {each.scope.suffix: Words().message(each) for each in in_part(problem, 2, 1)}
    assert told["@at 2"].startswith("At timestep 2 only, ")
    assert told["@from 2"].startswith("From timestep 2 on, ")
    assert told["@from sequence 1"].startswith("From sequence 1 on (counted from 0), ")


@pytest.mark.parametrize(
    ("name", "case", "message"),
    [
        ("all-h0-and-c0:by-direction", "layers-bidirectional",
         "The initial states (h0 and c0) of all layers and directions are ordered by direction first (all forward, then all reverse), not layer by layer."),
        ("finals:reversed", "layers-bidirectional",
         "The final states of all layers and directions are in reverse order: the last layer and direction first."),
        ("keys:units-flipped", "attention-probe", "The keys (enc, in the scores) have their units in reverse order."),
        ("h0-and-c0:end-of-the-layer-below", "layers-bidirectional",
         "The initial state (h0 and c0) is the final state of the layer below, not the given one."),
        ("WRb-weights-of-lanes:those-of-the-lower-layer@upper", "layers",
         "In layer 1 (counted from 0), W, R and b are taken from the layer below."),
        ("W:all-but-the-first-column", "probe", "W counts as 0 in the first input column."),
        ("lengths:reversed", "lengths", "The lengths are in reverse order over the batch."),
        ("joined:exchanged", "attention-probe",
         "W_tilde multiplies [h; context], not [context; h]: the two are joined in the wrong order."),
        ("joined:exchanged", "bidirectional",
         "The outputs of the two directions are joined in the wrong order: reverse before forward."),
        ("h.carry:the-c-of-that-place", "probe",
         "The h that is carried to the next step is replaced by the c that is carried to the next step."),
        ("scores:plus-query", "attention-square", "The query of the attention (h) is added to the scores."),
        ("b.f:plus--0.5", "probe", "The constant 0.5 is subtracted from the forget gate's block of b."),
    ],
)  # fmt: skip
def test_what_was_hard_to_read_is_told_in_words(name: str, case: str, message: str) -> None:
    deviation = find(name.replace("@upper", "@1"), problem_of(load_case(shipped()[case])))
    assert deviation is not None
    assert Words().message(deviation) == message


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("d-h.carry:zero", "Pass on the gradient that arrives at the h that is carried to the next step unchanged: do not detach or drop it."),
        ("keep.f:saved-as-i", "Save the forget gate, where it multiplies c[t-1], at each step going forward, and use that on the way back."),
        ("dW:times-1/B", "Return the gradient dW without that factor."),
        ("dW:of-the-last-step-only", "Sum the gradient of a weight over all timesteps that use it."),
    ],
)  # fmt: skip
def test_fixes_of_the_way_back_say_what_to_do(name: str, fix: str) -> None:
    deviation = find(name, problem_of(load_case(shipped()["gradients"])))
    assert deviation is not None
    assert deviation.way == BACK
    assert Words().fix(deviation) == fix


@pytest.mark.parametrize(
    ("name", "case", "fix"),
    [
        ("h.out-and-c.out:times--1", "probe", "Remove the factor."),
        ("b:units-rolled", "probe", "Use the bias b in the order in which it is stored."),
        ("p:read-as-iof", "peepholes", "Read the peepholes in the order in which they are stored."),
        ("joined:exchanged", "attention-probe", "Join the context first, then h."),
        ("lengths:one-more", "lengths", "Give each sequence its own length, in the order of the batch."),
        ("db:block-f-for-i", "gradients", "Return each gate's own block of the gradient db."),
    ],
)
def test_a_fix_is_about_what_is_wrong(name: str, case: str, fix: str) -> None:
    deviation = find(name, problem_of(load_case(shipped()[case])))
    assert deviation is not None
    assert Words().fix(deviation) == fix


@pytest.mark.parametrize(
    ("case", "families"),
    [
        ("probe", {
            "W:read-as-igfo": "gate order", "b:forget-bias-twice": "forget bias", "b:zero": "bias", "W:transposed-by-gate": "kernel",
            "curve-of-gates:tanh": "activation", "h:times-2": "scale", "h_in:zero": "state", "h0:zero": "initial state",
            "x.seq:reversed": "time", "x.seq:sequence-before": "batch", "returned:exchanged": "returned", "tanh.c:clip-1": "clip",
            "z.o:plus-0.5-times-c": "clip", "h:times-o": "cell", "layout:tf1-read-as-torch": "gate order", "c.seq:sum-so-far": "time",
        }),
        ("float64", {"x:in-float32": "precision"}),
        ("lengths", {"lengths:ignored": "padding", "past-the-end:h-kept": "padding"}),
        ("layers-bidirectional", {"finals:reversed": "network", "between-0:zero": "network", "W-weights-of-lanes:directions-exchanged": "network"}),
        ("attention-probe", {"scores:zero": "attention", "curve-of-y:relu": "attention", "b_tilde:zero": "attention"}),
        ("peepholes", {"peep.i:zero": "clip", "p:read-as-fio": "clip"}),
        ("gradients", {"d-c:zero": "gradient"}),
    ],
)  # fmt: skip
def test_families_of_deviations(case: str, families: dict[str, str]) -> None:
    problem = problem_of(load_case(shipped()[case]))
    assert {name: family_of(deviation) for name in families if (deviation := find(name, problem))} == families


def test_every_family_but_that_of_behaviour_has_deviations() -> None:
    assert {family_of(each) for each in _deviations()} == set(FAMILIES) - {"behaviour"}
