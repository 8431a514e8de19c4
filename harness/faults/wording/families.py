# ruff: noqa: E501 (tables of phrases)
"""Families of deviations: what those of one kind have in common, and which a deviation belongs to."""

from __future__ import annotations

from typing import NamedTuple

from lockstep.harness.faults.deviation import BACK, Deviation
from lockstep.harness.faults.moves import BATCH_MOVES, UNIT_MOVES


class Family(NamedTuple):
    """What the deviations of one kind have in common."""

    title: str
    fix: str
    met: str  # where they have been seen


# Kinds of deviation: their titles, how they are mended where nothing better is known, and where they have been seen.
FAMILIES: dict[str, Family] = {
    "gate order": Family("Gates read in another order", "Reorder the unpacking of the gates, or the blocks themselves (`lockstep convert --from ... --to ...`).",
        "TF1 stores i, g, f, o; PyTorch and Keras i, f, g, o; ONNX i, o, f, g. tensorflow/tensorflow#29308, apple/coremltools#93."),
    "forget bias": Family("The forget bias left out, doubled or misplaced", "Add the forget bias once, before the sigmoid of the forget gate; the b of the case holds it already.",
        "TF1's BasicLSTMCell adds forget_bias = 1.0 at run time, Keras stores it in the bias. apache/tvm#3410 (after the sigmoid), apple/coremltools#309."),
    "bias": Family("The bias dropped, doubled or split wrongly", "Add b once to each gate; where a framework stores two biases, add both.",
        "PyTorch stores bias_ih and bias_hh, ONNX both in B, Keras and TF1 one. keras-team/keras#8307, lisa-lab/DeepLearningTutorials#81 (added twice), ddbourgin/numpy-ml#42."),
    "kernel": Family("A kernel transposed, reshaped, cut or exchanged", "Check the kernel's shape and orientation: transpose with .T, never with reshape.",
        "Keras and TF1 store (inputs, 4 units), PyTorch and ONNX (4 units, inputs). keras-team/keras#8720, huggingface/transformers#10712, stanfordnlp/stanza#88 (one gate's kernel for all)."),
    "activation": Family("An activation replaced or approximated", "Use the activations of the case: unless it has others, the sigmoid for i, f and o, and tanh for g and for c.",
        "Keras' recurrent activation was hard_sigmoid before 2.3. Stack Overflow 49759614, intel/ipex-llm#1901."),
    "cell": Family("The equation of the cell changed", "Compute c = f * c + i * g, then h = o * tanh(c), with the new c.",
        "nicodjimenez/lstm#47 (tanh(c) left out), MartinuzziFrancesco/torchrecurrent#22 (i + g); coupled gates: ONNX' input_forget."),
    "state": Family("The state not carried as it should be", "Feed h and c of the step before into each step, and the given initial state into the first.",
        "Stack Overflow, Why build timestep-unfold LSTM manually has different outputs from using static_rnn; ChenRocks/fast_abs_rl#14."),
    "initial state": Family("Another initial state", "Start from the h0 and c0 that are given, each in its place.",
        "TF1 cells take (c, h), PyTorch (h, c), Keras [h, c]. microsoft/nni#2842, neulab/xnmt#223."),
    "resets": Family("Resets ignored, misplaced or of one state only", "Set h and c to 0 before each step at which a sequence starts anew, each sequence's own.",
        "opendilab/DI-engine#52 (not reset), luchris429/purejaxrl#23 (at which step), hill-a/stable-baselines#263 (zeros or the initial state)."),
    "streaming": Family("A state lost or changed between pieces", "Start each piece from the h and c in which the one before ended, each layer from its own.",
        "openvinotoolkit/openvino#735 and microsoft/onnxruntime#1659 (each call starts from zeros)."),
    "time": Family("Time shifted or reversed", "Feed x[t] into step t, and return what step t computed at place t.",
        "Keras' go_backwards returns its outputs reversed, ONNX' reverse direction does not. microsoft/onnxruntime#4187, qjadud1994/CRNN-Keras#26."),
    "batch": Family("Batch and time exchanged, sequences mixed", "Take and return time-major arrays (T, B, .): exchange axes with a transposition, never with a reshape.",
        "PyTorch's default is time-major, Keras' and dynamic_rnn's batch-major. HHTseng/video-classification#42, facebookresearch/fairseq#239 (view for transpose)."),
    "returned": Family("Something else is returned", "Return h of every step as h_seq, and c of every step as c_seq.",
        "TF1 cells return (h, (c, h)), PyTorch (output, (h_n, c_n)), Keras h or [h, h, c]. onnx/onnxmltools#98, salesforce/decaNLP#9."),
    "padding": Family("The end of a sequence ignored, or half ignored", "Past a sequence's length return 0 for h and keep the state of its last valid step.",
        "PyTorch's packed sequences, dynamic_rnn's sequence_length and Keras' mask each do it another way. microsoft/onnxruntime#1400, NVIDIA/OpenSeq2Seq#69, keitakurita/practical-torchtext#5."),
    "clip": Family("Values clipped, or peepholes added, where none are asked for", "Remove the clip or the peephole, or set it as the case has it.",
        "TF1's LSTMCell(cell_clip, use_peepholes), ONNX' clip and P. microsoft/onnxruntime#27224, PaddlePaddle/Paddle#15605."),
    "precision": Family("Computed in a lower precision", "Keep the case's precision: turn automatic mixed precision, TF32 and casts off.",
        "microsoft/onnxruntime#20338 and IBM/aihwkit#766 (TF32), pytorch/pytorch#175845 (float16)."),
    "scale": Family("Numbers scaled", "Remove the factor.", "Normalised inputs, dropout's 1 / (1 - p) left on."),
    "network": Family("Layers and directions put together otherwise", "Keep the order of layers and directions: forward before reverse, the lowest layer first.",
        "PyTorch stacks states as layer * directions + direction, Keras keeps a list for each layer."),
    "attention": Family("The attention computed otherwise", "Follow the equations of the decoder: scores, mask, softmax, context, W_tilde, tanh.",
        "Luong et al. (2015), Effective Approaches to Attention-based Neural Machine Translation, section 3; Bahdanau et al. (2015), appendix A.1.2 and A.2.2."),
    "gradient": Family("The way back computed otherwise", "Follow the chain rule back through the same equations.", ""),
    "behaviour": Family("Not a function of its arguments", "Make the port a function of its arguments: no state, no random numbers, no weights of its own.",
        "mlpack/mlpack#2747 (state kept), google/prettytensor#49 (weights anew), monikkinom/ner-lstm#23 (dropout)."),
}  # fmt: skip

