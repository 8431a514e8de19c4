"""Who shares which weights: what a reader of a framework found, judged, and told in plain words.

A reader (``backends.inventory_*``) gives ``Material``: each variable once, where and how it was made, what reads it.
``inventory_of`` groups variables that stand in one role, counts iterations, and judges. Functions here are pure.

Four findings are told, as groups with a verdict:

- *shared*: one variable, read at several iterations, in a loop, at several places, or held under several names;
- *not shared*: variables of one role and shape, told apart only by the numbers that a framework adds to make names
  unique, and made by the same lines called from the same lines: a loop made them anew;
- *not registered*: a model uses them, and they are no parameters of it: nothing trains, moves or saves them;
- *separate*: variables of one role and shape that may well be meant as they are, such as members of a list of modules
  or what one function makes when it is called from several places: each has weights of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from lockstep.harness.errors import LockstepError
from lockstep.harness.text import grouped

INVENTORY_FORMAT = 1

Sharing = Literal["shared", "not shared", "not registered", "separate"]
# How a framework's names are numbered: TensorFlow leaves the first one plain (w, w_1), so a pair w_1, w_2 is its
# author's; Keras and linen number all over the program (Dense_0, dense_7, dense_8); lists count (cells.0, cells.1).
Numbers = Literal["from plain", "by type", "in lists"]


class InventoryError(LockstepError):
    """What was named holds no variables that could be listed: its text says what to do."""


class Around(Struct, frozen=True):
    """A loop or a condition in which an operation is run."""

    kind: Literal["while loop", "loop over timesteps", "condition"]
    name: str

    @property
    def words(self) -> str:
        """The whole of it, as the end of a sentence."""
        return f"{_AROUND[self.kind][0]} {self.name}"


# Of one, and of several together.
_AROUND = {
    "while loop": ("in every round of the while loop", "in every round of the while loops"),
    "loop over timesteps": ("in every timestep of the loop inside", "in every timestep of the loops inside"),
    "condition": ("in a branch of the condition", "in a branch of the conditions"),
}


class Read(Struct, frozen=True):
    """One operation that takes a variable's value.

    ``site`` is where it stands: source lines, or calls of modules, outermost first. Reads of one type at one site are
    passes of a loop; of several in one ``turn`` (nothing else ran in between) the loop has made one pass.
    """

    operation: str
    type: str
    site: tuple[str, ...] = ()
    turn: tuple[int, ...] = ()
    around: tuple[Around, ...] = ()  # outermost first
    backward: bool = False


class Named(Struct, frozen=True):
    """What a variable is, whoever reads it."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    place: str | None = None  # the last line of the user's own code that made it, "file:line"
    made_by: str | None = None
    aliases: tuple[str, ...] = ()
    trainable: bool = True


class Made(Named, frozen=True):
    """A variable as its reader found it."""

    stack: tuple[str, ...] = ()  # the source lines that made it, outermost first; empty where nobody knows
    role: str | None = None  # its name with stars for its places in lists, where names are numbered so
    reads: tuple[Read, ...] = ()


class Group(Struct, frozen=True):
    """Variables of one role, one shape: whether they are one."""

    role: str
    variables: tuple[str, ...]
    shape: tuple[int | None, ...]
    verdict: Sharing
    place: str | None
    made_by: str | None
    message: str
    fix: str | None


class Material(Struct, frozen=True):
    """What a reader found."""

    kind: str  # "TF1 graph"
    made: tuple[Made, ...]
    numbers: Numbers = "from plain"
    loose: bool = False  # whether aliases are copies by now: one leaf for each name, which an update moves apart
    reads_known: bool = True  # whether anybody looked for what reads them
    notes: tuple[str, ...] = ()
    judged: tuple[Group, ...] = ()  # what only the reader could judge, of variables that nobody holds too


class Reader(Struct, frozen=True):
    """An operation that reads a variable; ``iteration`` is which pass of its loop it belongs to, if it is unrolled."""

    operation: str
    type: str
    iteration: int | None
    within: str | None  # in words: "in every round of the while loop rnn/while"
    backward: bool
    around: tuple[Around, ...] = ()

    @property
    def in_loop(self) -> bool:
        """Whether one operation reads the variable at many iterations."""
        return any(around.kind != "condition" for around in self.around)


class Variable(Named, frozen=True, kw_only=True):
    """A variable, and all that reads it."""

    readers: tuple[Reader, ...]

    @property
    def iterations(self) -> tuple[int, ...]:
        """The iterations of the forward pass at which it is read."""
        forward = {reader.iteration for reader in self.readers if not reader.backward}
        return tuple(sorted(iteration for iteration in forward if iteration is not None))


class EmptyScope(Struct, frozen=True):
    """A scope of operations that looks like a variable's and holds none; which variables its operations read."""

    scope: str
    like: str  # the scope of variables that it is taken for
    reads: tuple[str, ...]


