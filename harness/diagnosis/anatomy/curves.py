"""Measure the curves of a black box: its activations, its cell and its output, without knowing its gate order.

All rows of a kernel are made equal, so every gate of every unit gets the same pre-activation z, whatever the order
or the layout. With c0 = 0, +1, -1 the cell's answer splits: f(z) = (c[+1] - c[-1]) / 2, i(z) g(z) = c[0].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.gates import GATES
from lockstep.harness.cases.problem import Problem
from lockstep.harness.diagnosis.anatomy.black_box import BlackBox, Reach, ask_batches, problem_from_arrays
from lockstep.harness.diagnosis.anatomy.conventions import CELLS, HIDDEN, INTENDED, Changes
from lockstep.harness.diagnosis.fit import plain_values
from lockstep.harness.faults.numbers import shown
from lockstep.harness.reference.curves import CURVES

H, I = 4, 4  # equal rows and columns: 1/4 is exact, and no layout can change the matrix
GRID = np.round(np.linspace(-9, 9, 25), 3)  # past where bounded curves are flat; 0 among them
SWEEP = np.linspace(-4, 4, 17)  # of c0, for the curve of the cell's output
SWEPT_AT = 0.625  # the pre-activation at which c0 is swept
CELL_TOLERANCE = 2e-5  # of a cell with several curves in float32
MOST_READINGS = 12  # readings of one measurement that are followed up
CURVE_TOLERANCE = 2e-6  # of one curve in float32
# Curves that are tried in every equation of the cell.
_GATE_CURVES = ("sigmoid", "hard_sigmoid_0.2", "hard_sigmoid_1/6", "pade_sigmoid", "softsign_sigmoid", "tanh")
_CANDIDATE_CURVES = ("tanh", "sigmoid", "linear", "relu", "hard_tanh", "softsign", "pade_tanh")


@dataclass
class Response:
    """c and h over pre-activations z (n,) for c0 = 0, +1, -1, and over a sweep of c0 at one z."""

    z: Array
    c: dict[float, Array]
    h: dict[float, Array]
    sweep_c: Array
    sweep_h: Array
    sweep: Array = field(default_factory=lambda: SWEEP)  # the c0 of the sweep


@dataclass
class Reading:
    """One way to read what was measured: changes of an execution, and the words for each curve."""

    changes: Changes
    words: dict[str, str] = field(default_factory=dict)


def _rows(door: str, z: Array, c0: Array, reach: Reach) -> Problem:
    """One timestep of a batch that drives every gate with z through one of the doors W x, R h0."""
    n, width, scale = len(z), reach.input_size(H, I), reach.scaled(float(np.abs(GRID).max()))
    W = np.full((4 * H, width), scale / width if door == "W" else 0.0)
    R = np.full((4 * H, H), 1 / H if door == "R" else 0.0)
    # Through W, h0 is what c0 is: R is 0, so it shows only where the two are exchanged.
    state = np.repeat(c0[:, None], H, axis=1)
    x, h0 = np.zeros((n, width)), state
    if door == "W":
        x += z[:, None] / scale
    else:
        h0 = np.broadcast_to(z[:, None], (n, H))
    return problem_from_arrays(W, R, np.zeros(4 * H), x[None], h0, state)


def response(black_box: BlackBox, door: str, *, batched: bool) -> Response | None:
    """Ask for the response to z through a door; None if nothing usable comes back."""
    z = np.concatenate([GRID, GRID, GRID, np.full(len(SWEEP), SWEPT_AT)])
    c0 = np.concatenate([np.repeat([0.0, 1.0, -1.0], len(GRID)), SWEEP])
    answers = ask_batches(black_box, [_rows(door, z, c0, black_box.reach)], batched=batched)
    if answers is None:
        return None
    c, h = (answers[0][name][0, :, 0].astype(np.float64) for name in "ch")
    n = len(GRID)
    parts = {value: slice(k * n, (k + 1) * n) for k, value in enumerate((0.0, 1.0, -1.0))}
    return Response(
        GRID, {value: c[part] for value, part in parts.items()}, {value: h[part] for value, part in parts.items()},
        c[3 * n :], h[3 * n :],
    )  # fmt: skip


def read_curves(response: Response) -> list[Reading]:
    """The ways to read a response, the nearest to the canonical cell first."""
    clip = plateau(response.sweep_c)
    if clip is None:
        return _readings(response)
    inside = _inside(response, clip)
    return [Reading({**reading.changes, "c_clip": clip}) for reading in (_readings(inside) if inside else [])]


def plateau(c: Array) -> float | None:
    """The bound at which c stops on both sides of its sweep, if it does."""
    bound = float(np.abs(c).max())
    high, low = (np.abs(c - side) < CURVE_TOLERANCE for side in (bound, -bound))
    # A clip holds several values at one bound, and on both sides; a curve only comes near to its ends.
    if high.sum() < 2 or low.sum() < 2:  # noqa: PLR2004
        return None
    return next(plain for plain in plain_values(bound) if abs(plain - bound) < CURVE_TOLERANCE)


def _inside(response: Response, clip: float) -> Response | None:
    """The part of a response in which nothing is clipped."""
    free = np.logical_and.reduce([np.abs(c) < clip - CURVE_TOLERANCE for c in response.c.values()])
    swept = np.abs(response.sweep_c) < clip - CURVE_TOLERANCE
    # Through fewer points too many curves would go.
    if free.sum() < 8 or swept.sum() < 3:  # noqa: PLR2004
        return None
    return Response(
        response.z[free], {k: c[free] for k, c in response.c.items()}, {k: h[free] for k, h in response.h.items()},
        response.sweep_c[swept], response.sweep_h[swept], response.sweep[swept],
    )  # fmt: skip


def _readings(response: Response) -> list[Reading]:
    readings = []
    for cell, gates in _cell_equations(response):
        for hidden in _output_equations(response):
            equations = {**cell, **hidden}
            for output in _output_curves(response, equations):
                readings.append(Reading(_joined(equations, {**gates, "o": output})))
                if len(readings) >= MOST_READINGS:
                    return readings
    return readings


def _joined(equations: Changes, gates: dict[str, Changes]) -> Changes:
    """Changes of the equations, with what was measured of each gate put into fields of four."""
    changes = dict(equations)
    for name, neutral in (
        ("curves", INTENDED["curves"]), ("constant", INTENDED["constant"]), ("gain", INTENDED["gain"]),
        ("offset", INTENDED["offset"]), ("slope", (1.0,) * 4),
    ):  # fmt: skip
        values = tuple(gates.get(gate, {}).get(name, neutral[GATES.index(gate)]) for gate in GATES)
        if values != neutral:
            if name == "slope":  # what scales z scales all that is summed into it
                changes |= {f"{array}_gain": values for array in "WRb"}
            else:
                changes[name] = values
    return changes


def _cell_equations(response: Response) -> Iterator[tuple[Changes, dict[str, Changes]]]:
    """The cells, with curves for i, f and g, that give the c that was seen."""
    named = _cells_with_curves(response, "sigmoid", "tanh")
    for cell in sorted(named, key=lambda cell: cell != INTENDED["cell"]):
        yield ({} if cell == INTENDED["cell"] else {"cell": cell}), {}
    yield from _linear_cells(response)
    for gates, candidate in product(_GATE_CURVES, _CANDIDATE_CURVES):
        if (gates, candidate) != ("sigmoid", "tanh"):
            changes_of: dict[str, Changes] = {gate: {"curves": gates} for gate in "if" if gates != "sigmoid"}
            changes_of |= {"g": {"curves": candidate}} if candidate != "tanh" else {}
            for cell in _cells_with_curves(response, gates, candidate):
                if cell != INTENDED["cell"]:
                    yield {"cell": cell}, changes_of


def _linear_cells(response: Response) -> Iterator[tuple[Changes, dict[str, Changes]]]:
    """Where c is linear in c0: c = f c0 + i g with whatever curves give f and i g."""
    f, both = (response.c[1.0] - response.c[-1.0]) / 2, response.c[0.0]
    # Then what c0 = +1 and -1 give lies evenly around what 0 gives, and the sweep on a line.
    line = np.polyval(np.polyfit(response.sweep, response.sweep_c, 1), response.sweep)
    if (
        np.abs(response.c[1.0] + response.c[-1.0] - 2 * both).max() >= CELL_TOLERANCE
        or np.abs(line - response.sweep_c).max() >= CELL_TOLERANCE * 5
    ):  # fmt: skip
        return
    for of_f in list(_fits(response.z, f, "sigmoid"))[:3]:
        for of_i, of_g in _product_fits(response.z, both):
            if of_f or of_i or of_g:
                yield {}, {"i": of_i, "f": of_f, "g": of_g}


def _cells_with_curves(response: Response, gates: str, candidate: str) -> list[str]:
    """The equations of the cell that fit with one curve for i and f, and one for g."""
    curve, of_g = CURVES[gates].value, CURVES[candidate].value
    fitting = []
    at = np.full(len(response.sweep), SWEPT_AT)
    pairs = [(response.c[c0], response.z, np.full(len(response.z), c0)) for c0 in (0.0, 1.0, -1.0)]
    pairs.append((response.sweep_c, at, response.sweep))
    with np.errstate(all="ignore"):
        values = [(curve(z), of_g(z), c0, c) for c, z, c0 in pairs]
        for name, (cell, _) in CELLS.items():
            if all(np.abs(cell(gate, gate, g, c0) - c).max() < CELL_TOLERANCE for gate, g, c0, c in values):
                fitting.append(name)
    return fitting


def _fits(z: Array, y: Array, intended: str) -> Iterator[Changes]:
    """The curves that go through (z, y): named ones, then named ones with one or two free numbers."""
    if _goes_through(CURVES[intended].value, z, y):
        yield {}
        return
    fits = False
    for name, curve in CURVES.items():
        if name != intended and _goes_through(curve.value, z, y):
            fits = True
            yield {"curves": name}
    if fits or not np.isfinite(y).all():
        return
    names = list(dict.fromkeys([intended, "sigmoid", "tanh", "hard_sigmoid_0.2", "hard_sigmoid_1/6", "relu"]))
    single = [("constant",), ("gain",), ("offset",), ("slope",)]
    two = [("constant", "offset"), ("gain", "offset"), ("constant", "gain"), ("slope", "constant"), ("slope", "gain")]
    # One free number of any curve is plainer than two of the intended one.
    for free, name in [*product(single, names), *product(two, names)]:
        fitted = fit_curve(z, y, name, free)
        if fitted is not None:
            yield fitted if name == intended else {"curves": name, **fitted}
            return


def _goes_through(curve: Callable[[Array], Array], z: Array, y: Array) -> bool:
    with np.errstate(all="ignore"):
        expected = curve(z)
        close = np.abs(expected - y) <= CURVE_TOLERANCE * np.maximum(1, np.abs(expected)) * 5
        return bool((close | (np.isnan(expected) & np.isnan(y))).all())


_NEUTRAL = {"constant": 0.0, "gain": 1.0, "offset": 0.0, "slope": 1.0}  # what changes nothing


def numbered_curve(name: str, z: Array, numbers: dict[str, float]) -> Array:
    """The curve gain · curve(slope · z + constant) + offset."""
    n = {**_NEUTRAL, **numbers}
    return n["gain"] * CURVES[name].value(n["slope"] * z + n["constant"]) + n["offset"]


def fit_curve(z: Array, y: Array, name: str, free: Sequence[str]) -> dict[str, float] | None:
    """The free numbers of a curve through (z, y), by Gauss-Newton; None if there are none."""
    # From one start Gauss-Newton finds the nearest solution alone, if any.
    for start in product(*((-1.0, 0.3, 1.0) if key in {"constant", "offset"} else (0.5, 1.0, 2.0) for key in free)):
        values = np.array(start)
        with np.errstate(all="ignore"):
            for _ in range(25):
                now = y - numbered_curve(name, z, dict(zip(free, values, strict=True)))
                slopes = []
                for k in range(len(free)):
                    beside = values.copy()
                    beside[k] += 1e-6
                    slopes.append((y - numbered_curve(name, z, dict(zip(free, beside, strict=True))) - now) / 1e-6)
                J = np.stack(slopes, axis=1)
                if not (np.isfinite(J).all() and np.isfinite(now).all()):
                    break
                step = np.linalg.lstsq(J, -now, rcond=None)[0]
                values = values + step
                if np.abs(step).max() < 1e-10:  # noqa: PLR2004
                    break
        numbers = dict(zip(free, (float(v) for v in values), strict=True))
        if _goes_through(lambda z, numbers=numbers: numbered_curve(name, z, numbers), z, y):
            return _plainest(name, z, y, numbers)
    return None


def _plainest(name: str, z: Array, y: Array, numbers: dict[str, float]) -> dict[str, float]:
    """The plainest numbers with which a curve still goes through (z, y)."""
    for key, value in numbers.items():
        for plain in plain_values(value):
            tried = {**numbers, key: plain}
            if _goes_through(lambda z, tried=tried: numbered_curve(name, z, tried), z, y):
                numbers = tried
                break
    return numbers


def _product_fits(z: Array, y: Array) -> Iterator[tuple[Changes, Changes]]:
    """The pairs of curves for i and g whose product was seen."""
    with np.errstate(all="ignore"):
        named = list(islice(_named_products(z, y), 4))
        yield from named or _numbered_products(z, y)


def _named_products(z: Array, y: Array) -> Iterator[tuple[Changes, Changes]]:
    values = {name: curve.value(z) for name, curve in CURVES.items()}
    # The fewer of the two are not as intended, the earlier.
    pairs = [("sigmoid", "tanh")]
    pairs += [(name, "tanh") for name in CURVES if name != "sigmoid"]
    pairs += [("sigmoid", name) for name in CURVES if name != "tanh"]
    pairs += [(i, g) for i in CURVES for g in CURVES if i != "sigmoid" and g != "tanh"]
    for i, g in pairs:
        expected = values[i] * values[g]
        if np.abs(expected - y).max() <= CURVE_TOLERANCE * 5 * max(1.0, float(np.abs(expected).max())):
            yield ({} if i == "sigmoid" else {"curves": i}), ({} if g == "tanh" else {"curves": g})


def _numbered_products(z: Array, y: Array) -> Iterator[tuple[Changes, Changes]]:
    """One of the two is the canonical curve, the other a curve with one or two numbers; or both share a constant."""
    for curve, other_curve, side in (("sigmoid", "tanh", "i"), ("tanh", "sigmoid", "g")):
        other_y = CURVES[other_curve].value(z)
        # Where the other factor is near 0, the ratio is nothing but rounding.
        use = np.abs(other_y) > 1e-2  # noqa: PLR2004
        ratio = y[use] / other_y[use]
        for free in (("constant",), ("gain",), ("offset",), ("slope",), ("constant", "offset")):
            fitted = fit_curve(z[use], ratio, curve, free)
            if fitted is not None:
                yield (fitted, {}) if side == "i" else ({}, fitted)
                break
    for constant in (1.0, -1.0, 0.5, 2.0):
        both = {"constant": constant}
        if np.abs(numbered_curve("sigmoid", z, both) * numbered_curve("tanh", z, both) - y).max() < CELL_TOLERANCE:
            yield dict(both), dict(both)


def _output_equations(response: Response) -> Iterator[Changes]:
    """The output equations, with the cell's curve, that give the h of the sweep for one number o."""
    c, h, before = response.sweep_c, response.sweep_h, response.sweep
    forms = [("o tanh(c)", curve) for curve in CURVES]
    forms += [(form, "tanh") for form in HIDDEN if form != "o tanh(c)"]
    if _output_of_sweep("o tanh(c)", "tanh", c, h, before) is not None:
        yield {}
        return
    fitting = (pair for pair in forms if _output_of_sweep(*pair, c, h, before) is not None)
    for form, curve in islice(fitting, 3):
        yield {
            **({} if form == "o tanh(c)" else {"hidden": form}),
            **({} if curve == "tanh" else {"cell_curve": curve}),
        }


