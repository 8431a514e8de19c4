# ruff: noqa: E501 (tables of phrases)
"""Tables of phrases: what sites, edits, timesteps and families of deviations are called in plain English."""

from __future__ import annotations

from typing import NamedTuple

PLURAL = frozenset({
    "lengths that turn", "lengths that hold", "lengths that cut",
    "[W R]", "lengths", "all h0 and c0", "scores", "keys", "values", "softmax.scores", "attention", "context.attention", "logit",
    "peepholes", "operands", "layout", "z", "returned", "joined",
})  # fmt: skip
GATE = {"i": "the input gate", "f": "the forget gate", "g": "the candidate", "o": "the output gate"}
PHRASES: dict[str, str] = {
    "x": "x[t], as the cell takes it in,", "h_in": "the h that a step starts from", "c_in": "the c that a step starts from",
    "Wx": "W x", "Rh": "R h", "z": "z, the pre-activations,", "raw": "the new c before its clip", "c": "the new c",
    "u": "the activation of c", "m": "o tanh(c), before the projection,", "h": "the new h",
    "keep.f": "the forget gate, where it multiplies c[t-1],", "keep.c": "what the forget gate multiplies, c[t-1],",
    "add.i": "the input gate, where it multiplies the candidate,", "add.g": "the candidate, where the input gate multiplies it,",
    "tanh.c": "the c of which tanh is taken", "out.o": "the output gate, where it multiplies tanh(c),",
    "out.u": "tanh(c), where the output gate multiplies it,", "h.carry": "the h that is carried to the next step",
    "c.carry": "the c that is carried to the next step", "h.up": "the h that the layer above takes in",
    "h.out": "the h that is returned", "c.out": "the c that is returned", "h0": "the initial h", "c0": "the initial c",
    "y0": "the first input y0", "h_n": "the final h", "c_n": "the final c", "y_in": "the y that the cell takes in",
    "query": "the query of the attention, h[t],", "W_a.query": "W_a h", "scores": "the scores", "keys": "the keys (enc, in the scores)",
    "values": "the values (enc, in the context)", "softmax.scores": "the scores that the softmax takes in",
    "attention": "the attention weights", "context.attention": "the attention weights, in the context,", "context": "the context",
    "join.context": "the context that W_tilde multiplies", "join.h": "the h that W_tilde multiplies",
    "W_tilde.joined": "W_tilde [context; h]", "bare": "y before its tanh", "y": "y", "target.y": "what W_target multiplies, y,",
    "y.fed": "what is fed back, y,", "logit": "the logits", "turn": "the way the reverse direction is turned round and back",
    "turn in": "the way inputs of the reverse direction are turned round", "turn out": "the way outputs of the reverse direction are turned back",
    "joined": "the order in which parts stand side by side", "finals": "the order in which lanes' final states are returned",
    "all h0 and c0": "the initial states", "all h0": "the initial h", "all c0": "the initial c", "all x": "the input",
    "all dy": "the gradient that arrives at y", "all dlogit": "the gradient that arrives at the logits",
    "all dh": "the gradient that arrives at h", "all dc": "the gradient that arrives at the final c",
    "clip": "the clip of c", "coupling of f": "the coupling of the forget gate", "lengths": "lengths", "mask": "the mask of the softmax",
    "softmax": "the softmax", "every curve": "every activation", "past the end": "past the end of a sequence",
    "x.seq": "the input", "h.seq": "the h of all timesteps, as it is returned,", "c.seq": "the c of all timesteps, as it is returned,",
    "h.seq and c.seq": "what is returned (h and c of all timesteps)", "up.seq": "what the layer above takes in",
    "order of the run": "the sequence", "returned": "h and c of all timesteps",
    "h.carry and c.carry": "the state that is carried to the next step (h and c)", "h0 and c0": "the initial state (h0 and c0)",
    "h.carry, c.carry and y.fed": "the state and what is fed back", "h_in and c_in": "the state that a step starts from (h and c)",
    "h.out and c.out": "what is returned (h and c)", "i, f, g and o": "every gate", "gates": "every gate",
    "c.carry and c.out": "the c that is carried and returned", "h and c": "the new state (h and c)",
    "peep.i, peep.f and peep.o": "the c that the peepholes see", "x and h_in": "x[t] and the h that a step starts from",
    "keep.f and keep.c": "the forget gate and c[t-1]", "add.i and add.g": "the input gate and the candidate",
    "out.o and out.u": "the output gate and tanh(c)", "dh0 and dc0": "dh0 and dc0", "dW and dR": "dW and dR",
    "operands": "the operands of the products (W, R, x and h)", "[W R]": "the kernel of [x, h]", "WRb of i, f and o": "the argument of the sigmoids",
    "b_ih": "the input bias (bias_ih)", "b_hh": "the recurrent bias (bias_hh)", "layout": "the weights",
    "i and f left out": "c", "peepholes": "the pre-activations of i, f and o", "peepholes of weight 1": "c",
    "c.out and h.out of the step before": "the state before each step", "sequences": "the initial state",
}  # fmt: skip
PHRASES |= {
    "lengths that turn": "the lengths by which the reverse direction turns", "lengths that hold": "the lengths by which states are held",
    "lengths that cut": "the lengths by which outputs are cut",
}  # fmt: skip
TURNS = {"within": "within lengths", "whole": "whole, padding too", "not": "not at all"}
PHRASES |= {f"z.{k}": f"the pre-activation of {words}" for k, words in GATE.items()}
PHRASES |= dict(GATE)
CURVES_OF = {
    "every curve": "every curve",
    "gates": "i, f and o",
    "u": "c",
    "y": "y",
    "g and u": "the candidate and of c",
    "all gates": "all four gates",
    **GATE,
}
PHRASES |= {f"slope of {kind}": f"the slope of {words}" for kind, words in {**CURVES_OF, "u": "tanh(c)"}.items()}
PHRASES |= {"slope of clip": "the slope of the clip of c", "slope of softmax": "the slope of the softmax"}
SLOPES_OF = {"u": "tanh(c)", "y": "y", "attention": "the softmax", **GATE}
PHRASES |= {f"curve of {kind}": f"the activation of {words}" for kind, words in CURVES_OF.items()}
PHRASES |= {f"peep.{k}": f"the c that the peephole of {words} sees" for k, words in GATE.items()}
PHRASES |= {f"term.{k}": f"the peephole term of {words}" for k, words in GATE.items()}
PHRASES |= {f"slope.{k}": f"the value of which the slope of {words} is taken" for k, words in SLOPES_OF.items()}
PHRASES |= {f"equation of {state}": f"the new {state}" for state in "ch"}
WHEN = {"first": "at the first step", "later": "at every step but the first", "last": "at the last step",
          "earlier": "at every step but the last", "from": "from timestep {} on", "at": "at timestep {} only", "every": "every {} steps"}  # fmt: skip