class Inventory(Struct, frozen=True):
    """All variables, and who shares which."""

    format: int
    target: str
    kind: str
    reads_known: bool
    variables: tuple[Variable, ...]
    groups: tuple[Group, ...]
    scopes: tuple[EmptyScope, ...]
    notes: tuple[str, ...]

    def of(self, verdict: Sharing) -> list[Group]:
        """The groups of one verdict."""
        return [group for group in self.groups if group.verdict == verdict]


def inventory_of(material: Material, target: str) -> Inventory:
    """Judge what a reader found; ``target`` is what the user named."""
    roles_shared = _by_role(material)
    together = [members for _, _, members in roles_shared]
    in_roles = {made.name for members in together for made in members}
    together += [[made] for made in material.made if made.name not in in_roles]
    counted = {v.name: v for members in together for v in _counted(members)}
    variables = {made.name: counted[made.name] for made in material.made}
    groups = [_group(verdict, role, members, variables, material) for verdict, role, members in roles_shared]
    anew = {name for group in groups if group.verdict == "not shared" for name in group.variables}
    groups += [group for v in variables.values() if v.name not in anew and (group := _shared(v, material)) is not None]
    groups += material.judged
    first = {name: k for k, name in enumerate(variables)}
    groups.sort(key=lambda group: (_ORDER.index(group.verdict), first.get(group.variables[0], len(first))))
    # Only TF1 opens scopes for operations that are named as those of variables are.
    scopes = tuple(scopes_of(material.made)) if material.numbers == "from plain" else ()
    return Inventory(
        INVENTORY_FORMAT, target, material.kind, material.reads_known, tuple(variables.values()), tuple(groups), scopes,
        material.notes,
    )  # fmt: skip


_ORDER: tuple[Sharing, ...] = get_args(Sharing)


# Which variables stand in one role.


def _by_role(material: Material) -> list[tuple[Sharing, str, list[Made]]]:
    trained = [variable for variable in material.made if variable.made_by != OPTIMIZER]
    role_of = roles([variable.name for variable in trained], material.numbers)
    by_role = grouped(trained, lambda made: (made.role or role_of[made.name], made.shape, made.dtype))
    groups: list[tuple[Sharing, str, list[Made]]] = []
    for (role, *_), members in by_role.items():
        if material.numbers == "from plain":
            groups.extend((verdict, str(role), alike) for verdict, alike in _by_stack(members))
        elif len(members) > 1:
            groups.append(("separate", str(role), members))
    return groups


def _by_stack(members: list[Made]) -> list[tuple[Sharing, list[Made]]]:
    """What a loop makes anew, and what an author wrote out several times: the lines that made it tell them apart."""
    anew = grouped(members, lambda member: member.stack or member.name)
    groups: list[tuple[Sharing, list[Made]]] = [("not shared", alike) for alike in anew.values() if len(alike) > 1]
    looped = {variable.name for _, alike in groups for variable in alike}
    # One line reached from several: a function of the user's that makes a variable each time it is called.
    others = [member for member in members if member.name not in looped]
    # An optimizer names what belongs to a variable under the variable's name.
    slots = {member.name for member in members if member.name.rpartition("/")[2].startswith(_SLOTS)}
    called = [member for member in others if member.place is not None or len(members) == 1 or member.name not in slots]
    by_place = grouped(called, lambda member: member.place)
    return groups + [("separate", alike) for alike in by_place.values() if len(alike) > 1]


# What TensorFlow 1's optimizers call the variables that they keep.
_SLOTS = ("Adam", "Adagrad", "Adadelta", "Momentum", "RMSProp", "Ftrl", "ExponentialMovingAverage")


def roles(names: Sequence[str], numbers: Numbers) -> dict[str, str]:
    """Each name without the numbers that make it unique; what its author numbered keeps its number."""
    if numbers == "in lists":
        return {name: name for name in names}
    if numbers == "by type":
        return {name: "/".join(re.sub(r"_\d+$", "", part) for part in name.split("/")) for name in names}
    plain = _plain(names)
    return {name: plain(name.split("/")) for name in names}


def _plain(names: Iterable[str]) -> Callable[[Sequence[str]], str]:
    """What takes TensorFlow's numbers from a path: w_1 is w, where there is a w beside it."""
    beside: dict[tuple[str, ...], set[str]] = {}
    paths = [name.split("/") for name in names]
    plain_paths: dict[tuple[str, ...], tuple[str, ...]] = {(): ()}

    def without(path: Sequence[str]) -> tuple[str, ...]:
        key = tuple(path)
        if key not in plain_paths:
            above = without(key[:-1])
            plain, _, number = key[-1].rpartition("_")
            made_unique = number.isdigit() and plain in beside.get(above, ())
            plain_paths[key] = (*above, plain if made_unique else key[-1])
        return plain_paths[key]

    # From the top down: which names stand beside each other depends on what the scopes above come to.
    for depth in range(max(map(len, paths), default=0)):
        for path in paths:
            if len(path) > depth:
                beside.setdefault(without(path[:depth]), set()).add(path[depth])
    return lambda path: "/".join(without(path))


