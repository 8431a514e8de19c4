"""Dialects: how each framework stores an LSTM's weights, and how it is called.

Frameworks agree on the recurrence and differ in conventions. A ``Dialect`` names each of them; ``layout.store`` writes
canonical weights as a dialect keeps them, ``layout.unpack`` reads them back. Values are only moved, so both are exact
bit for bit, with two exceptions: a forget bias that is added at run time is taken out of the stored bias or put into
it, and two biases are summed into one. Each is one rounding in the weights' dtype, exact wherever the result is
representable: taking 1 out is exact between 0.5 and 2 (Sterbenz), and may round elsewhere.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from lockstep.harness.cases.gates import GATES

FLOATS = ("float16", "bfloat16", "float32", "float64")  # of weights: quantised ones are not taken


class Dialect(Struct, frozen=True, kw_only=True):
    """The conventions of one framework. Names hold either one array of all gates or one array for each gate."""

    name: str
    title: str
    source: str  # of all facts here
    # Storing.
    gates: str = GATES  # in the order in which they are stacked
    input_kernel: tuple[str, ...]  # one name, or one for each gate in the order of ``gates``
    recurrent_kernel: tuple[str, ...] = ()  # likewise; none where the input kernel is fused: that of [x; h]
    transposed: bool = False  # kernels are (in, 4H), multiplied from the right
    directions_axis: bool = False  # a leading axis of length 1, or 2 for both directions
    bias: tuple[str, ...]
    biases: Literal["one", "two", "recurrent"] = "one"  # two are summed; recurrent: on the recurrent side alone
    bias_optional: bool = False  # it may be left out, which means zeros
    forget_bias: float = 0.0  # added to the forget gate at run time; in the stored bias it would count twice
    projection: str = ""  # the name of a projection's kernel, transposed like the others; none where there is none
    peepholes: tuple[str, ...] = ()  # one name, or one for each of ``peephole_gates``; none where there are none
    peephole_gates: str = "ifo"
    beyond: tuple[tuple[str, str], ...] = ()  # patterns of names that make it more than one plain LSTM, and what
    # Calling.
    batch_major: bool = False  # x is (B, T, I) unless asked otherwise
    state: Literal["h, c", "c, h"] = "h, c"
    activation: str = "tanh"
    # What the outputs past a sequence's end are; compute: the recurrence goes on over the padding.
    after_end: Literal["zero", "repeat", "compute"] = "compute"

    @property
    def fused(self) -> bool:
        """Whether one kernel holds both sides."""
        return not self.recurrent_kernel

    @property
    def names(self) -> tuple[str, ...]:
        """All arrays it stores."""
        return self.input_kernel + self.recurrent_kernel + self.bias

    @property
    def required(self) -> tuple[str, ...]:
        """The arrays without which there is no LSTM."""
        return self.input_kernel + self.recurrent_kernel if self.bias_optional else self.names
