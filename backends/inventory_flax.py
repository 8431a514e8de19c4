"""The variables of a Flax nnx module, or of a linen module with its variables.

In nnx a variable that is held at several places is one; in linen sharing shows in the variables themselves, which
``init`` has made once for each module. Source: Flax 0.12, ``flax.nnx``, ``flax.linen``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
from flax import linen, nnx  # pyright: ignore[reportMissingImports]  # an extra of the user's own

from lockstep.harness.adapters.inventory import Group, InventoryError, Made, Material, listed_names
from lockstep.harness.text import grouped


def material(value: Any, built: Any) -> Material | None:
    """Read an nnx module, (linen module, variables) or (linen module, variables, inputs); None if it is none of them.

    Raises:
        InventoryError: If a linen module comes without variables.
    """
    if isinstance(value, nnx.Module):
        made = tuple(_of_nnx(value))
        return Material("Flax nnx module", made, "in lists", reads_known=False, notes=tuple(_stacked(value)))
    pair = isinstance(value, tuple) and len(value) == 2  # noqa: PLR2004 (a pair)
    if isinstance(value, linen.Module):
        raise InventoryError(
            "a linen module holds no variables itself: return (module, variables), variables being what "
            "module.init(key, inputs) gives."
        )
    if pair and isinstance(value[0], linen.Module):
        made = tuple(_of_linen(value[1]))
        return Material("Flax linen module", made, "by type", reads_known=False, notes=tuple(_unknown_steps(made)))
    if isinstance(value, tuple) and len(value) == 3 and isinstance(value[0], linen.Module):  # noqa: PLR2004
        made = tuple(_of_linen(value[1]))
        judged = tuple(_steps(made, *value))
        return Material("Flax linen module", made, "by type", reads_known=False, judged=judged)
    return None


def _stacked(module: Any) -> Iterator[str]:
    """Notes on layers whose kernel has an axis more than its layer gives it, as scan and vmap over modules make."""
    for path, layer in nnx.iter_graph(module):
        if isinstance(layer, nnx.Linear) and layer.kernel.ndim > 2:  # noqa: PLR2004 (in, out)
            name, steps = ".".join(map(str, path)), layer.kernel.shape[0]
            yield (
                f"`{name}` has weights with a leading axis of {steps}, as nnx.vmap and nnx.scan over modules make: one "
                "set for each step. Whether its steps are timesteps or layers is unknown."
            )


def _unknown_steps(made: tuple[Made, ...]) -> Iterator[str]:
    """Notes on what a scan may have made a set of for each of its steps, which only a run could tell."""
    scans = grouped(
        (each for each in made if each.name.startswith("Scan") or "/Scan" in each.name),
        lambda each: each.name.partition("Scan")[0] + "Scan" + each.name.partition("Scan")[2].partition("/")[0],
    )
    for scope, members in scans.items():
        lengths = {each.shape[0] if each.shape else None for each in members}
        if len(lengths) == 1 and any(len(each.shape) > 2 for each in members):  # noqa: PLR2004 (a kernel has two axes)
            yield (
                f"All of `{scope}` has a leading axis of {lengths.pop()}, as `nn.scan` with variable_axes makes: one "
                "set of weights for each step. Whether its steps are timesteps or layers is unknown without inputs: "
                "return (module, variables, inputs)."
            )


def _steps(made: tuple[Made, ...], module: Any, variables: Any, inputs: Any) -> Iterator[Group]:
    """The variables of which a scan takes one set at each step: seen in the program that jax traces."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    mutable = [name for name in variables if name != "params"]
    traced = jax.make_jaxpr(lambda given, *x: module.apply(given, *x, mutable=mutable or False))(variables, *inputs)
    count = len(jax.tree_util.tree_leaves(variables))
    origins = {var: k for k, var in enumerate(traced.jaxpr.invars[:count])}
    fed = set(traced.jaxpr.invars[count:])
    by_scan: dict[tuple[int, bool], list[Made]] = {}
    for k, length, over_inputs in _scanned(traced.jaxpr, origins, fed):
        by_scan.setdefault((length, over_inputs), []).append(made[k])
    for (length, over_inputs), members in by_scan.items():
        names = tuple(dict.fromkeys(member.name for member in members))
        has = "has" if len(names) == 1 else "have"
        steps = "timestep of a scan, not one for all" if over_inputs else "step of a scan over layers"
        yield Group(
            names[0], names, members[0].shape, "separate", None, None,
            f"{listed_names(names)} {has} a leading axis of {length}: one set of weights for each {steps}.",
            'If all steps are meant to share, scan with variable_broadcast="params" in the place of variable_axes.',
        )  # fmt: skip


