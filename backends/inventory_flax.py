"""The variables of a Flax nnx module, or of a linen module with its variables.

In nnx a variable that is held at several places is one; in linen sharing shows in the variables themselves, which
``init`` has made once for each module. Source: Flax 0.12, ``flax.nnx``, ``flax.linen``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
from flax import linen, nnx  # pyright: ignore[reportMissingImports]  # an extra of the user's own

from lockstep.harness.adapters.inventory import InventoryError, Made, Material


def material(value: Any, built: Any) -> Material | None:
    """Read an nnx module, or (linen module, variables); None if it is neither.

    Raises:
        InventoryError: If a linen module comes without variables.
    """
    if isinstance(value, nnx.Module):
        return Material("Flax nnx module", tuple(_of_nnx(value)), "in lists", reads_known=False)
    pair = isinstance(value, tuple) and len(value) == 2  # noqa: PLR2004 (a pair)
    if isinstance(value, linen.Module):
        raise InventoryError(
            "a linen module holds no variables itself: return (module, variables), variables being what "
            "module.init(key, inputs) gives."
        )
    if pair and isinstance(value[0], linen.Module):
        return Material("Flax linen module", tuple(_of_linen(value[1])), "by type", reads_known=False)
    return None


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