# At which iterations they are read.


def _counted(members: list[Made]) -> list[Variable]:
    """Number the reads of variables that stand in one role: at each site, the passes of its loop in order."""
    all_reads = [read for member in members for read in member.reads]
    # By identity: two reads may be equal in all that is known of them.
    number: dict[int, int | None] = {}
    for reads in grouped(all_reads, lambda read: (read.type, read.site, read.around, read.backward)).values():
        number |= {id(read): k for read, k in zip(reads, _passes(reads), strict=True)}

    def reader(read: Read) -> Reader:
        within = " ".join(around.words for around in read.around) or None
        return Reader(read.operation, read.type, number[id(read)], within, read.backward, read.around)

    return [
        Variable(*(getattr(member, name) for name in Named.__struct_fields__), readers=tuple(map(reader, member.reads)))
        for member in members
    ]


def _passes(reads: list[Read]) -> list[int | None]:
    """Number reads of one site by the pass they belong to; None where there was one only."""
    turns = sorted({read.turn for read in reads})
    if len(reads) == 1:
        return [None]
    if len(turns) == 1 or () in turns:  # a loop on one line: nothing else runs between its passes
        return list(range(len(reads)))
    return [turns.index(read.turn) for read in reads]


# Judgement, in words.

OPTIMIZER = "an optimizer"
TF_VARIABLE = "tf.Variable"
GET_VARIABLE = "tf.get_variable"
CELL = "an RNN cell"
LAYER = "a Keras layer"
# As TF1's cells name their variables.
_LSTM = re.compile(r"(?:^|[/.])(?:basic_)?lstm_cell[^/.]*[/.](kernel|bias)$")
FEW = 4  # names that are told one by one


def _group(
    verdict: Sharing, role: str, members: list[Made], variables: dict[str, Variable], material: Material
) -> Group:
    first = members[0]
    names = tuple(member.name for member in members)
    iterations = {k for name in names for k in variables[name].iterations}
    if verdict == "not shared":
        message, fix = _anew_text(first, names, len(iterations)), _anew_fix(first, names)
    else:
        by_line = material.numbers == "from plain" and first.place
        line = f" are made by one line, {first.place}, which is reached from several" if by_line else ""
        message, fix = f"{listed_names(names)}{line}: {OWN_WEIGHTS}.", SEPARATE_FIX
    return Group(role, names, first.shape, verdict, first.place, first.made_by, message, fix)


OWN_WEIGHTS = "each has weights of its own"
SEPARATE_FIX = "If they are meant to be one, make it once, before the loop, and call that at every step."


def _anew_text(first: Made, names: tuple[str, ...], iterations: int) -> str:
    each = "in each iteration" if iterations in {0, len(names)} else f"{len(names)} times"
    made = f", made at {first.place}" if first.place else ""
    by = f" by {first.made_by}" if made and first.made_by else ""
    return f"{_subject(names[0])} is a new variable {each} ({listed_names(names)}){made}{by}: not shared."


def _anew_fix(first: Made, names: tuple[str, ...]) -> str:
    """How to make one variable of them; that depends on what made them."""
    scope, number = _uniquified(names)
    if_meant = f"If these are meant to be {len(names)} layers, all is well."
    if first.made_by in _FIXES:
        return _FIXES[first.made_by].format(scope=scope, number=number)
    if first.made_by is not None and first.made_by.startswith("tf.layers."):
        return (
            f"`{first.made_by}` without a name is a new layer each time: give it one, "
            f'`name="{scope.rpartition("/")[2]}", reuse=tf.AUTO_REUSE`. {if_meant}'
        )
    return f"Make the layer once, before the loop, and call it at every step. {if_meant}"


_FIXES = {
    TF_VARIABLE: "`tf.Variable` never reuses; use `tf.get_variable` under `reuse=tf.AUTO_REUSE`.",
    GET_VARIABLE: (
        "`tf.get_variable` reuses within one variable scope, and here each iteration opened its own (`{number}`): "
        'enter it by its name, `tf.variable_scope("{scope}", reuse=tf.AUTO_REUSE)`, not by default_name.'
    ),
    CELL: (
        "A cell that is made anew has new variables: make the cell once, before the loop, and call it at every "
        "step (or call each under one `tf.variable_scope(NAME, reuse=tf.AUTO_REUSE)`)."
    ),
}


