"""Faults: named deviations, each a small change to the canonical execution. ``harness.faults.catalogue`` has them all.

A fault says in one sentence what is done otherwise, how to mend it, and where it has been met. Its name is
stable: scripts may rely on it.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from lockstep.harness.cases.gates import GATES
from lockstep.harness.faults.execution import Changes, Execution, merged


class Family(Struct, frozen=True):
    """What the faults of one kind have in common."""

    title: str
    fix: str  # where a fault has none of its own
    met: str  # where faults of this kind have been met


class Fault(Struct, frozen=True):
    """One deviation."""

    name: str
    family: str
    message: str  # a sentence on what is done, for the one who ported the model
    fix: str
    changes: Changes

    @property
    def execution(self) -> Execution:
        """The canonical execution with this fault."""
        changed = merged(self.changes, {})
        assert changed is not None
        return changed

    @property
    def met(self) -> str:
        """Where faults of its family have been met."""
        return FAMILIES[self.family].met


FAMILIES: dict[str, Family] = {
    "gate order": Family(
        "Gates read in another order",
        "Reorder the blocks of the kernels and the bias: `lockstep convert --from ... --to ...` does it.",
        "TF1 stores i, g, f, o; PyTorch and Keras i, f, g, o; ONNX i, o, f, g. "
        "tensorflow/tensorflow#29308, apple/coremltools#93.",
    ),
    "forget bias": Family(
        "The forget bias left out, doubled or misplaced",
        "Add the forget bias once, before the sigmoid of the forget gate; canonical b holds it already.",
        "TF1's BasicLSTMCell adds forget_bias = 1.0 at run time, Keras stores it in the bias. "
        "apache/tvm#3410 (after the sigmoid), apple/coremltools#309.",
    ),
    "bias": Family(
        "The bias dropped, doubled or split wrongly",
        "Add b once to each gate; where a framework stores two biases, add both.",
        "PyTorch stores bias_ih and bias_hh, ONNX both in B, Keras and TF1 one. "
        "keras-team/keras#8307, lisa-lab/DeepLearningTutorials#81 (added twice), ddbourgin/numpy-ml#42.",
    ),
    "kernel": Family(
        "A kernel transposed, reshaped, cut or exchanged",
        "Check the kernel's shape and orientation: transpose with .T, never with reshape.",
        "Keras and TF1 store (inputs, 4 units), PyTorch and ONNX (4 units, inputs). "
        "keras-team/keras#8720, huggingface/transformers#10712, stanfordnlp/stanza#88 (one gate's kernel for all).",
    ),
    "activation": Family(
        "An activation replaced or approximated",
        "Use the sigmoid for i, f and o, and tanh for g and for the cell's output.",
        "Keras' recurrent activation was hard_sigmoid before 2.3. Stack Overflow 49759614, intel/ipex-llm#1901.",
    ),
    "cell": Family(
        "The equation of the cell changed",
        "Compute c = f * c + i * g, then h = o * tanh(c), with the new c.",
        "nicodjimenez/lstm#47 (tanh(c) left out), MartinuzziFrancesco/torchrecurrent#22 (i + g); coupled gates: "
        "ONNX' input_forget.",
    ),
    "state": Family(
        "The state not carried as it should be",
        "Feed h and c of the step before into each step, and the given initial state into the first.",
        "Stack Overflow, Why build timestep-unfold LSTM manually has different outputs from using static_rnn; "
        "ChenRocks/fast_abs_rl#14.",
    ),
    "initial state": Family(
        "Another initial state",
        "Start from the h0 and c0 that are given, each in its place.",
        "TF1 cells take (c, h), PyTorch (h, c), Keras [h, c]. microsoft/nni#2842, neulab/xnmt#223.",
    ),
    "time": Family(
        "Time shifted or reversed",
        "Feed x[t] into step t, and return what step t computed at place t.",
        "Keras' go_backwards returns its outputs reversed, ONNX' reverse direction does not. "
        "microsoft/onnxruntime#4187, qjadud1994/CRNN-Keras#26.",
    ),
    "batch": Family(
        "Batch and time exchanged, sequences mixed",
        "Take and return time-major arrays (T, B, .): exchange axes with a transposition, never with a reshape.",
        "PyTorch's default is time-major, Keras' and dynamic_rnn's batch-major. "
        "HHTseng/video-classification#42, facebookresearch/fairseq#239 (view for transpose).",
    ),
    "returned": Family(
        "Something else is returned",
        "Return h of every step as h_seq, and c of every step as c_seq.",
        "TF1 cells return (h, (c, h)), PyTorch (output, (h_n, c_n)), Keras h or [h, h, c]. "
        "onnx/onnxmltools#98, salesforce/decaNLP#9.",
    ),
    "padding": Family(
        "The end of a sequence ignored, or half ignored",
        "Past a sequence's length return 0 for h and keep the state of its last valid step.",
        "PyTorch's packed sequences, dynamic_rnn's sequence_length and Keras' mask each do it another way. "
        "microsoft/onnxruntime#1400, NVIDIA/OpenSeq2Seq#69, keitakurita/practical-torchtext#5.",
    ),
    "clip": Family(
        "Values clipped, or peepholes added, where none are asked for",
        "Remove the clip or the peephole: the case has none.",
        "TF1's LSTMCell(cell_clip, use_peepholes), ONNX' clip and P. "
        "microsoft/onnxruntime#27224, PaddlePaddle/Paddle#15605.",
    ),
    "precision": Family(
        "Computed in a lower precision",
        "Keep the case's precision: turn automatic mixed precision, TF32 and casts off.",
        "microsoft/onnxruntime#20338 and IBM/aihwkit#766 (TF32), pytorch/pytorch#175845 (float16).",
    ),
    "scale": Family("Numbers scaled", "Remove the factor.", "Normalised inputs, dropout's 1 / (1 - p) left on."),
    "behaviour": Family(
        "Not a function of its arguments",
        "Make the port a function of its arguments: no state, no random numbers, no weights of its own.",
        "mlpack/mlpack#2747 (state kept), google/prettytensor#49 (weights anew), monikkinom/ner-lstm#23 (dropout).",
    ),
}


def of_gate(gate: str, value: float, numbers: tuple[float, ...]) -> tuple[float, ...]:
    """Numbers of the gates i, f, g, o with that of one gate set to a value."""
    return tuple(value if name == gate else number for name, number in zip(GATES, numbers, strict=True))


JOIN = " And: "  # between the messages of faults that hold together

GATE_NAMES = {"i": "input gate", "f": "forget gate", "g": "candidate", "o": "output gate"}


def make_fault(name: str, family: str, message: str, fix: str = "", **changes: Any) -> Fault:
    """A fault of a family, whose fix it has where it has none of its own."""
    return Fault(name, family, message, fix or FAMILIES[family].fix, changes)