def roots(residuals: Callable[[Array], Array], starts: Array, steps: int) -> Array:
    """Where residuals (K, n) of numbers (K,) are smallest, each by undamped Gauss-Newton.

    The caller checks whether they vanish there.
    """
    numbers = starts.astype(np.float64)
    for _ in range(steps):
        now = residuals(numbers)
        slopes = (residuals(numbers + 1e-6) - now) / 1e-6
        steepness = np.square(slopes).sum(axis=1)
        going = np.isfinite(steepness) & (steepness != 0)
        if not going.any():
            break
        numbers[going] -= (slopes * now).sum(axis=1)[going] / steepness[going]
    return numbers


def _output_of_sweep(form: str, curve: str, c: Array, h: Array, before: Array) -> float | None:
    """Find the o for which a form gives h over the sweep."""
    hidden, phi = HIDDEN[form][0], CURVES[curve].value

    def residuals(outputs: Array) -> Array:  # (K,) to (K, n)
        return np.stack([hidden(np.full_like(c, o), c, before, phi) - h for o in outputs])

    with np.errstate(all="ignore"):
        outputs = roots(residuals, np.array([0.65, 0.2, 1.0, -0.5]), steps=20)
        fits = np.isfinite(outputs) & (np.abs(residuals(outputs)).max(axis=1) < CURVE_TOLERANCE * 5)
    return float(outputs[np.flatnonzero(fits)[0]]) if fits.any() else None