# Whole sentences, by site and edit, where a phrase and a template do not make one.
SENTENCES: dict[tuple[str, str], str] = {
    ("i and f left out", "at once"): "the input gate and the forget gate are left out: c = c + g",
    ("peepholes of weight 1", "at once"): "c is added to the input, forget and output gates: peepholes with weight 1",
    ("c.out and h.out of the step before", "at once"): "h and c before each step are returned, not those after it",
    ("returned", "exchanged"): "h_seq and c_seq are returned in each other's place",
    ("h_in and c_in", "exchanged"): "h and c are exchanged when they are fed to a step",
    ("h.carry and c.carry", "exchanged"): "h and c are exchanged when they are carried to the next step",
    ("h0 and c0", "exchanged"): "h0 and c0 are exchanged", ("all h0 and c0", "exchanged"): "h0 and c0 are exchanged",
    ("h_in and c_in", "initial"): "the state is not carried: every step is fed the initial state (h and c) in the place of the last step's",
    ("h_in", "initial"): "the hidden state h is not carried: every step is fed the initial h", ("c_in", "initial"): "the cell state c is not carried: every step is fed the initial c",
    ("h_in and c_in", "zero"): "the state that a step starts from (h and c) is zero", ("lengths", "ignored"): "lengths are ignored: every sequence runs through all timesteps",
    ("b", "forget bias left out"): "the forget bias is left out", ("b", "forget bias twice"): "the forget bias is added twice",
    ("b", "forget bias subtracted"): "the forget bias is subtracted instead of added",
    ("b", "forget bias after the sigmoid"): "the forget bias is added after the sigmoid of the forget gate, not before it",
    **{("b", f"forget bias on {g} instead"): f"the forget bias is added to {GATE[g]} instead of the forget gate" for g in "igo"},
    **{("b", f"forget bias on {g} too"): f"the forget bias is added to {GATE[g]} too" for g in "igo"},
    ("[W R]", "h before x"): "the kernel of [x, h] is multiplied with [h, x]", ("[W R]", "stored with h before x"): "the kernel is made of R above W, and multiplied with [x, h]",
    ("[W R]", "W and R exchanged"): "W and R are exchanged", ("[W R]", "W for both"): "W is used in the place of R too", ("[W R]", "R for both"): "R is used in the place of W too",
    **{(which, "left out"): f"{PHRASES[which]} is not added" for which in ("b_ih", "b_hh")},
    ("b_ih", "twice, the other left out"): "the input bias (bias_ih) is added twice, the recurrent one not at all",
    ("b_hh", "twice, the other left out"): "the recurrent bias (bias_hh) is added twice, the input one not at all",
    **{(f"{n}0", "end of the sequence before"): f"the initial {n} is that of the first sequence only: each other sequence starts from the end of the one before it" for n in "hc"},
    ("h0 and c0", "end of the sequence before"): "the initial state is that of the first sequence only: each other sequence starts from the end of the one before it",
    ("past the end", "h kept"): "past the end of a sequence h keeps its last value; it must be 0",
    ("past the end", "h 0, c runs on"): "past the end of a sequence h is 0, but the state runs on through the padding",
    ("past the end", "h kept, c runs on"): "past the end of a sequence h keeps its last value, as state too, but c runs on through the padding",
    ("past the end", "both 0"): "past the end of a sequence c is 0; it must keep its last value",
    ("past the end", "h runs on, c kept"): "past the end of a sequence h is still computed from the padding; only c is kept, as state too",
    ("past the end", "both run on, c returned kept"): "past the end of a sequence h and c run on through the padding; only the returned c is kept",
    ("past the end", "both run on, h returned kept"): "past the end of a sequence h and c run on through the padding; only the returned h is kept",
    ("past the end", "h kept, c 0"): "past the end of a sequence h keeps its last value and c is 0: the other way round",
    ("past the end", "both run on, c returned 0"): "past the end of a sequence h is still computed from the padding, and c is 0",
    ("past the end", "both initial"): "past the end of a sequence h and c fall back to the initial state",
    ("past the end", "h 0, c initial"): "past the end of a sequence c falls back to the initial state",
    ("layer", "left out"): "the layer is not run: its input is its output, its states stay as they were given",
    **{
        (site, f"{which} of the {lane}"): f"{PHRASES[site]} {'are' if ' ' in site else 'is'} not {'their' if ' ' in site else 'its'} own, but the {'final' if which == 'end' else 'initial'} {state} of the {lane}"
        for site, state in (("h0 and c0", "state"), ("h0", "h"), ("c0", "c"))
        for which in ("end", "start") for lane in ("layer below", "forward lane", "lane before")
    },
    ("coupling of f", "1 - i"): "the forget gate is 1 - i", ("coupling of f", "not coupled"): "the forget gate has weights of its own; it must be 1 - i",
}  # fmt: skip
# Rules: of lengths, turns, masks and the softmax; and orders of lanes.
OTHERS = {
    "one less": "are taken one too short", "one more": "are taken one too long", "the longest": "are taken as the longest for all",
    "the shortest": "are taken as the shortest for all", "the first": "are taken as the first for all", "the last": "are taken as the last for all",
    "sorted, longest first": "are sorted, the longest first, and the sequences are not", "sorted, shortest first": "are sorted, the shortest first, and the sequences are not",
    "rolled": "is shifted round by one", "counted from the end": "are counted from the end",
    "over the batch": "is taken over the batch", "left out": "is left out", "not": "is left out", "zero score": "sets scores to 0, not to minus infinity",
    "after": "is applied after the softmax, without scaling again", "whole": "turns the whole sequence, padding too", "made anew as ones": "are made anew at each of these steps, as ones",
    "by direction": "is by direction first, then by layer", "layers reversed": "has the layers in reverse", "directions exchanged": "has the directions exchanged",
    "the first for all": "is the first lane's for all", "the last for all": "is the last lane's for all", "time or lanes flipped": "is reversed along time or lanes",
    "batch rolled": "has the batch shifted round by one", "features flipped": "has its features in reverse", "features rolled": "has its features shifted round by one",
    "halves exchanged": "has its two halves exchanged", "second half left out": "has its second half left out", "batch and time reshaped": "has batch and time reshaped where they must be transposed",
    "time and batch exchanged": "has time and batch exchanged", "(B, T) read as (T, B)": "is reshaped from (B, T) to (T, B) where it must be transposed",
    "(T, B) read as (B, T)": "is reshaped from (T, B) to (B, T) where it must be transposed", "one call further": "is that of one call of the cell more",
    "exchanged between layers": "is exchanged between layers", "exchanged in what is returned": "is exchanged in what is returned",
}  # fmt: skip
# What to do, where a family's fix says too little.
FIXES: dict[tuple[str, str], str] = {
    ("h_in and c_in", "initial"): "Feed the state that a step returns into the next step.",
    ("h_in", "initial"): "Feed the h that a step returns into the next step.", ("c_in", "initial"): "Feed the c that a step returns into the next step.",
    ("b", "forget bias left out"): "Add the forget bias to the forget gate before its sigmoid (with --layout tf1: 1.0, at run time).",
    ("b", "forget bias twice"): "b holds the forget bias: do not add it again.", ("b", "forget bias subtracted"): "b holds the forget bias: do not subtract it.",
    ("b_ih", "left out"): "Add both: bias_ih + bias_hh.", ("b_hh", "left out"): "Add both: bias_ih + bias_hh.",
    ("b_ih", "twice, the other left out"): "Add both: bias_ih + bias_hh.", ("b_hh", "twice, the other left out"): "Add both: bias_ih + bias_hh.",
    ("[W R]", "h before x"): "Concatenate x first, then h.", ("[W R]", "stored with h before x"): "Stack W first, then R.",
    ("returned", "exchanged"): "Return (h_seq, c_seq), in this order.", ("h0 and c0", "exchanged"): "Give h0 as the hidden and c0 as the cell state.",
    ("order of the run", "run from the last timestep to the first"): "Run forward: from timestep 0 on.",
    ("x", "times 2"): "Feed x as it is given.", ("x", "times 1/2"): "Feed x as it is given.",
}  # fmt: skip
PLAIN = {
    "added after the activation": "is added after the activation, not before it", "clip at the bound of c": "is clipped at the bound of c too",
    **{f"row {other} for {gate}": f"has {GATE[other]}'s row in the place of {GATE[gate]}'s" for gate in "ifo" for other in "ifo" if gate != other},
    "first axis flipped": "is flipped along its first axis", "last axis flipped": "is flipped along its last axis",
    "columns flipped": "has its columns in reverse", "columns rolled": "has its columns shifted by one", "rows flipped": "has its rows in reverse",
    "column halves exchanged": "has the two halves of its columns exchanged", "rows rolled": "has its rows shifted by one", "ignored": "is ignored",
    "zero": "is 0", "one": "is 1", "previous": "is that of the step before", "first held": "is that of the first step at every step",
    "initial": "is the initial one at every step", "batch flipped": "is that of another sequence: the batch is reversed",
    "first sequence for all": "is that of the first sequence for all", "last sequence for all": "is that of the last sequence for all",
    "sequence before": "is that of the sequence before in the batch", "next sequence": "is that of the next sequence in the batch",
    "mean over sequences": "is the mean over the batch", "first sequence only": "is given to the first sequence only; the others have 0",
    "units flipped": "has its units in reverse order", "units rolled": "is shifted by one unit", "absolute": "enters with its absolute values",
    "that of two steps before": "is late by two more steps", "plus the previous": "has that of the step before added",
    "mean with the previous": "is the mean with that of the step before", "times itself": "is squared", "reversed": "is reversed in time",
    "reversed within lengths": "is reversed in time, each sequence within its length", "times -1": "has the opposite sign", "exchanged": "is exchanged",
    "transposed": "is transposed", "transposed by gate": "is transposed gate by gate", "reshaped, not transposed": "is reshaped where it must be transposed",
    "reshaped, not transposed, by gate": "is reshaped gate by gate where it must be transposed", "column-major read as row-major, by gate": "is reshaped gate by gate from how it is stored, where it must be transposed",
    "unit-major": "is read unit by unit, (H, 4) for (4, H)",
    "gate-major for unit-major": "is stored unit by unit, and read gate by gate", "column-major read as row-major": "is written out in column-major order and read as row-major",
    "first unit for all": "has each gate's first unit for all units", "block i for all": "has the input gate's block for every gate",
    "run from the last timestep to the first": "is run from the last timestep to the first, and returned in its own order",
    "run from the last valid timestep to the first": "is run from each last valid timestep to the first, and returned in its own order",
}  # fmt: skip


