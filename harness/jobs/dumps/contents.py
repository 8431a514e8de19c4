"""What is in a dump: its runs, and of each the inputs, outputs, weights and gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lockstep.harness.arrays import Arrays
from lockstep.harness.errors import DumpError, unknown
from lockstep.harness.jobs.dumps.advice import advice_text
from lockstep.harness.jobs.dumps.axes import placed
from lockstep.harness.jobs.dumps.dump_file import DumpFile
from lockstep.harness.jobs.dumps.dumped_run import OUTPUTS, DumpedRun, Interpretation, gradients_by_weight
from lockstep.harness.jobs.dumps.roles import PREFIX_ROLE, given_names, lanes_of, roles_of
from lockstep.harness.jobs.dumps.runs import split_runs
from lockstep.harness.jobs.dumps.stored_network import StoredNetwork, missing_text, networks_of
from lockstep.harness.jobs.dumps.told import case_name
from lockstep.harness.weights.dialects import DIALECTS

LENT = ("x", "h0", "c0", "lengths", "dh", "dc")  # what a dump of outputs alone takes from another
_PAIRS = {"initial_state": ("h0", "c0"), "final_state": ("h_n", "c_n")}  # h and c in one array
_TIMED_AXES = 3


def dumped_runs(
    file: DumpFile, layout: str | None, names: str | None, lent: Sequence[Interpretation] = ()
) -> list[DumpedRun]:
    """The runs of a file, each by its name, with what it may be.

    Args:
        file: What was read.
        layout: The dialect of its weights, where the user names it.
        names: As of --names.
        lent: The runs of another dump, from which is taken what these lack of weights and inputs.

    Raises:
        DumpError: If something is missing that none can be judged without.
    """
    if layout is not None and layout not in DIALECTS:
        raise DumpError(f"--layout: {unknown('layout', layout, DIALECTS)}")
    given = given_names(names)
    split = split_runs(file.arrays, given.get("x"))
    if lent and len(split) != len(lent):
        raise DumpError(f"it holds {len(split)} runs, and {lent[0].run.path} holds {len(lent)}.")
    titles = [case_name(run) for run in split] if len(split) > 1 else [case_name(file.path.stem)]
    lenders = lent or (None,) * len(split)
    return [
        _Sorting(file, arrays, given).run(title, layout, lender)
        for title, arrays, lender in zip(titles, split.values(), lenders, strict=True)
    ]


class _Sorting:
    """The arrays of one run while they are sorted: by role what is known, and the rest."""

    def __init__(self, file: DumpFile, arrays: Arrays, given: Mapping[str, str]) -> None:
        self.file, self.given = file, given
        self.lent: list[str] = []  # what is another dump's
        roles = roles_of(arrays, given)
        for pair, parts in _PAIRS.items():
            if pair in roles and ({*parts} & roles.keys() or arrays[roles[pair]].shape[:1] != (len(parts),)):
                del roles[pair]
        in_lanes = {role + lane: name for name, (role, lane) in lanes_of(arrays).items()}
        self.names = roles | {role: name for role, name in in_lanes.items() if name not in roles.values()}
        self.arrays = {role: arrays[name] for role, name in self.names.items()}
        # A weight that the user names is known by that name from here on.
        renamed = {name: role for role, name in given.items() if role not in self.names and role != PREFIX_ROLE}
        taken = {*self.names.values()}
        self.rest = {renamed.get(name, name): array for name, array in arrays.items() if name not in taken}

    def run(self, title: str, layout: str | None, lender: Interpretation | None) -> DumpedRun:
        """The run, with what it lacks of weights and inputs from another."""
        networks = self._networks(layout, lender)
        used = networks[0].layers.used
        gradients = gradients_by_weight(self.rest, used)
        left = {name: array for name, array in self.rest.items() if name not in {*used, *gradients.values()}}
        self._take_pairs_apart(networks[0])
        self._match_shapes(networks[0], left)
        if lender is not None:
            self._borrow(lender)
        if "x" not in self.arrays:
            width = networks[0].model.lstm.input_size
            raise DumpError(self._lacks(f"no inputs: nothing is called x, or has three axes, the last of {width}"))
        _check_finite({name: self.rest[name] for name in used if name in self.rest}, "weights")
        _check_finite({self.names[role]: self.arrays[role] for role in LENT if role in self.arrays}, "inputs")
        return DumpedRun(
            name=title, path=self.file.path, arrays=self.arrays, names=self.names, networks=tuple(networks),
            gradient_names=gradients,
            weight_gradients={weight: self.rest[name] for weight, name in gradients.items()},
            unread=tuple(left), lent=tuple(self.lent), lender="" if lender is None else lender.run.path.name,
            unit=max(map(self._unit, {*OUTPUTS} & {*self.arrays}), default=0.0),
        )  # fmt: skip

    def _unit(self, role: str) -> float:
        """The unit of the last decimal in which an output is written, of the file's names those of any run."""
        return max((unit for name, unit in self.file.units.items() if name.endswith(self.names[role])), default=0.0)

    def _borrow(self, lender: Interpretation) -> None:
        """Take the inputs that are missing from another dump, as they lie in it."""
        for role in [role for role in LENT if role in lender.run.arrays and role not in self.arrays]:
            parts = placed(role, lender.run.arrays[role], lender.axes, lender.network.model.lstm) or {}
            self.arrays |= parts
            self.names |= dict.fromkeys(parts, lender.run.names[role])
            self.lent += parts

    def _networks(self, layout: str | None, lender: Interpretation | None) -> list[StoredNetwork]:
        x = self.arrays.get("x")
        width = None if x is None or not x.ndim else x.shape[-1]
        prefix = self.given.get(PREFIX_ROLE, "")
        networks = networks_of(self.rest, layout, prefix, width)
        if networks:
            return networks
        if lender is not None:
            self.lent.append("weights")
            return [lender.network]
        others = networks_of(self.rest, None, prefix, width) if layout is not None else []
        if layout is not None and others:
            title, looks = DIALECTS[layout].title, others[0].model.what
            raise DumpError(f"no weights as in {title}: they look like those of {looks}. Leave out --layout.")
        missing = missing_text(self.rest)
        raise DumpError(self._lacks(f"no whole weights: {missing}" if missing else "no weights"))

    def _lacks(self, what: str) -> str:
        return (
            f"{what}, and without them nothing can be said of the outputs. It holds {self.file.holds}.\n{advice_text()}"
        )

    def _take_pairs_apart(self, network: StoredNetwork) -> None:
        """States that came as pairs, in the order of the framework."""
        for pair, parts in _PAIRS.items():
            if pair in self.arrays:
                array, name = self.arrays.pop(pair), self.names.pop(pair)
                order = [*network.layers.dialect.state.split(", ")]
                for k, role in enumerate(sorted(parts, key=lambda part: order.index(part[0]))):
                    self.arrays[role], self.names[role] = array[k], f"{name}[{k}]"

    def _match_shapes(self, network: StoredNetwork, left: Arrays) -> None:
        """Take arrays whose names say nothing for x and h_seq, where one alone is as wide."""
        lstm = network.model.lstm
        self._match("x", lstm.input_size, left)
        if not any(role.startswith(("h_", "c_")) for role in self.arrays):
            self._match("h_seq", len(lstm.directions) * lstm.output_size, left)

    def _match(self, role: str, width: int, left: Arrays) -> None:
        if role in self.arrays:
            return
        fitting = [
            name for name, array in left.items()
            if array.ndim == _TIMED_AXES and array.shape[-1] == width and array.dtype.kind == "f"
        ]  # fmt: skip
        if len(fitting) > 1:
            raise DumpError(
                f"{' and '.join(fitting)} may each be {role} by their shapes: tell which is, "
                f"--names {role}={fitting[0]}."
            )
        for name in fitting:
            self.arrays[role], self.names[role] = left.pop(name), name


def _check_finite(arrays: Arrays, what: str) -> None:
    """Refuse what is not finite: nothing can be expected of it."""
    for name, array in arrays.items():
        wrong = np.argwhere(~np.isfinite(array))
        if len(wrong):
            at = tuple(int(k) for k in wrong[0])
            raise DumpError(
                f"{name} holds {array[at]}, first at {name}[{', '.join(map(str, at))}]: of such {what} nothing can be "
                "expected. Dump a call in which they are finite."
            )