def _scanned(jaxpr: Any, origins: dict[Any, int], fed: set[Any]) -> Iterator[tuple[int, int, bool]]:
    """Of each variable that a scan takes apart by step: which it is, the steps, and whether inputs are taken so too.

    Args:
        jaxpr: Equations.
        origins: Which variable a value is, or a copy of.
        fed: Values that depend on the inputs.
    """
    for equation in jaxpr.eqns:
        taken = [var for var in equation.invars if not hasattr(var, "val")]
        name, inner = equation.primitive.name, _inner(equation)
        if name == "scan":
            skipped = equation.params["num_consts"] + equation.params["num_carry"]
            by_step = equation.invars[skipped:]
            over_inputs = any(not hasattr(var, "val") and var in fed for var in by_step)
            for var in by_step:
                if not hasattr(var, "val") and var in origins:
                    yield origins[var], equation.params["length"], over_inputs
        elif inner is not None and len(inner.invars) == len(equation.invars):
            pairs = [(var, inside) for var, inside in zip(equation.invars, inner.invars, strict=True) if var in taken]
            yield from _scanned(
                inner,
                {inside: origins[var] for var, inside in pairs if var in origins},
                {inside for var, inside in pairs if var in fed},
            )
        if any(var in fed for var in taken):
            fed.update(equation.outvars)
        elif name in _MOVES and len(equation.outvars) == 1 and taken and taken[0] in origins:
            origins[equation.outvars[0]] = origins[taken[0]]


_MOVES = frozenset({"transpose", "convert_element_type", "copy", "rev", "squeeze", "reshape", "broadcast_in_dim"})


def _inner(equation: Any) -> Any:
    """The equations inside one, as of a jitted function; None where there are none."""
    inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
    return getattr(inner, "jaxpr", inner)


def _of_nnx(module: Any) -> Iterator[Made]:
    held: dict[int, list[tuple[Any, ...]]] = {}
    variables: dict[int, Any] = {}
    starred: dict[tuple[Any, ...], str] = {}
    for path, role, variable in _walk(module, (), (), {id(module)}):
        if not isinstance(variable, nnx.RngState):
            held.setdefault(id(variable), []).append(path)
            variables[id(variable)] = variable
            starred[path] = ".".join(map(str, role))
    for key, paths in held.items():
        names = [".".join(map(str, path)) for path in paths]
        variable = variables[key]
        yield Made(
            names[0], tuple(variable.shape), str(variable.dtype), role=starred[paths[0]], aliases=tuple(names[1:]),
            trainable=isinstance(variable, nnx.Param),
        )  # fmt: skip


def _walk(node: Any, path: tuple[Any, ...], role: tuple[Any, ...], around: set[int]) -> Iterator[tuple[Any, Any, Any]]:
    """Every variable with each path that leads to it, and that path with stars for places in lists."""
    for key, child in _children(node):
        # The modules of nnx.Sequential follow each other; those of a list may be the steps of a loop.
        listed = isinstance(key, int) and not (path and path[-1] == "layers" and role[-1] == "layers")
        longer, starred = (*path, key), (*role, "*" if listed else key)
        if isinstance(child, nnx.Variable):
            yield longer, starred, child
        elif id(child) not in around:  # a module may refer to one that holds it
            yield from _walk(child, longer, starred, around | {id(child)})


def _children(node: Any) -> list[tuple[Any, Any]]:
    if isinstance(node, nnx.Module):
        attributes = list(vars(node).items())
        return (
            list(enumerate(node)) if isinstance(node, nnx.List) else [pair for pair in attributes if pair[0][0] != "_"]
        )
    if isinstance(node, dict):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, list | tuple) else []


def _of_linen(variables: Any) -> Iterator[Made]:
    for path, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]:
        collection, *names = [str(getattr(key, "key", getattr(key, "name", key))) for key in path]
        name = "/".join(names if collection == "params" else (collection, *names))
        yield Made(name, tuple(leaf.shape), str(leaf.dtype), trainable=collection == "params")
