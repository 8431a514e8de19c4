"""A network on a tape whose sequence arrives in pieces: each runs from the states in which the one before ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lockstep.harness.arrays import Array, Arrays
from lockstep.harness.cases.problem import Problem
from lockstep.harness.cases.streaming import last_valid, piece_rows, pieces_of
from lockstep.harness.cases.tensors import TIMED, Lane, kind_of, lanes, name_of, tensors_of
from lockstep.harness.causes.edits import Edits
from lockstep.harness.causes.network_run import Computed, NetworkRun, TensorCallback, WantedTensors, label_of
from lockstep.harness.causes.tape import Node, NodeTape, both, variance_of, with_candidates

BETWEEN_PIECES = {"h": "h.piece", "c": "c.piece"}  # the edges of a lane that states go over from piece to piece
ALL_BETWEEN_PIECES = {"h": "all h between pieces", "c": "all c between pieces"}  # those of all lanes together
States = dict[str, list[Node]]  # h and c, by lane


@dataclass
class Handover:
    """The states of one lane on their way from a piece to the next, as an edit sees them."""

    tape: NodeTape
    ended: dict[str, Node]  # h and c as the piece before left them
    initial: dict[str, Node]  # those in which the first piece began


class StreamRun(WantedTensors):
    """One run of a problem, piece by piece."""

    def __init__(
        self, problem: Problem, edits: Edits, tape: NodeTape, watch: TensorCallback | None, wanted: set[str] | None
    ) -> None:
        """Take a problem, what is edited, where it is recorded, who is told, and what is asked for."""
        super().__init__(wanted or set(tensors_of(problem.case)), watch)
        self.problem, self.edits, self.tape, self.lstm = problem, edits, tape, problem.case.lstm
        self.places = lanes(self.lstm)
        self.observed: Arrays | None = None
        self.watch_step: Any = None

    def go(self) -> Computed:
        """Every tensor that is wanted."""
        initial = {name: self.tape.steps(self.tape.exact(self.problem.states(f"{name}0"))) for name in "hc"}
        handed, of_pieces = initial, []
        # A piece is run for what the next one starts from, too.
        wanted = self.wanted | {self._ending(name, place) for name in "hc" for place in self.places}
        for rows, piece in zip(piece_rows(self.problem.case.run.chunks or ()), pieces_of(self.problem), strict=True):
            starts = self._arrived(handed, initial) if of_pieces else initial
            run = NetworkRun(piece, self.edits.in_piece(rows.stop - rows.start), self.tape, None, wanted)
            run.starts = {name: self.tape.stack(with_candidates(nodes)) for name, nodes in starts.items()}
            if self.watch_step is not None:
                run.watch_step = partial(self._watch_later, rows.start)
            of_pieces.append(run.go())
            # Who hands over keeps, for a sequence that had ended before, what was handed and not what became of it.
            handed = {
                name: [self._ended(of_pieces[-1], name, place, handed[name][k], piece.lengths)
                       for k, place in enumerate(self.places)] for name in "hc"
            }  # fmt: skip
        for name in (name for name in tensors_of(self.problem.case) if name in of_pieces[-1]):
            self.give(name, *self._joined(name, [computed[name] for computed in of_pieces]))
        return self.computed

    def _watch_later(self, start: int, name: str, t: int, value: Array) -> None:
        self.watch_step(name, start + t, value)

    def _ending(self, name: str, place: Lane) -> str:
        """The tensor in which a piece's state ends: of a single lane its sequence may be all that is returned."""
        final, sequence = (name_of(kind, place, self.lstm) for kind in (f"{name}_n", name))
        return sequence if self.lstm.single and final not in self.wanted else final

    def _ended(self, computed: Computed, name: str, place: Lane, start: Node, lengths: Array | None) -> Node:
        """A state in which a piece ended."""
        ending = self._ending(name, place)
        node = Node(*computed[ending])
        if kind_of(ending) != name:
            return node
        if lengths is None:
            return Node(*both(node, lambda rows: rows[-1]))
        value = last_valid(node.value, lengths, start.value)
        return Node(value, last_valid(variance_of(node), lengths, variance_of(start)) if self.tape.noisy else None)

    def _arrived(self, ended: States, initial: States) -> States:
        """The states that were handed over, as they arrive in the next piece: edited, if they are."""
        arrived: States = {"h": [], "c": []}
        for k, place in enumerate(self.places):
            before, first = ({name: nodes[k] for name, nodes in states.items()} for states in (ended, initial))
            lane = Handover(self.tape, before, first)
            for name in "hc":
                node = ended[name][k]
                for _, change in self.edits.changes.get((label_of(place), BETWEEN_PIECES[name]), ()):
                    node = change(lane, node, 0)
                arrived[name].append(node)
        for name, nodes in arrived.items():
            if ("", ALL_BETWEEN_PIECES[name]) in self.edits.changes:
                whole = self.tape.stack(with_candidates(nodes))
                arrived[name] = self.tape.steps(self.edits.whole(ALL_BETWEEN_PIECES[name], whole, self))
        return arrived

    def _joined(self, name: str, parts: list[tuple[Array, Array | None]]) -> tuple[Array, Array | None]:
        """A tensor of the whole: rows of all pieces, or what the last one ended in."""
        if kind_of(name) not in TIMED:
            return parts[-1]
        nodes = with_candidates([Node(*part) for part in parts])
        shape = np.broadcast_shapes(*(node.value.shape[1:] for node in nodes))

        def whole(array_of: Callable[[Node], Array]) -> Array:
            return np.concatenate([np.broadcast_to(a, (len(a), *shape)) for a in map(array_of, nodes)])

        exact = all(node.variance is None for node in nodes)
        return whole(lambda node: node.value), None if exact else whole(variance_of)
