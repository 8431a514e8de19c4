"""``lockstep variables``: what a model shares between its steps, and what it does not."""

from __future__ import annotations

from typing import Annotated

from lockstep.harness.cli.argument import Argument
from lockstep.harness.cli.outputs import JsonOption
from lockstep.harness.errors import check_positive
from lockstep.harness.jobs.settings import TIMEOUT
from lockstep.harness.output.console import console_beside
from lockstep.harness.output.write_results import check_writable, write_json


def variables(
    target: Annotated[
        str, Argument(help="The model, FILE.py:BUILD. It is built in a separate process. Default of BUILD: build.")
    ],
    *,
    json: JsonOption = None,
    timeout: Annotated[float, Argument(help="Seconds allowed for building it.")] = TIMEOUT,
) -> int:
    """List all variables of a model, what reads each one, and which are shared between its timesteps.

    BUILD is a function without arguments that builds a TF1 graph, or that returns, or itself is, a tf.Graph, a
    torch.nn.Module or (module, inputs), a Keras model or layer, a Flax nnx module, (linen module, variables) or (linen
    module, variables, inputs), or an Equinox module. With (module, inputs) two forward passes tell which operations
    read each parameter, and which of them forward makes anew.

    Exit status: 0, also where something is unknown; 1 if a loop or forward makes variables anew that stand in one role,
    or modules use parameters that are not registered.

    JSON: {"format": 1, "target", "kind", "reads_known": whether anybody could look for readers,
    "variables": [{"name", "shape", "dtype", "place": "file:line" or null, "made_by": "tf.Variable" and so on or null,
    "aliases": [name], "trainable", "readers": [{"operation", "type", "iteration": number or null,
    "within": "in every round of the while loop X" or null, "backward": whether it is of gradients,
    "around": [{"kind": "while loop", "loop over timesteps" or "condition", "name"}], outermost first}]}],
    "groups": [{"role", "variables": [name], "shape", "verdict": "shared", "not shared", "not registered" or "separate",
    "place", "made_by", "message", "fix": text or null}], "scopes": [{"scope", "like", "reads": [name]}],
    "notes": [text]}.
    """
    from lockstep.harness.adapters.variables import variables_of
    from lockstep.harness.output.variables_table import show_variables

    check_positive("--{} ", timeout=timeout)
    check_writable(json)
    inventory = variables_of(target, timeout)
    show_variables(console_beside(json), inventory)
    write_json(inventory, json)
    return 1 if inventory.of("not shared") or inventory.of("not registered") else 0
