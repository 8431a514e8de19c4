"""The weights of a Keras model or layer, Keras 3 or tf_keras, each once, whatever layers share it.

In a functional model every call of a layer is a node: so a layer that is called twice has its weights read twice. Keras
is not imported here: the reader is asked where the user's file has imported one of the two. Source: Keras 3.15,
``keras.Layer``; tf_keras 2.21, ``tf_keras.layers.Layer``.
"""

from __future__ import annotations

import sys
from typing import Any

from lockstep.harness.adapters.inventory import LAYER, Around, InventoryError, Made, Material, Read


def material(value: Any, built: Any) -> Material | None:
    """Read a model or layer; None if it is neither.

    Raises:
        InventoryError: If it has not been built yet.
    """
    keras = _keras_of(value)
    if keras is None:
        return None
    if not value.weights and not value.built:
        raise InventoryError(
            "the layer or model has no weights yet: call it once on an input, or its build(input_shape)."
        )
    reads = _reads(value, keras)
    trainable = {id(weight) for weight in value.trainable_weights}
    made_by_name: dict[str, Made] = {}
    for weight in {id(weight): weight for weight in value.weights}.values():
        name = _unique(str(getattr(weight, "path", weight.name)).partition(":")[0], made_by_name)
        dtype = getattr(weight.dtype, "name", weight.dtype)
        made_by_name[name] = Made(
            name,
            tuple(weight.shape),
            str(dtype),
            made_by=LAYER,
            trainable=id(weight) in trainable,
            reads=tuple(reads.get(id(weight), ())),
        )
    return Material(
        f"{keras.__name__} {_kind(value, keras)}", tuple(made_by_name.values()), "by type", reads_known=bool(reads)
    )


def _keras_of(value: Any) -> Any:
    loaded = (sys.modules.get(name) for name in ("keras", "tf_keras"))
    return next((keras for keras in loaded if keras is not None and isinstance(value, keras.layers.Layer)), None)


def _kind(value: Any, keras: Any) -> str:
    return "model" if isinstance(value, keras.Model) else "layer"


def _unique(name: str, names: dict[str, Made]) -> str:
    """Tell weights apart that bear one name, which tf_keras allows: w, w (2), w (3)."""
    k = 2
    plain = name
    while name in names:
        name, k = f"{plain} ({k})", k + 1
    return name


def _reads(value: Any, keras: Any) -> dict[int, list[Read]]:
    """By the id of a weight, the calls of the layers that hold it, as far as nodes of a functional model tell."""
    reads_of_weight: dict[int, list[Read]] = {}
    for layer in getattr(value, "layers", ()):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        over_time = isinstance(layer, keras.layers.RNN)
        around = (Around("loop over timesteps", layer.name),) if over_time else ()
        for k in range(len(getattr(layer, "_inbound_nodes", ()))):
            for weight in layer.weights:
                read = Read(f"{layer.name}/call_{k}", "call", (layer.name,), around=around)
                reads_of_weight.setdefault(id(weight), []).append(read)
    return reads_of_weight
