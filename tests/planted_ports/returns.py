"""Return something else than (h_seq, c_seq), each in its own way."""

from typing import NamedTuple

import numpy as np
from plain import port as run


class Named(NamedTuple):
    c_seq: object
    h_seq: object


class NoText(Exception):
    def __str__(self):
        raise RuntimeError


class Unreadable:
    __module__ = "somewhere"

    def __array__(self, dtype=None, copy=None):
        raise NoText


def lists(*args):
    h, c = run(*args)
    return h.tolist(), [list(step) for step in c]


def by_name(*args):
    h, c = run(*args)
    return {"c_seq": c, "h_seq": h}


def named_tuple(*args):
    h, c = run(*args)
    return Named(h_seq=h, c_seq=c)


def other_names(*args):
    h, c = run(*args)
    return {"output": h, "memory": c}


def alone(*args):
    return run(*args)[0]


def steps(*args):
    return list(run(*args)[0])


def no_c(*args):
    return run(*args)[0], None


def final_c(*args):
    h, c = run(*args)
    return h, c[-1]


def as_torch_does(*args):
    h, c = run(*args)
    return h, (h[-1:], c[-1:])


def three(*args):
    h, c = run(*args)
    return h, h[-1], c[-1]


def four(*args):
    return 1, 2, 3, 4


def batch_major(*args):
    return tuple(a.swapaxes(0, 1) for a in run(*args))


def units_first(*args):
    h, c = run(*args)
    return h.transpose(2, 0, 1), c


def squeezed(*args):
    return tuple(a[:, 0] for a in run(*args))


def all_gates(*args):
    h, c = run(*args)
    return np.tile(h, 4), c


def last_step(*args):
    return tuple(a[-1] for a in run(*args))


def stacked(*args):
    return np.stack(run(*args))


def with_initial(*args):
    h, c = run(*args)
    return np.concatenate([args[2][None], h]), c


def the_input(*args):
    return args[0]


def ragged(*args):
    h, c = run(*args)
    return [h[0], h[1, :1], h[2], h[3]], c


def doubles(*args):
    return tuple(a.astype(np.float64) for a in run(*args))


def halves(*args):
    return tuple(a.astype(np.float16) for a in run(*args))


def whole_numbers(*args):
    h, c = run(*args)
    return h.astype(int), c


def complex_numbers(*args):
    h, c = run(*args)
    return h.astype(complex), c


def objects(*args):
    h, c = run(*args)
    return h.astype(object), c


def a_word(*args):
    return "h_seq"


def a_number(*args):
    return 0.5


def a_function(*args):
    return run


def unreadable(*args):
    return Unreadable()


def nothing(*args):
    run(*args)


def yields(x, weights, h0, c0):
    yield from run(x, weights, h0, c0)


async def waits(x, weights, h0, c0):
    return run(x, weights, h0, c0)


def nan(*args):
    h, c = run(*args)
    h[2, 1, 0] = np.nan
    return h, c