def _uniquified(names: tuple[str, ...]) -> tuple[str, str]:
    """The scope that was numbered, as it is in the first name and in the second: dec, dec_1."""
    first, second = (name.split("/") for name in names[:2])
    k = next((k for k, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)
    return "/".join(first[: k + 1]), "/".join(second[: k + 1])


def _shared(v: Variable, material: Material) -> Group | None:
    """The group of a variable that is read more than once, or held under several names; None where it is not."""
    forward = [reader for reader in v.readers if not reader.backward]
    often = len(forward) > 1 or any(reader.in_loop for reader in forward)
    group = Group(v.name, (v.name,), v.shape, "shared", v.place, v.made_by, "", None)
    if v.aliases and material.loose:
        names = listed_names((v.name, *v.aliases))
        message = f"{names} are one array now, and leaves of their own: an update moves them apart. Not shared."
        return replace(group, verdict="not shared", message=message, fix="Tie them by `equinox.nn.Shared`.")
    if v.aliases:
        used = f", read {when_read(v)}" if often else ""
        names = f"{listed_names((v.name, *v.aliases))} are one variable under {1 + len(v.aliases)} names"
        return replace(group, message=f"{names}{used}: shared.")
    if often:
        return replace(group, message=f"{_subject(v.name)} is one variable, read {when_read(v)}: shared.")
    return None


def when_read(v: Variable) -> str:
    """When a variable is read, in words."""
    forward = [reader for reader in v.readers if not reader.backward]
    if any(reader.in_loop for reader in forward):
        return " and ".join(_within(forward))
    iterations = v.iterations
    if not iterations:
        return f"by {len(forward)} operations"
    if iterations == tuple(range(len(iterations))):
        return "in both iterations" if len(iterations) == 2 else f"in all {len(iterations)} iterations"  # noqa: PLR2004 ("both" is of two)
    return f"in {iterations_text(iterations)}"


def _within(readers: Iterable[Reader]) -> list[str]:
    """In which loops and conditions reads are, those of one kind together."""
    paths = dict.fromkeys(reader.around for reader in readers if reader.around)
    lines = []
    for (outer, kind), alike in grouped(paths, lambda path: (path[:-1], path[-1].kind)).items():
        words = [*(around.words for around in outer), _AROUND[kind][len(alike) > 1]]
        lines.append(f"{' '.join(words)} {listed_names([path[-1].name for path in alike])}")
    return lines


def iterations_text(iterations: Sequence[int]) -> str:
    """Name iterations: a run of them by its ends."""
    # In a run numbers grow as their places do: the difference stays.
    in_runs = groupby(enumerate(iterations), lambda numbered: numbered[1] - numbered[0])
    runs = [[k for _, k in run] for _, run in in_runs]
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]  # noqa: PLR2004 (of two, both are named)
    return f"iteration{'' if len(iterations) == 1 else 's'} {', '.join(parts)}"


def scopes_of(made: Iterable[Made]) -> list[EmptyScope]:
    """Find scopes of operations that are named as a scope of variables is, with a number, and hold no variable."""
    made = [variable for variable in made if variable.made_by != OPTIMIZER]
    reads = [
        (read.operation, variable.name)
        for variable in made
        for read in variable.reads
        if not read.backward and "/" in read.operation
    ]
    plain = _plain([*(variable.name for variable in made), *(operation for operation, _ in reads)])
    holds = {name[:k] for name in (variable.name for variable in made) for k in range(len(name)) if name[k] == "/"}
    variables_in: dict[str, dict[str, None]] = {}
    like: dict[str, str] = {}
    for operation, variable in reads:
        path = operation.split("/")
        for k in range(1, len(path)):
            scope, model = "/".join(path[:k]), plain(path[:k])
            if scope != model and model in holds and scope not in holds:
                variables_in.setdefault(scope, {})[variable] = None
                like[scope] = model
                break
    return [EmptyScope(scope, like[scope], tuple(variables)) for scope, variables in variables_in.items()]


def _subject(name: str) -> str:
    lstm = _LSTM.search(name)
    return f"the LSTM {lstm[1]} `{name}`" if lstm else f"`{name}`"


def listed_names(names: Sequence[str]) -> str:
    """Names in a row: all of a few, of many the first, the second and the last."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) > FEW:
        return f"{quoted[0]}, {quoted[1]}, ... {quoted[-1]} ({len(quoted)} in all)"
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def readers_text(v: Variable) -> str:
    """How many operations read a variable, and when, in a few words."""
    if v.made_by == OPTIMIZER:
        return OPTIMIZER
    if not v.readers:
        return "nothing"
    forward = [reader for reader in v.readers if not reader.backward]
    backward = len(v.readers) - len(forward)
    when = [iterations_text(v.iterations)] if v.iterations else []
    when += [text.replace("`", "") for text in _within(forward)]
    if backward:
        when.append(f"and {backward} of gradients")
    return ": ".join([str(len(forward)), *([", ".join(when)] if when else [])])
