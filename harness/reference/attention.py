"""An attention decoder, forward and backward, with the variance of rounding beside each value.

With canonical weights (``harness.cases.decoder_problem``), encoder outputs enc_s, and y_{-1} = y0, each step t:

    h_t, c_t   = cell(y_{t-1}, h_{t-1}, c_{t-1})           i, f, g, o = s(z_i), s(z_f), tanh(z_g), s(z_o)
    scores_ts  = enc_s . h_t                               z = W y_{t-1} + R h_{t-1} + b
    a_t        = softmax over the valid s                  c_t = f c_{t-1} + i g
    context_t  = sum_s a_ts enc_s                          h_t = o tanh(c_t)
    y_t        = tanh(W_tilde [context_t; h_t] + b_tilde)
    logit_t    = W_target y_t

Scores are enc_s . (W_a h_t) where they are general, and v_a . tanh(W_q h_t + W_k enc_s) where they are additive, which
have no bias: their author has none, one inside the tanh is rare, and one of v_a would move all scores alike. Where the
context goes into the cell the first two lines change places: scores are of h_{t-1}, and z = W [context_t; y_{t-1}] +
R h_{t-1} + b. The output stays as it is, which sees both the new state and the context, as Bahdanau's does.

Past a source's length scores and a are 0 in what is compared. Sources: Luong, Pham and Manning (2015), global attention
with input feeding, where the attentional vector y is the whole next input, as in the question Lockstep was born from;
Bahdanau, Cho and Bengio (2015) for additive scores and the context that goes into the cell, whose output layer is here
that of Luong.

The rules for variances stand in ``harness.reference.noise``; ``harness.reference.tape`` applies them, and goes back.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.decoder_problem import DecoderProblem
from lockstep.harness.cases.tensors import ATTENTION, PROJECTIONS, has_weight_steps, tensors_of
from lockstep.harness.reference.expected import Expected, ExpectedTensor
from lockstep.harness.reference.noise import Noise
from lockstep.harness.reference.tape import Kick, Noisy, Tape, transposed, variance_of

SHARED = (*PROJECTIONS, "W", "R", "b")  # what every step uses


def expect_decoder(problem: DecoderProblem) -> Expected:
    """Compute every value, and gradients if they are asked for, with the noise that rounding can give it.

    Returns:
        Every tensor of ``harness.cases.tensors.tensors_of`` by name, in that order.
    """
    noise = Noise.of(problem.case.run.dtype)
    with np.errstate(all="ignore"):
        return _expected(Decoder(problem, Tape(noise)).run(), noise)


def _expected(values: dict[str, Noisy], noise: Noise) -> Expected:
    return {name: ExpectedTensor.of(noisy.value, variance_of(noisy), noise) for name, noisy in values.items()}


def decoder_values(problem: DecoderProblem, copies: int, kick: Kick) -> Arrays:
    """Compute copies in which each operation is put off by a rounding, in the reference's precision.

    Returns:
        Every tensor by name, with an axis of copies in front, behind that of time where there is one.
    """
    with np.errstate(all="ignore"):
        tape = Tape(Noise.of(problem.case.run.dtype), copies, kick)
        return {name: noisy.value for name, noisy in Decoder(problem, tape).run().items()}


def expect_decoder_steps(problem: DecoderProblem, observed: Arrays) -> Expected:
    """Compute each step alone, from the h, c and y (and enc) that were observed before it; those count as exact.

    Returns:
        c, h, scores, attention, context, y and logit at every timestep, as one healthy step gives them.
    """
    noise = Noise.of(problem.case.run.dtype)
    before = {
        name: np.concatenate([first[None], observed[name][:-1]])
        for name, first in (("h", problem.h0), ("c", problem.c0), ("y", problem.y0))
    }
    with np.errstate(all="ignore"):
        # All steps at once, along a leading axis of time: none needs what another one gives.
        decoder = Decoder(problem, Tape(noise))
        source = problem.enc if problem.enc is not None else observed["enc"]
        state = {name: decoder.tape.exact(array) for name, array in before.items()}
        return _expected(decoder.step(decoder.given_source(source), decoder.weights(), state), noise)


class Decoder:
    """A problem on a tape."""

    def __init__(self, problem: DecoderProblem, tape: Tape) -> None:
        """Take a problem, and where it is recorded."""
        self.problem, self.tape = problem, tape
        self.valid, self._weights = problem.valid, problem.weights.arrays()
        self._uses: list[dict[str, Noisy]] = []  # of each step, its own view of the weights
        self._results: list[dict[str, Noisy]] = []
        self._encoder_uses: list[dict[str, Noisy]] = []  # of the encoder's steps, of its weights and of x

    def weights(self) -> dict[str, Noisy]:
        """A step's own view of the shared weights, so that its part of their gradients can be told."""
        return {name: self.tape.weight(self._weights[name]) for name in SHARED if name in self._weights}

    def run(self) -> dict[str, Noisy]:
        """Every tensor of the case by name, in the order in which they are computed."""
        values = self.forward()
        if self.problem.dlogit is not None:
            values |= self.backward()
        return {name: values[name] for name in tensors_of(self.problem.case)}

    # -- forward -------------------------------------------------------------------------------------------------

    def forward(self) -> dict[str, Noisy]:
        """Run all steps; what is compared by name, time first."""
        p, tape = self.problem, self.tape
        values: dict[str, Noisy] = {}
        if p.enc is None:
            outputs = list(self._encoder())
            self._source = tape.stack(outputs)
            values["enc"] = _over_time(outputs)
        else:
            self._source = self.given_source(p.enc)
        state = self._start = {"h": tape.exact(p.h0), "c": tape.exact(p.c0), "y": tape.exact(p.y0)}
        for _ in range(p.case.run.timesteps):
            self._uses.append(self.weights())
            state = self.step(self._source, self._uses[-1], state)
            self._results.append(state)
        return values | {name: _over_time([step[name] for step in self._results]) for name in ("c", "h", *ATTENTION)}

    def given_source(self, enc: Array) -> Noisy:
        """The encoder outputs (S, B, E) batch first; past its end a source holds nothing, whatever stands there.

        It is not attended to, and 0 times NaN would be NaN.
        """
        source = enc.swapaxes(0, 1)
        kept = source if self.valid is None else np.where(self.valid[..., None], source, source.dtype.type(0))
        return self.tape.exact(kept)

    def step(self, source: Noisy, w: dict[str, Noisy], state: dict[str, Noisy]) -> dict[str, Noisy]:
        """Go one step from the h, c, y before it: what is compared, of which the next step takes in h, c and y."""
        tape = self.tape
        if self.problem.decoder.context == "input":
            attended = self._attend(source, w, state["h"])
            h, c = lstm_step(tape, w, tape.join(attended["context"], state["y"]), state["h"], state["c"])
        else:
            h, c = lstm_step(tape, w, state["y"], state["h"], state["c"])
            attended = self._attend(source, w, h)
        context = attended["context"]
        y = tape.curve(tape.add_row(_dense(tape, tape.join(context, h), w["W_tilde"]), w["b_tilde"]), "tanh")
        return {"c": c, "h": h, **attended, "y": y, "logit": _dense(tape, y, w["W_target"])}

    def _attend(self, source: Noisy, w: dict[str, Noisy], query: Noisy) -> dict[str, Noisy]:
        """Attend to the source: scores, attention and context by name."""
        tape, valid = self.tape, self.valid
        scores = self._scores(source, w, query)
        attention = tape.softmax(scores, None if valid is None else np.broadcast_to(valid, scores.value.shape))
        row = tape.reshape(attention, lambda a: a[..., None, :], lambda a: a[..., 0, :])
        context = tape.matmul(row, source)
        context = tape.reshape(context, lambda a: a[..., 0, :], lambda a: a[..., None, :])
        # The softmax has its own mask; in what is compared there are no scores past a source's end.
        shown = scores if valid is None else scores.each(lambda a: np.where(valid, a, 0))
        return {"scores": shown, "attention": attention, "context": context}

    def _scores(self, source: Noisy, w: dict[str, Noisy], query: Noisy) -> Noisy:
        tape = self.tape
        if "v_a" in w:
            return self._additive(source, w, query)
        if "W_a" in w:
            query = _dense(tape, query, w["W_a"])
        column = tape.reshape(query, lambda a: a[..., None], lambda a: a[..., 0])
        scores = tape.matmul(source, column)
        return tape.reshape(scores, lambda a: a[..., 0], lambda a: a[..., None])

    def _additive(self, source: Noisy, w: dict[str, Noisy], query: Noisy) -> Noisy:
        tape = self.tape
        S = source.value.shape[-2]
        # Sequences and source as rows of one product: then what goes back to W_k is one sum over them.
        keys = _apart(tape, _dense(tape, _together(tape, source), w["W_k"]), S)
        hidden = tape.curve(tape.add_row(keys, _dense(tape, query, w["W_q"])), "tanh")
        scores = _apart(tape, _dense(tape, _together(tape, hidden), w["v_a"]), S)
        return tape.reshape(scores, lambda a: a[..., 0], lambda a: a[..., None])

    def _encoder(self) -> Iterator[Noisy]:
        """Run the encoder from zeros: its outputs (B, E), 0 past a source's length."""
        p, tape = self.problem, self.tape
        assert p.x is not None
        h = c = zero = tape.exact(np.zeros((p.x.shape[1], self._weights["R_encoder"].shape[1])))
        for s, x_s in enumerate(p.x):
            uses = {name: tape.weight(self._weights[f"{name}_encoder"]) for name in "WRb"} | {"x": tape.exact(x_s)}
            self._encoder_uses.append(uses)
            new_h, new_c = lstm_step(tape, uses, uses["x"], h, c)
            if p.lengths is None:
                h, c = new_h, new_c
                yield h
            else:
                valid = (s < p.lengths)[:, None]
                h, c = tape.where(valid, new_h, h), tape.where(valid, new_c, c)
                yield tape.where(valid, new_h, zero)

    # -- backward ------------------------------------------------------------------------------------------------

    def backward(self) -> dict[str, Noisy]:
        """Go back from sum(dy * y) + sum(dlogit * logit): gradients by name."""
        p, tape = self.problem, self.tape
        assert p.dy is not None
        assert p.dlogit is not None
        cotangents = []
        # y has a cotangent of its own, beside what comes back from its logit and from the next step.
        for step, dy, dlogit in zip(self._results, p.dy, p.dlogit, strict=True):
            cotangents += [(step["y"], tape.exact(dy)), (step["logit"], tape.exact(dlogit))]
        of = tape.gradients(cotangents)
        gradients = {f"d{name}0": of(self._start[name]) for name in ("y", "h", "c")}
        for name in self._uses[0]:
            parts = [of(use[name]) for use in self._uses]
            if has_weight_steps(p.case):
                gradients[f"d{name}_t"] = _over_time(parts)
            gradients[f"d{name}"] = self._sum(parts)
        if p.enc is not None:
            return gradients | {"denc": of(self._source).each(lambda denc: np.moveaxis(denc, -2, 0))}
        gradients["dx"] = _over_time([of(use["x"]) for use in self._encoder_uses])
        sums = {f"d{name}_encoder": self._sum([of(use[name]) for use in self._encoder_uses]) for name in "WRb"}
        return gradients | sums

    def _sum(self, parts: list[Noisy]) -> Noisy:
        """Add up over the steps that share a weight, as a running sum from the last to the first does."""
        total = parts[-1]
        for part in parts[-2::-1]:
            total = self.tape.add(total, part)
        return total


