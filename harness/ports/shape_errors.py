"""What an array of the wrong shape probably is."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

from lockstep.harness.cases.case import Case

Shape = tuple[int, ...]
Looks = list[tuple[Iterable[Shape], str]]


def shape_hint(shape: Shape, case: Case, width: int | None = None) -> str:
    """Guess what an array is, where h or c (T, B, width) was expected; empty if it looks like nothing.

    ``width`` is that of h where it is left out: all directions of the top layer, side by side.
    """
    T, B, I, H = case.shape
    n = case.natural_shape("h")[-1] if width is None else width
    merged = case.lstm.merged and n == case.natural_shape("h")[-1]  # not c, of which both go side by side
    half = n // (1 if merged else len(case.lstm.directions))
    longest = max(case.run.lengths, default=T) if case.run.lengths is not None else T
    looks = _sequence_looks(T, B, n)
    if half < n:
        apart = [(T, B, 2, half), (2, T, B, half), (T, 2, B, half), (T, B, half, 2)]
        looks += [
            ([(T, B, half), (B, T, half)], "one direction alone? both go side by side, forward first"),
            (apart, "directions on an axis of their own? they go side by side, forward first"),
        ]
    looks += [
        (
            [(T, B, 2 * n)] if merged else [],
            f"directions side by side? the case has merge_mode = {case.lstm.merge_mode}",
        ),
        ([(T, B, 4 * n), (B, T, 4 * n)], "all four gates? h is one of their results"),
        ([(T, B, H), (B, T, H)] if case.lstm.proj_size else [], "before the projection?"),
        ([] if merged else [(T, B, 2 * n)], "h and c side by side? return them apart"),
        ([(2, T, B, n), (2, B, T, n)], "h and c stacked? return them apart"),
        ([(longest, B, n)] if longest < T else [], "cut at the longest sequence? go on with zeros to all T timesteps"),
        ([(T + 1, B, n)], "with the initial state? begin with the state after the first timestep"),
        ([(T, B, I), (B, T, I)], "as wide as the input: was x returned?"),
    ]
    return _hint(shape, looks) or _order(shape, {"T": T, "B": B, "H": n})


def input_hint(shape: Shape, case: Case) -> str:
    """Guess what an array is, where the gradient of x (T, B, I) was expected."""
    T, B, I, H = case.shape
    looks = _sequence_looks(T, B, I)
    looks += [([(T, B, 4 * H), (B, T, 4 * H)], "of the pre-activations? x is what W multiplies")]
    return _hint(shape, looks) or _order(shape, {"T": T, "B": B, "I": I})


def state_hint(shape: Shape, expected: Shape, case: Case) -> str:
    """Guess what an array is, where a state (B, n), or (layers x directions, B, n), was expected."""
    layers, directions = case.lstm.num_layers, len(case.lstm.directions)
    *lanes, B, n = expected
    top = [(B, n), (1, B, n), (directions, B, n), (B, directions * n), (1, B, directions * n)]
    looks: Looks = [
        ([(layers, directions, B, n)], "layers and directions are one axis, layer by layer, forward first"),
        ([(B, *lanes, n)] if lanes else [], "batch-major? layers and directions come first"),
        (top if lanes else [], "of one layer alone?"),
        ([(n, B)] if not lanes else [], "transposed?"),
        ([(case.run.timesteps, *expected)], "one for each timestep? there is one, of each sequence"),
    ]
    return _hint(shape, looks)


def weight_hint(shape: Shape, expected: Shape, case: Case) -> str:
    """Guess what an array is, where the gradient of a weight was expected; ``expected`` is the weight's shape."""
    T, B, I, H = case.shape
    first, *others = expected
    looks: Looks = [
        ([expected[::-1]] if others else [], "transposed?"),
        ([(T, *expected)], "one for each timestep? add them up"),
        ([(B, *expected)], "one for each sequence? add them up"),
        ([(1, *expected), (*expected, 1)], "an axis of length 1 too many?"),
        ([(4, first // 4, *others)], "gates on an axis of their own? they are stacked, i, f, g, o"),
        ([(2 * first,)] if not others else [], "two biases? here they are one"),
        ([(4 * H, I + H), (I + H, 4 * H)], "of [x; h] in one? W and R are apart"),
        ([(T, B, first), (B, T, first), (B, first)], "of the pre-activations? all timesteps share a weight"),
    ]
    return _hint(shape, looks)


def decoder_hint(shape: Shape, expected: Shape) -> str:
    """Guess what an array is, where logits (T, B, O) or h_tilde (T, B, A) were expected."""
    T, B, n = expected
    return _hint(shape, _sequence_looks(T, B, n))


def _sequence_looks(T: int, B: int, n: int) -> Looks:
    """What (T, B, n) is mistaken for, whatever it holds."""
    return [
        ([(B, T, n)], "batch-major? time comes first"),
        ([(T, n)] if B == 1 else [], "squeezed? the batch axis is there for B = 1 too"),
        ([(B, n)] if T == 1 else [], "squeezed? the time axis is there for T = 1 too"),
        ([(T, B)] if n == 1 else [], "squeezed? the last axis is there for a width of 1 too"),
        ([(B, n), (1, B, n), *([(n,)] if B == 1 else [])] if T > 1 else [], "only the last timestep?"),
        ([(n, B)] if T > 1 else [], "only the last timestep, transposed?"),
        ([(T - 1, B, n)], "a timestep left out?"),
        ([(T * B, n), (T, B * n), (T * B * n,)], "flattened?"),
        ([(1, T, B, n), (T, 1, B, n), (T, B, 1, n), (T, B, n, 1)], "an axis of length 1 too many?"),
    ]


def _hint(shape: Shape, looks: Looks) -> str:
    # Sizes may coincide, as T and B often do: all guesses that fit are told.
    return " or ".join(hint for shapes, hint in looks if shape in shapes)


def _order(shape: Shape, axes: dict[str, int]) -> str:
    """In which order axes seem to be, if that is another than time first or batch first."""
    orders = [order for order in permutations(axes) if tuple(axes[name] for name in order) == shape]
    # Batch first has a hint of its own.
    others = [order for order in orders if order[:2] != ("B", "T")]
    return f"axes in the order ({', '.join(others[0])})?" if others else ""
