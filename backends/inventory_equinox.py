"""The arrays of an Equinox module, which is a tree: an array that hangs at two places is two leaves.

They are one array until the first update, which makes two of them; ``equinox.nn.Shared`` ties them. Source: Equinox
0.13, ``equinox.Module``, ``equinox.nn.Shared``.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx  # pyright: ignore[reportMissingImports]  # an extra of the user's own
import jax
from jax.tree_util import SequenceKey

from lockstep.harness.adapters.inventory import Made, Material


def material(value: Any, built: Any) -> Material | None:
    """Read an Equinox module; None if it is none."""
    if not isinstance(value, eqx.Module):
        return None
    held: dict[int, list[tuple[Any, ...]]] = {}
    arrays: dict[int, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(value)[0]:
        if eqx.is_array(leaf):
            held.setdefault(id(leaf), []).append(path)
            arrays[id(leaf)] = leaf
    made = tuple(
        Made(
            _name(paths[0]),
            tuple(arrays[key].shape),
            str(arrays[key].dtype),
            role=_role(value, paths[0]),
            aliases=tuple(map(_name, paths[1:])),
        )
        for key, paths in held.items()
    )
    return Material("Equinox module", made, "in lists", loose=True, reads_known=False)


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path).lstrip(".")


def _role(module: Any, path: tuple[Any, ...]) -> str:
    """A name with a star for its place in a list; the layers of Sequential and MLP follow each other."""
    text, holder, node = "", module, module
    for key in path:
        listed = isinstance(key, SequenceKey) and not isinstance(holder, eqx.nn.Sequential | eqx.nn.MLP)
        text += "[*]" if listed else str(key)
        node = _child(node, key)
        holder = node if isinstance(node, eqx.Module) else holder
    return text.lstrip(".")


def _child(node: Any, key: Any) -> Any:
    return node[key.idx] if isinstance(key, SequenceKey) else getattr(node, getattr(key, "name", ""), None)
