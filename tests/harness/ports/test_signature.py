"""How a port is called: the form follows the case, and a function that does not fit it is told which it is."""

from __future__ import annotations

import inspect

import pytest
from lstm_cases import make_case

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.ports.signature import arguments_of, call_of, check_fit, results_of

PLAIN = make_case()
LENGTHS = make_case(lengths=(3, 5))
GRADIENTS = make_case(gradients=True)
BOTH = make_case(gradients=True, lengths=(3, 5))
NETWORK = make_case(num_layers=2, direction="bidirectional")

FIRST = ["x", "weights", "h0", "c0"]
VALUES = {name: name for name in [*FIRST, "dh", "dc", "lengths"]}


def passed(function, case):
    """Give the names of what a function is passed, by position and by name."""
    parameters = None if function is None else inspect.signature(function).parameters
    check_fit(parameters, case)
    values = VALUES if case.run.lengths is not None else VALUES | {"lengths": None}
    positional, by_name = arguments_of(parameters, values, case)
    assert all(by_name[name] in {name, None} for name in by_name)
    return positional, set(by_name)


@pytest.mark.parametrize(
    ("function", "case", "positional", "by_name"),
    [
        (lambda x, weights, h0, c0: 0, PLAIN, FIRST, set()),
        (lambda x, weights, h0, c0: 0, NETWORK, FIRST, set()),
        (lambda x, weights, h0, c0, lengths=None: 0, PLAIN, FIRST, set()),
        (lambda x, weights, h0, c0, lengths: 0, PLAIN, FIRST, {"lengths"}),
        (lambda x, weights, h0, c0, lengths=None: 0, LENGTHS, FIRST, {"lengths"}),
        (lambda a, b, c, d, **more: 0, LENGTHS, FIRST, {"lengths"}),
        (lambda *args: 0, PLAIN, FIRST, set()),
        (lambda x, weights, h0, c0, dh, dc: 0, GRADIENTS, [*FIRST, "dh", "dc"], set()),
        (lambda x, weights, h0, c0, dh, dc, /: 0, GRADIENTS, [*FIRST, "dh", "dc"], set()),
        (lambda x, weights, h0, c0, dh, dc, lengths=None: 0, BOTH, [*FIRST, "dh", "dc"], {"lengths"}),
        (lambda x, weights, h0, c0, lengths=None, dh=None, dc=None: 0, BOTH, FIRST, {"dh", "dc", "lengths"}),
        (lambda x, weights, h0, c0, lengths=None, dh=None, dc=None: 0, PLAIN, FIRST, set()),
        (lambda x, weights, h0, c0, *, dc, dh: 0, GRADIENTS, FIRST, {"dh", "dc"}),
        (lambda x, weights, h0, c0, **more: 0, GRADIENTS, FIRST, {"dh", "dc"}),
        (lambda *args, **more: 0, BOTH, [*FIRST, "dh", "dc"], {"lengths"}),
        (lambda *args, dh, dc: 0, GRADIENTS, FIRST, {"dh", "dc"}),
        (None, PLAIN, FIRST, set()),
        (None, BOTH, [*FIRST, "dh", "dc"], {"lengths"}),
    ],
)
def test_arguments_go_where_the_function_takes_them(function, case, positional, by_name):
    assert passed(function, case) == (positional, by_name)


@pytest.mark.parametrize(
    ("function", "case", "status", "message"),
    [
        (lambda x, weights, h0, c0: 0, GRADIENTS, "unsupported", "it takes no dh, dc, the cotangents of h_seq and of"),
        (lambda x, weights, h0, c0, forget_bias=1, clip=None: 0, GRADIENTS, "unsupported", "it takes no dh, dc"),
        (lambda x, weights, h0, c0, dh: 0, GRADIENTS, "unsupported", "it takes no dc, the cotangents"),
        (lambda x, weights, h0, c0, dh, dc: 0, PLAIN, "unsupported", "it needs dh, dc, and no gradients are asked for"),
        (lambda x, weights, h0, c0, dh, dc: 0, BOTH, "unsupported", "it takes no sequence lengths: add `lengths=None`"),
        (lambda x, weights, h0, c0, grad_h, grad_c: 0, GRADIENTS, "failed", "nothing is known of grad_h, grad_c; give"),
        (lambda x, weights: 0, GRADIENTS, "failed", "it takes 2 of the four arguments x, weights, h0, c0"),
        (lambda x, h0, c0, weights, dh, dc: 0, GRADIENTS, "failed", "dh, dc, lengths=None): put them in that order"),
    ],
)
def test_a_function_of_another_form_is_told_which_the_case_asks_for(function, case, status, message):
    with pytest.raises(UserCodeError) as error:
        passed(function, case)
    assert error.value.outcome.status == status
    assert message in str(error.value)
    if status == "unsupported" and "lengths: add" not in message:
        assert f"a port is {call_of(case)} -> {results_of(case)}" in str(error.value)


def test_what_is_returned_is_named_with_all_that_the_case_has():
    assert results_of(PLAIN) == "(h_seq, c_seq), or (h_seq, None)"
    assert results_of(NETWORK) == "(h_seq, h_n, c_n)"
    assert results_of(GRADIENTS) == "a dict of h_seq, x, W, R, b, h0, c0"
    rich = make_case(gradients=True, proj_size=2, peephole=True, bias=False, forget_bias=0.0)
    assert results_of(rich) == "a dict of h_seq, x, W, R, P, p, h0, c0"