def lstm_step(tape: Tape, w: dict[str, Noisy], x: Noisy, h: Noisy, c: Noisy) -> tuple[Noisy, Noisy]:
    """Go one step of the standard cell: h and c, (..., B, H)."""
    H = h.value.shape[-1]
    z = tape.add_row(tape.add(_dense(tape, x, w["W"]), _dense(tape, h, w["R"])), w["b"])
    i, f, g, o = (tape.part(z, slice(k * H, (k + 1) * H)) for k in range(4))
    kept = tape.multiply(tape.curve(f, "sigmoid"), c)
    c = tape.add(kept, tape.multiply(tape.curve(i, "sigmoid"), tape.curve(g, "tanh")))
    # h lies between -1 and 1, whatever first-order variances of a chaotic decoder grow to.
    return tape.multiply(tape.curve(o, "sigmoid"), tape.curve(c, "tanh"), cap=1.0), c


def _dense(tape: Tape, operand: Noisy, weight: Noisy) -> Noisy:
    """Multiply rows (..., B, n) by a weight (m, n)."""
    return tape.matmul(operand, tape.reshape(weight, transposed, transposed))


def _together(tape: Tape, rows: Noisy) -> Noisy:
    """Sequences and source as one axis: (..., B S, n) of (..., B, S, n)."""
    S = rows.value.shape[-2]
    return tape.reshape(rows, lambda a: a.reshape(*a.shape[:-3], -1, a.shape[-1]), lambda a: _by_sequence(a, S))


def _apart(tape: Tape, rows: Noisy, S: int) -> Noisy:
    return tape.reshape(rows, lambda a: _by_sequence(a, S), lambda a: a.reshape(*a.shape[:-3], -1, a.shape[-1]))


def _by_sequence(array: Array, S: int) -> Array:
    return array.reshape(*array.shape[:-2], -1, S, array.shape[-1])


def _over_time(steps: list[Noisy]) -> Noisy:
    """Put what steps gave behind each other, time first."""
    return steps[0].each(lambda *arrays: np.stack(arrays), *steps[1:])