class Family(NamedTuple):
    """What the deviations of one kind have in common."""

    title: str
    fix: str
    met: str  # where they have been seen


# Kinds of deviation: their titles, how they are mended where nothing better is known, and where they have been seen.
FAMILIES: dict[str, Family] = {
    "gate order": Family("Gates read in another order", "Reorder the unpacking of the gates, or the blocks themselves (`lockstep convert --from ... --to ...`).",
        "TF1 stores i, g, f, o; PyTorch and Keras i, f, g, o; ONNX i, o, f, g. tensorflow/tensorflow#29308, apple/coremltools#93."),
    "forget bias": Family("The forget bias left out, doubled or misplaced", "Add the forget bias once, before the sigmoid of the forget gate; canonical b holds it already.",
        "TF1's BasicLSTMCell adds forget_bias = 1.0 at run time, Keras stores it in the bias. apache/tvm#3410 (after the sigmoid), apple/coremltools#309."),
    "bias": Family("The bias dropped, doubled or split wrongly", "Add b once to each gate; where a framework stores two biases, add both.",
        "PyTorch stores bias_ih and bias_hh, ONNX both in B, Keras and TF1 one. keras-team/keras#8307, lisa-lab/DeepLearningTutorials#81 (added twice), ddbourgin/numpy-ml#42."),
    "kernel": Family("A kernel transposed, reshaped, cut or exchanged", "Check the kernel's shape and orientation: transpose with .T, never with reshape.",
        "Keras and TF1 store (inputs, 4 units), PyTorch and ONNX (4 units, inputs). keras-team/keras#8720, huggingface/transformers#10712, stanfordnlp/stanza#88 (one gate's kernel for all)."),
    "activation": Family("An activation replaced or approximated", "Use the sigmoid for i, f and o, and tanh for g and for the cell's output.",
        "Keras' recurrent activation was hard_sigmoid before 2.3. Stack Overflow 49759614, intel/ipex-llm#1901."),
    "cell": Family("The equation of the cell changed", "Compute c = f * c + i * g, then h = o * tanh(c), with the new c.",
        "nicodjimenez/lstm#47 (tanh(c) left out), MartinuzziFrancesco/torchrecurrent#22 (i + g); coupled gates: ONNX' input_forget."),
    "state": Family("The state not carried as it should be", "Feed h and c of the step before into each step, and the given initial state into the first.",
        "Stack Overflow, Why build timestep-unfold LSTM manually has different outputs from using static_rnn; ChenRocks/fast_abs_rl#14."),
    "initial state": Family("Another initial state", "Start from the h0 and c0 that are given, each in its place.",
        "TF1 cells take (c, h), PyTorch (h, c), Keras [h, c]. microsoft/nni#2842, neulab/xnmt#223."),
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
        "Luong et al. (2015), Effective Approaches to Attention-based Neural Machine Translation, section 3."),
    "gradient": Family("The way back computed otherwise", "Follow the chain rule back through the same equations.", ""),
    "behaviour": Family("Not a function of its arguments", "Make the port a function of its arguments: no state, no random numbers, no weights of its own.",
        "mlpack/mlpack#2747 (state kept), google/prettytensor#49 (weights anew), monikkinom/ner-lstm#23 (dropout)."),
}  # fmt: skip

OF_ATTENTION = {"query", "scores", "keys", "values", "softmax.scores", "attention", "context.attention", "context", "join.context", "join.h",
              "bare", "y", "target.y", "y.fed", "logit", "mask", "softmax", "y0", "y_in", "curve of y"}  # fmt: skip
