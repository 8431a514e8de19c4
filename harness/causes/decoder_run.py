"""An attention decoder on a tape, with its encoder, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array
from lockstep.harness.cases.decoder_problem import DecoderProblem
from lockstep.harness.cases.tensors import ATTENTION, PROJECTIONS, has_weight_steps, tensors_of
from lockstep.harness.causes.edits import Edits
from lockstep.harness.causes.lane import LaneRun
from lockstep.harness.causes.network_run import (
    Computed,
    TensorCallback,
    WantedTensors,
    go_back,
    gradients_of,
    returned_for,
)
from lockstep.harness.causes.noisy_curves import NoisyCurve, curve_of
from lockstep.harness.causes.stored import GradientSums, Stored, WeightKey
from lockstep.harness.causes.tape import Axes, Node, NodeTape, variance_of

DECODER, ENCODER = "decoder", "encoder"


def weights_of_decoder(problem: DecoderProblem) -> dict[WeightKey, Array]:
    """All weights of a decoder, and of its encoder, in the order in which they are stored."""
    return {
        (ENCODER if name.endswith("_encoder") else DECODER, name.removesuffix("_encoder")): array
        for name, array in problem.weights.arrays().items()
    }


class DecoderRun(WantedTensors):
    """One run of a problem."""

    def __init__(
        self,
        problem: DecoderProblem,
        edits: Edits,
        tape: NodeTape,
        watch: TensorCallback | None,
        wanted: set[str] | None,
    ) -> None:
        """Take a problem, what is edited, and where it is recorded; ``wanted`` are the tensors that are asked for."""
        super().__init__(wanted or set(tensors_of(problem.case)), watch)
        self.problem, self.edits, self.tape = problem, edits, tape
        self.stored = Stored(weights_of_decoder(problem), tape.noise)
        self.cell = LaneRun(DECODER, problem.case.lstm, tape, self.stored, edits, separate=True, problem=problem)
        self.steps: list[dict[str, Node]] = []
        self.into_cell = problem.decoder.context == "input"

    def go(self) -> Computed:
        """Every tensor that is wanted."""
        with np.errstate(all="ignore"):
            self._forward()
            if self.problem.dlogit is not None and any(name.startswith("d") for name in self.wanted):
                self._backward()
        return self.computed

    def rule(self, name: str, default: Any) -> Any:
        """A rule of the decoder."""
        return self.cell.rule(name, default)

    is_piece = False
    observed: Any = None  # a decoder's steps start from no observed states
    watch_step: Callable[[str, int, Array], None] | None = None

    # -- forward -------------------------------------------------------------------------------------------------

    def _forward(self) -> None:
        p, tape = self.problem, self.tape
        self.source = self._source()
        self.cell.ends[ENCODER] = {"h": self._last_of_source()}
        self.start = {"h": tape.exact(p.h0), "c": tape.exact(p.c0), "y": tape.exact(p.y0)}
        self.cell.initial = dict(self.start)
        tape.step = 0
        at = self.cell.at
        state = {name: at(f"{name}0", node) for name, node in self.start.items()}
        for t in range(p.case.run.timesteps):
            tape.step = t
            step = self._step(state)
            self.steps.append(step)
            if self.watch_step is not None:
                for name in ("c", "h", *ATTENTION):
                    if name in self.wanted and not self.edits.changes.get((DECODER, f"{name}.out")):
                        self.watch_step(name, t, step[name].value)
            state = {
                "h": at("h.carry", step["h"]),
                "c": at("c.carry", step["c"]),
                "y": at("y.fed", step["y"]),
            }
        for name in ("c", "h", *ATTENTION):
            stacked = tape.stack([at(f"{name}.out", step[name]) for step in self._indexed()])
            self.give(name, stacked.value, stacked.variance)

    def _indexed(self) -> list[dict[str, Node]]:
        self.tape.step = 0
        return self.steps

    def _source(self) -> Node:
        """The encoder outputs (B, S, E); past its end a source holds nothing, unless masks are what is edited."""
        p, tape = self.problem, self.tape
        if p.enc is None:
            return self._encoded()
        source = p.enc.swapaxes(0, 1)
        # What stands past a source's end comes to light only where the mask itself is edited, or the source is moved.
        if (
            p.valid is not None
            and not self.cell.changes.get("enc")
            and self.rule("mask", "before") in {"before", "zero vectors"}
            and not self._other_lengths
        ):
            source = np.where(p.valid[..., None], source, source.dtype.type(0))
        self.given = tape.exact(source)
        return self._whole_source(self.given)

    def _last_of_source(self) -> Node:
        """The encoder's output (B, E) at each source's last valid timestep."""
        p, S = self.problem, self.problem.decoder.source_timesteps
        batch = np.arange(p.h0.shape[0])
        ends = np.full(len(batch), S) if p.lengths is None else p.lengths

        def back(d: Array) -> Array:
            spread = np.zeros((*d.shape[:-1], S, d.shape[-1]), d.dtype)
            spread[..., batch, ends - 1, :] = d
            return spread

        return self.tape.moved(self.source, lambda a: a[..., batch, ends - 1, :], back)

    def _whole_source(self, source: Node) -> Node:
        """The source (B, S, E), with what is done to it as an array (S, B, E)."""
        if not self.cell.changes.get("enc"):
            return source
        turned = partial(np.swapaxes, axis1=-3, axis2=-2)
        whole = self.cell.at("enc", self.tape.moved(source, turned, turned))
        return self.tape.moved(whole, turned, turned)

    def _encoded(self) -> Node:
        p, tape = self.problem, self.tape
        assert p.x is not None
        assert p.decoder.encoder is not None
        encoder = p.decoder.encoder
        self.encoder = LaneRun(
            ENCODER, encoder, tape, self.stored, self.edits, lengths=p.lengths, separate=True,
            problem=p, timesteps=p.decoder.source_timesteps,
        )  # fmt: skip
        self.x = [tape.exact(x) for x in p.x]
        zero = tape.exact(np.zeros((p.x.shape[1], encoder.hidden_size)))
        outputs = self.encoder.walk(self.x, zero, zero, lambda kind: False)
        self.give("enc", outputs["h"].value, outputs["h"].variance)
        encoded = tape.moved(outputs["h"], lambda a: np.moveaxis(a, 0, -2), lambda a: np.moveaxis(a, -2, 0))
        return self._whole_source(encoded)

    def _step(self, state: dict[str, Node]) -> dict[str, Node]:
        """Go one step from h, c and y of the step before."""
        tape, at, cell = self.tape, self.cell.at, self.cell
        x, attended = at("y_in", state["y"]), {}
        if self.into_cell:
            attended = self._attend(state["h"]) if self.rule("attends", "before the cell") == "before the cell" else {}
            # Who attends after the cell has the context of the step before there.
            context = attended.get("context") or self._context_before()
            x = self._joined([at("cell.context", context), x], "cell input")
        results = cell.step(x, state["h"], state["c"])
        h, c = results["h"], results["c"]
        attended = attended or self._attend(h)
        parts = [at("join.context", attended["context"]), at("join.h", h)]
        product = at("W_tilde.joined", tape.dense(self._joined(parts, "joined"), cell.leaf("W_tilde")))
        bare = at("bare", tape.total([product], cell.leaf("b_tilde"), 0))
        y = at("y", tape.curve(bare, self._curve("y"), cell.slope("y"), cell.slope_edge("y")))
        logit = at("logit", tape.dense(at("target.y", y), cell.leaf("W_target")))
        return {"h": h, "c": c, **attended, "y": y, "logit": logit}

    def _joined(self, parts: list[Node], rule: str) -> Node:
        return self.tape.join(parts[::-1] if self.rule(rule, "right") == "exchanged" else parts)

    def _curve(self, kind: str) -> NoisyCurve:
        return curve_of(str(self.rule(f"curve {kind}", "tanh")))

    def _context_before(self) -> Node:
        if self.steps:
            return self.steps[-1]["context"]
        return Node(np.zeros_like(self.source.value[..., 0, :]))

    def _attend(self, h: Node) -> dict[str, Node]:
        """Attend to the source with a state: scores, attention and context by name."""
        tape, at, valid = self.tape, self.cell.at, self._mask("shown")
        scores = at("scores", self._scores(at("query", h)))
        attention = at("attention", self._attention(at("softmax.scores", scores)))
        row = tape.moved(at("context.attention", attention), lambda a: a[..., None, :], lambda a: a[..., 0, :])
        context = tape.matmul(row, at("values", self.source))
        context = tape.moved(context, lambda a: a[..., 0, :], lambda a: a[..., None, :])
        shown = scores if valid is None else tape.where(valid, scores, tape.zeros(scores))
        return {"scores": shown, "attention": attention, "context": at("context", context)}

    def _scores(self, query: Node) -> Node:
        tape, cell = self.tape, self.cell
        keys = cell.at("keys", self.source)
        if (DECODER, "v_a") in self.stored.shapes:
            return self._additive(keys, query)
        if (DECODER, "W_a") in self.stored.shapes:
            query = cell.at("W_a.query", tape.dense(query, cell.leaf("W_a")))
        column = tape.moved(query, lambda a: a[..., None], lambda a: a[..., 0])
        scores = tape.matmul(keys, column)
        return tape.moved(scores, lambda a: a[..., 0], lambda a: a[..., None])

    def _additive(self, keys: Node, query: Node) -> Node:
        tape, cell, at = self.tape, self.cell, self.cell.at
        S = keys.value.shape[-2]
        # Sequences and source as rows of one product, which weights with candidates are multiplied with too.
        projected = at("W_k.keys", tape.dense(_together(tape, keys), cell.leaf("W_k")))
        query = at("W_q.query", tape.dense(query, cell.leaf("W_q")))
        bare = at("bare scores", _together(tape, tape.add_row(_apart(tape, projected, S), query)))
        hidden = at("hidden", tape.curve(bare, self._curve("scores"), cell.slope("scores"), cell.slope_edge("scores")))
        scores = _apart(tape, tape.dense(hidden, cell.leaf("v_a")), S)
        return tape.moved(scores, lambda a: a[..., 0], lambda a: a[..., None])

    def _attention(self, scores: Node) -> Node:
        over = str(self.rule("softmax", "source"))
        if over == "nothing":
            return scores
        axes = {"source": -1, "sequences": -2, "all": (-2, -1)}
        if over in axes:
            return self._softmax(scores, axes[over])
        valid, values = self._mask(), self.tape.curve(scores, curve_of(over))
        return values if valid is None else self.tape.where(valid, values, self.tape.zeros(values))

    def _softmax(self, scores: Node, axis: Axes) -> Node:
        tape, valid, masked = self.tape, self._mask(), self.rule("mask", "before")
        softmax = partial(
            tape.softmax, axis=axis, slope=str(self.rule("slope softmax", "")), edge=self.cell.slope_edge("attention")
        )
        if valid is None or masked in {"not", "zero vectors"}:
            # Of a mask that is inverted nothing is left to attend to: all scores are as low.
            return softmax(tape.zeros(scores) if masked == "inverted" else scores)
        if masked == "before":
            return softmax(scores, valid=np.broadcast_to(valid, scores.value.shape))
        if masked == "inverted":
            nothing = np.broadcast_to(valid.all(axis=-1, keepdims=True), scores.value.shape)
            scores = tape.where(nothing, tape.zeros(scores), scores)
            return softmax(scores, valid=nothing | ~np.broadcast_to(valid, scores.value.shape))
        if masked == "added":
            return softmax(
                tape.add(scores, Node(np.broadcast_to(valid, scores.value.shape).astype(scores.value.dtype)))
            )
        if masked == "zero score":
            return softmax(tape.where(valid, scores, tape.zeros(scores)))
        return tape.where(valid, softmax(scores), tape.zeros(scores))

    @property
    def _other_lengths(self) -> bool:
        return self.rule("lengths mask", None) is not None or self.rule("lengths in front", False)  # noqa: FBT003

    def _mask(self, use: str = "mask") -> Array | None:
        """Which places of the source are let through, (B, S): by the softmax, or in the scores that are shown."""
        p = self.problem
        if use == "mask" and p.lengths is not None and self.rule("lengths in front", False):  # noqa: FBT003
            return np.arange(p.decoder.source_timesteps) >= p.decoder.source_timesteps - p.lengths[:, None]
        change = self.rule(f"lengths {use}", None)
        if p.lengths is None or change is None:
            return p.valid
        S = p.decoder.source_timesteps
        return np.arange(S) < change(p.lengths, S)[:, None]  # type: ignore[operator]

    # -- backward ------------------------------------------------------------------------------------------------

    def _backward(self) -> None:
        p, tape, whole = self.problem, self.tape, self.edits.whole
        assert p.dy is not None
        assert p.dlogit is not None
        dy, dlogit = whole("all dy", tape.exact(p.dy), self), whole("all dlogit", tape.exact(p.dlogit), self)
        cotangents = []
        for t, step in enumerate(self.steps):
            cotangents += [(step["y"], Node(dy.value[t])), (step["logit"], Node(dlogit.value[t]))]
        gradient = go_back(tape, cotangents)
        by_timestep = has_weight_steps(p.case)
        # The reference adds a decoder's steps one by one: each step has its own view of the weights.
        sums = GradientSums(tape.noise, p.case.run.timesteps, stepwise=True)
        # The projections' uses were collected by the cell's leaves too.
        self.cell.names = [name for name in (*PROJECTIONS, "W", "R", "b") if (DECODER, name) in self.stored.shapes]
        gradients = gradients_of(self.cell, sums, self.stored, by_timestep=by_timestep)
        for name in gradients:
            returned = returned_for(name, gradients, self.cell)
            self._give(f"d{name}", returned.value, returned.variance)
            if returned.by_timestep is not None:
                self._give(f"d{name}_t", returned.by_timestep, returned.by_timestep_variance)
        for name in self.start:
            node = self.start[self.rule(f"returned d{name}0", f"d{name}0")[1]]
            self._give_node(f"d{name}0", gradient(node) or tape.zeros(node))
        if p.enc is not None:
            denc = gradient(self.given) or tape.zeros(self.given)
            self._give("denc", np.moveaxis(denc.value, -2, 0), np.moveaxis(variance_of(denc), -2, 0))
            return
        dx = [gradient(x) or tape.zeros(x) for x in self.x]
        self._give("dx", np.stack([d.value for d in dx]), np.stack([variance_of(d) for d in dx]))
        sums = GradientSums(tape.noise, p.decoder.source_timesteps, stepwise=True)
        for name, returned in gradients_of(self.encoder, sums, self.stored, by_timestep=by_timestep).items():
            self._give(f"d{name}_encoder", returned.value, returned.variance, (ENCODER, f"d{name}"))

    def _give_node(self, name: str, node: Node) -> None:
        self._give(name, node.value, variance_of(node))

    def _give(self, name: str, value: Array, variance: Array | None, key: tuple[str, str] | None = None) -> None:
        for change in self.edits.returned.get(key or (DECODER, name), ()):
            value = change(value)
            variance = np.abs(change(variance)) if variance is not None and self.tape.noisy else None
        self.give(name, value, variance)


def _together(tape: NodeTape, rows: Node) -> Node:
    """Sequences and source as one axis: (..., B S, n) of (..., B, S, n)."""
    S = rows.value.shape[-2]
    return tape.moved(rows, _as_rows, lambda a: _by_sequence(a, S))


def _apart(tape: NodeTape, rows: Node, S: int) -> Node:
    return tape.moved(rows, lambda a: _by_sequence(a, S), _as_rows)


def _as_rows(array: Array) -> Array:
    return array.reshape(*array.shape[:-3], -1, array.shape[-1])


def _by_sequence(array: Array, S: int) -> Array:
    return array.reshape(*array.shape[:-2], -1, S, array.shape[-1])