# The sites of a family: whole, by what stands before a point ("peep" of "peep.i"), or before the first " of " or space.
_SITES: dict[str, tuple[str, ...]] = {
    "bias": ("b", "b_ih", "b_hh"),
    "kernel": ("W", "R", "WR", "WRb", "Wb", "Rb", "P", "[W R]", "W, R and b"),
    "gate order": ("layout",),
    "network": ("output of the network", "h.up and h.out", "layer", "all", "between", "joined", "merge", "finals", "turn", "up.seq", "weights of lanes"),
    "attention": (
        "enc", "query", "scores", "keys", "values", "softmax.scores", "attention", "context.attention", "context", "join.context",
        "join.h", "bare", "y", "target.y", "y.fed", "logit", "mask", "softmax", "y0", "y_in", "curve of y", "b_tilde",
        "keys and values", "W_a", "W_a.query", "W_tilde", "W_tilde.joined", "W_target", "W_tilde and b_tilde", "W_target, W_tilde and b_tilde",
        "W_target, W_tilde, b_tilde and W_a", "W, R, b, W_target, W_tilde and b_tilde",
        "W_q", "W_k", "v_a", "W_q and W_k", "W_q.query", "W_k.keys", "bare scores", "hidden", "curve of scores", "equation of scores", "cell input", "cell.context",
        "attends", "W_q, W_k and v_a", "W_target, W_tilde, b_tilde, W_q, W_k and v_a",
    ),
    "activation": ("curve", "every curve"),
    "padding": ("past the end", "lengths"),
    "clip": ("clip", "peep", "term", "p", "peepholes", "peepholes of weight 1"),
    "initial state": ("h0", "c0", "h0 and c0"),
    "state": ("h_in", "c_in", "h_in and c_in", "h.carry", "c.carry", "h.carry and c.carry", "c.carry and c.out", "h.carry, c.carry and y.fed"),
    "resets": ("resets",),
    "streaming": ("state between pieces", "h between pieces", "c between pieces"),
    "time": ("the step", "what is returned", "x.seq", "x.turned.seq", "h.seq", "c.seq", "h.seq and c.seq", "order of the run"),
    "returned": ("h.out", "c.out", "h.out and c.out", "c.out and h.out of the step before", "returned", "h_n", "c_n"),
}  # fmt: skip
_FAMILY_OF_SITE = {site: family for family, sites in _SITES.items() for site in sites}
# Edits that mix what belongs to sequences.
ACROSS_SEQUENCES = frozenset({
    *BATCH_MOVES, "mean over sequences", "time and batch exchanged", "units and sequences reshaped",
    "(B, T) read as (T, B)", "(T, B) read as (B, T)", "(B, T) read as (T, B) and back", "(T, B) read as (B, T) and back",
    "(B, n) read as (n, B)", "(n, B) read as (B, n)",
})  # fmt: skip
# Edits of sequences that are none of time.
_OF_BATCH = ACROSS_SEQUENCES | {*UNIT_MOVES, "mean over units taken off"}
# By the family of a site and the first word of an edit there.
_BY_VERB = {
    ("kernel", "read"): "gate order", ("kernel", "block"): "gate order", ("bias", "read"): "gate order", ("bias", "block"): "gate order", ("bias", "forget"): "forget bias",
    ("cell", "at"): "clip", ("state", "at"): "clip", ("returned", "at"): "clip",
    ("cell", "clip"): "clip", ("state", "clip"): "clip", ("returned", "clip"): "clip", ("initial state", "clip"): "clip",
}  # fmt: skip


def family_of(deviation: Deviation) -> str:
    """The kind of a deviation, a key of ``FAMILIES``."""
    if deviation.way == BACK:
        return "gradient"
    if deviation.form:
        return "precision"
    in_decoder = deviation.site == "joined" and deviation.scope.lanes == ("decoder",)
    family, edit = "attention" if in_decoder else _family_of_site(deviation.site), deviation.edit
    if family == "time":
        return "batch" if edit in _OF_BATCH else "time"
    verb, _, operand = edit.partition(" ")
    if family == "cell" and verb == "times" and is_number(operand):
        return "scale"
    if family == "cell" and operand.endswith((" times c", " times the old c")):  # a peephole with one weight
        return "clip"
    return _BY_VERB.get((family, verb), family)


def _family_of_site(site: str) -> str:
    if site.endswith("weights of lanes"):
        return "network"
    heads = (site, site.partition(".")[0], site.partition(" ")[0])
    return next((_FAMILY_OF_SITE[head] for head in heads if head in _FAMILY_OF_SITE), "cell")


def is_number(operand: str) -> bool:
    """Whether an operand is a number or is made of sizes ("1/sqrt(H)"), not a value of the step."""
    return any(letter.isdigit() for letter in operand[:3].lstrip("-")) or operand.startswith("sqrt(")