def _output_curves(response: Response, changes: Changes) -> Iterator[Changes]:
    """The curves of o that turn the c that was seen into the h that was seen, over all z."""
    hidden, phi = HIDDEN[changes.get("hidden", "o tanh(c)")][0], CURVES[changes.get("cell_curve", "tanh")].value
    c, h, before = response.c[1.0], response.h[1.0], np.ones_like(response.z)

    def gives(o: Array) -> bool:
        with np.errstate(all="ignore"):
            return bool(np.abs(hidden(o, c, before, phi) - h).max() <= CURVE_TOLERANCE * 5 * max(1.0, np.abs(h).max()))

    if gives(CURVES["sigmoid"].value(response.z)):
        yield {}
        return
    with np.errstate(all="ignore"):
        named = [name for name in CURVES if name != "sigmoid" and gives(CURVES[name].value(response.z))]
        for name in named[:2]:
            yield {"curves": name}
        # Under another equation of h its ratio to the cell's curve is not o.
        if named or changes.get("hidden", "o tanh(c)") != "o tanh(c)":
            return
        scale = phi(c)
        use = np.abs(scale) > 1e-2  # noqa: PLR2004
        if use.sum() > 8:  # noqa: PLR2004
            yield from (fit for fit in _fits(response.z[use], h[use] / scale[use], "sigmoid") if fit)


def describe_curve(y: Array, z: Array) -> str:
    """Describe an unknown curve by its range, its slope and its value at 0."""
    if not np.isfinite(y).all():
        return "a curve with values that are not finite"
    at0 = float(np.interp(0.0, z, y))
    slope = float((np.interp(0.375, z, y) - np.interp(-0.375, z, y)) / 0.75)
    return (
        f"a curve of its own: {shown(at0)} at 0, slope {shown(slope)} there, "
        f"from {shown(float(y.min()))} to {shown(float(y.max()))} over [-9, 9]"
    )


def sparkline(y: Array) -> str:
    """Draw a curve in one line."""
    blocks = "▁▂▃▄▅▆▇█"
    if not np.isfinite(y).all() or np.ptp(y) == 0:
        return blocks[0] * len(y)
    low, high = float(y.min()), float(y.max())
    return "".join(blocks[int((value - low) / (high - low) * 7.999)] for value in y)  # below 8: the largest too
