# ruff: noqa: E501 (tables of phrases)
"""Tables of phrases: what sites, edits and timesteps of deviations are called in plain English.

Clauses are written for one subject (``is``, ``has``, ``counts``); where there are several, the verb and ``{its}`` follow.
"""

from __future__ import annotations

from itertools import permutations

from lockstep.harness.causes.formats import FORMATS
from lockstep.harness.reference.curves import CURVES

GATE = {"i": "the input gate", "f": "the forget gate", "g": "the candidate", "o": "the output gate"}

# -- subjects: sites in words -------------------------------------------------------------------------------------

# Sites, as the subject of a sentence.
PHRASES: dict[str, str] = {
    "x": "the input x[t]", "h_in": "the h that a step starts from", "c_in": "the c that a step starts from",
    "Wx": "W x", "Rh": "R h", "z": "the pre-activations z", "raw": "the new c before its clip", "c": "the new c",
    "u": "the activation of c", "m": "the product o tanh(c) before the projection", "h": "the new h",
    "keep.f": "the forget gate, where it multiplies c[t-1],", "keep.c": "what the forget gate multiplies, c[t-1],",
    "add.i": "the input gate, where it multiplies the candidate,", "add.g": "the candidate, where the input gate multiplies it,",
    "tanh.c": "the c of which tanh is taken", "out.o": "the output gate, where it multiplies tanh(c),",
    "out.u": "the tanh(c) that the output gate multiplies", "h.carry": "the h that is carried to the next step",
    "c.carry": "the c that is carried to the next step", "h.up": "the h that the layer above takes in",
    "h.out": "the h that is returned", "c.out": "the c that is returned", "h0": "the initial h", "c0": "the initial c",
    "y0": "the first input y0", "h_n": "the final h", "c_n": "the final c", "y_in": "the y that the cell takes in",
    "query": "the query of the attention (h)", "W_a.query": "W_a h", "W_q.query": "W_q h", "W_k.keys": "the projected keys (W_k enc)",
    "bare scores": "the argument of the tanh in the scores", "hidden": "the tanh in the scores", "W_q and W_k": "W_q and W_k",
    "cell.context": "the context that the cell takes in", "v_a": "the vector v_a", "scores": "the scores", "keys": "the keys (enc, in the scores)",
    "values": "the values (enc, in the context)", "softmax.scores": "the scores that the softmax takes in",
    "attention": "the attention weights", "context.attention": "the attention weights, in the context,", "context": "the context",
    "join.context": "the context that W_tilde multiplies", "join.h": "the h that W_tilde multiplies",
    "W_tilde.joined": "W_tilde [context; h]", "bare": "the output y before its tanh", "y": "the output y",
    "target.y": "the y that W_target multiplies", "y.fed": "the y that is fed back", "logit": "the logits",
    "clip": "the clip of c", "lengths": "the lengths", "mask": "the mask of the softmax", "enc": "the source (enc)", "keys and values": "the keys and values (enc)", "h.up and h.out": "the output of the layer", "output of the network": "the returned h_seq", "the step": "the step", "finals of h": "the final h of all layers and directions", "finals of c": "the final c of all layers and directions", "h_n and c_n": "the final state (h and c)", "what is returned": "what is returned (h and c)", "d resets": "the gradient of a state that is reset", "d past the end": "the gradient of h past the end of a sequence", "softmax": "the softmax",
    "lengths that turn": "the lengths by which the reverse direction turns", "lengths that hold": "the lengths by which states are held",
    "lengths of the run": "the lengths by which a direction runs", "lengths that cut": "the lengths by which outputs are cut", "every curve": "every activation",
    "turn": "the way the reverse direction is turned round and back", "turn in": "the way inputs of the reverse direction are turned round",
    "turn out": "the way outputs of the reverse direction are turned back", "joined": "the order in which parts stand side by side",
    "returned": "h_seq and c_seq", "past the end": "what stands past the end of a sequence", "coupling of f": "the coupling of the forget gate", "coupling of i": "the coupling of the input gate", "layout": "the weights",
    "layer": "a layer as a whole", "equation of scores": "the scores", "equation of c": "the new c", "equation of h": "the new h", "i and f left out": "the new c",
    "peepholes of weight 1": "the pre-activations of i, f and o", "c.out and h.out of the step before": "what is returned (h and c)",
    "x.seq": "the input sequence", "x.turned.seq": "the input sequence, as the reverse direction turns it round,", "h.seq": "the returned h_seq", "c.seq": "the returned c_seq",
    "h.seq and c.seq": "what is returned (h_seq and c_seq)", "up.seq": "the sequence that the layer above takes in",
    "order of the run": "the sequence", "all x": "the input sequence", "between layers": "the sequence that every upper layer takes in",
    "all h0 and c0": "the initial states (h0 and c0) of all layers and directions", "all h0": "the initial states h0 of all layers and directions",
    "all c0": "the initial states c0 of all layers and directions", "finals": "the final states of all layers and directions",
    "all dh": "the given gradient of h_seq (dh)", "all dc": "the given gradient of c (dc)", "all dy": "the given gradient of y (dy)",
    "all dlogit": "the given gradient of the logits (dlogit)",
    "h.carry and c.carry": "the state that is carried to the next step (h and c)", "h0 and c0": "the initial state (h0 and c0)",
    "h.carry, c.carry and y.fed": "everything that is carried to the next step (h, c and y)", "h_in and c_in": "the state that a step starts from (h and c)",
    "h.out and c.out": "what is returned (h and c)", "i, f, g and o": "every gate", "gates": "every gate",
    "c.carry and c.out": "the c that is carried and returned", "h and c": "the new state (h and c)",
    "operands": "the operands of the products (W, R, x and h)", "[W R]": "the kernel of [x, h]", "WRb of i, f and o": "the argument of the sigmoids",
    "b": "the bias b", "W, R and both biases": "every array of the weights, each of the two biases by itself,", "b_ih": "the input bias (bias_ih)", "b_hh": "the recurrent bias (bias_hh)", "b_tilde": "the bias b_tilde",
    "p": "the peephole weights", "peepholes": "the pre-activations of i, f and o", "P": "the projection P",
    "gradients of weights": "the gradients of all weights", "all gradients": "all gradients", "dh0 and dc0": "the gradients dh0 and dc0", "dW and dR": "the gradients dW and dR", "dW and dx": "the gradients dW and dx", "dR, dW and dx": "the gradients dR, dW and dx", "peep.i, peep.f and peep.o": "the c that the peepholes see",
    "x and h_in": "the input x[t] and the h that a step starts from", "keep.f and keep.c": "the forget gate and c[t-1]",
    "add.i and add.g": "the input gate and the candidate", "out.o and out.u": "the output gate and tanh(c)",
    "slope of every curve": "the slope of every activation", "slope of clip": "the slope of the clip of c", "slope of softmax": "the slope of the softmax",
    "slope.attention": "the slope of the softmax",
}  # fmt: skip
PHRASES |= {f"z.{gate}": f"the pre-activation of {words}" for gate, words in GATE.items()}
PHRASES |= GATE
PHRASES |= {f"peep.{gate}": f"the c that the peephole of {words} sees" for gate, words in GATE.items()}
PHRASES |= {f"term.{gate}": f"the peephole term of {words}" for gate, words in GATE.items()}
_CURVES_OF = {
    "gates": "i, f and o",
    "u": "c",
    "y": "y",
    "scores": "the additive scores",
    "g and u": "the candidate and of c",
    "all gates": "all four gates",
    **GATE,
}
PHRASES |= {f"curve of {kind}": f"the activation of {words}" for kind, words in _CURVES_OF.items()}
PHRASES |= {f"slope of {kind}": f"the slope of the activation of {words}" for kind, words in _CURVES_OF.items()}
PHRASES |= {f"slope.{kind}": PHRASES[f"slope of {kind}"] for kind in (*GATE, "u", "y")}
PLURAL = frozenset({
    "lengths", "lengths of the run", "lengths that turn", "lengths that hold", "lengths that cut", "scores", "keys", "values", "keys and values", "softmax.scores",
    "W_k.keys", "W_q and W_k", "attention", "context.attention", "logit", "z", "peepholes", "operands", "p", "all h0 and c0", "all h0", "all c0", "finals",
    "gradients of weights", "all gradients", "dh0 and dc0",
    "x and h_in", "keep.f and keep.c", "add.i and add.g", "out.o and out.u",
})  # fmt: skip
# What stands in another's place, where the phrase of the site says less.
OPERANDS = {f"{name}_in": f"the {name} of the step before (at the first the initial {name})" for name in "hc"}
# Values of the step before and of the next one, where "... of the step before" would not say it.
BEFORE = {"h_in": "the h that the step before started from", "c_in": "the c that the step before started from",
          "x": "the input of the step before", "y_in": "the y that the step before took in"}  # fmt: skip
NEXT = {"h_in": "the h that the next step starts from", "c_in": "the c that the next step starts from",
        "x": "the input of the next step", "y_in": "the y that the next step takes in"}  # fmt: skip

# -- clauses: edits in words, by the kind of site ------------------------------------------------------------------

_BATCH = {
    "batch flipped": "has the sequences of the batch in reverse order", "batch rolled": "has the sequences of the batch shifted by one",
    "sequence before": "is that of the sequence before in the batch", "next sequence": "is that of the next sequence in the batch",
    "first sequence for all": "is that of the first sequence for all sequences", "last sequence for all": "is that of the last sequence for all sequences",
    "first sequence only": "is 0 for every sequence but the first", "all but the last sequence": "is 0 for the last sequence of the batch",
    "first and last sequence exchanged": "has the first and the last sequence of the batch exchanged", "mean over sequences": "is replaced by the mean over the batch",
}  # fmt: skip
_UNITS = {
    "units flipped": "has {its} units in reverse order", "units rolled": "has {its} units shifted by one",
    "first unit for all": "has the first unit's value in every unit", "all but the last unit": "is 0 in the last unit", "all but the first unit": "is 0 in the first unit",
    **{f"first {k} units only": f"is computed for the first {k} units only, and 0 past them" for k in (4, 8, 16, 32)},
    "(B, n) read as (n, B)": "is reshaped from (B, n) to (n, B) where it must be transposed", "(n, B) read as (B, n)": "is reshaped from (n, B) to (B, n) where it must be transposed",
}  # fmt: skip
# Of values, and of whatever has no words of its own.
OF_VALUES: dict[str, str] = {
    **_BATCH, **_UNITS,
    "zero": "is 0", "one": "is 1", "none": "is left out", "left out": "is left out", "ignored": "is ignored", "exchanged": "is exchanged",
    "previous": "is that of the step before", "that of two steps before": "is that of two steps before", "first held": "keeps the value of the first step at every step",
    "plus the previous": "has that of the step before added", "mean with the previous": "is averaged with that of the step before",
    "initial": "is the initial one at every step", "absolute": "is replaced by {its} absolute value", "times itself": "is squared",
    "times -1": "has the opposite sign", "source flipped": "has the timesteps of the source in reverse order",
    "of errors without slopes": "is made of the gates' errors without the slopes of their activations",
    "of errors in the order of the way back": "is made of the steps' errors in the order of the way back, the last first, matched with inputs in the order of time",
    "without what comes from the next step": "is made of the given dh alone, without what comes back from the next step",
    "softmax of it": "goes through a softmax", "log-softmax of it": "goes through a log-softmax", **{f"projected by {name}": f"is multiplied by {name}, as the keys are" for name in ("W_a", "W_k")},
    "interleaved": "has the units of the two directions one by one (f0, r0, f1, r1, ...), not side by side", "read as interleaved": "is taken apart as if the units of the two directions stood one by one (f0, r0, f1, r1, ...)",
    "first half twice": "has the forward direction in the place of the reverse one too", "second half twice": "has the reverse direction in the place of the forward one too",
    "left out, 0 returned": "is left out: the state goes on as it was, and 0 is returned", "left out, the old state returned": "is left out: the state goes on as it was, and is returned",
    "sum so far": "is added to those of all steps before: never set back to 0", "projected once more": "is projected once more, by P",
    "sorted by length": "has the sequences of the batch sorted by length, the longest first, and is not put back", "put back from an order by length": "is put back from an order by length in which it does not stand",
    "passed on": "is not stopped: it goes to the state before", "of the state that is kept": "is not masked: it goes to the state that is kept there",
    "sum over layers": "is the sum of the outputs of all layers", "mean over layers": "is the mean of the outputs of all layers", "sum over the upper layers": "is the sum of the outputs of all layers but the lowest",
    "of the lowest layer": "is that of the lowest layer, not of the top one", "of the layer below the top one": "is that of the layer below the top one",
    "(T, D, B, H) reshaped": "stands in memory as (T, directions, B, H) and is reshaped to (T, B, 2 H), where directions must be moved behind the batch first",
    "(D, T, B, H) reshaped": "stands in memory as (directions, T, B, H) and is reshaped to (T, B, 2 H), where directions must be moved behind the batch first",
    "the last output of the encoder": "is the last output of the encoder", "plus dc": "has the gradient of the final c (dc) added: it comes in at the last step alone",
    "from above only": "has its upper bound only: c may fall below -bound", "from below only": "has its lower bound only: c may rise above the bound", "bounds exchanged": "has its bounds exchanged, clip(c, bound, -bound): c is -bound everywhere",
    "added after the activation": "is added after the activation, not before it", "clip at the bound of c": "is clipped too, at the bound of c",
    "transposed": "is transposed", "output of its first step": "is the output of the first step that it makes (in the reverse direction at the end of the sequence), not of the last",
    "output of the last timestep": "is the output of the last timestep", "output of the first timestep": "is the output of the first timestep",
    "the initial h": "is replaced by the initial h", "the initial c": "is replaced by the initial c", "tanh of h": "is replaced by tanh of the new h", "tanh of c": "is replaced by tanh of the new c",
}  # fmt: skip
# Clauses that go behind a subject, by edit; the verb comes first, so that it can agree.
OF_WEIGHTS: dict[str, str] = {
    "zero": "counts as 0: left out", "one": "counts as 1", "absolute": "is replaced by {its} absolute values", "made anew as ones": "is made anew at each of these steps: kernels as 1, biases as 0",
    "transposed": "is transposed", "transposed by gate": "is transposed gate by gate", "reshaped, not transposed": "is reshaped where it must be transposed",
    "reshaped, not transposed, by gate": "is reshaped gate by gate where it must be transposed",
    "column-major read as row-major": "is stored in column-major order and read in row-major order", "column-major read as row-major, by gate": "is stored gate by gate in column-major order and read in row-major order",
    "columns flipped": "has {its} input columns in reverse order", "columns rolled": "has {its} input columns shifted by one", "column halves exchanged": "has the two halves of {its} input columns exchanged",
    "rows flipped": "has {its} rows in reverse order", "rows rolled": "has {its} rows shifted by one", "units flipped": "has the units of each gate in reverse order", "units rolled": "has the units of each gate shifted by one",
    "unit-major": "is read unit by unit, (H, 4), but is stored gate by gate, (4, H)", "gate-major for unit-major": "is stored unit by unit, (H, 4), but is read gate by gate, (4, H)",
    "first unit for all": "has each gate's first unit for all units", "block i for all": "has the input gate's block for every gate",
    "diagonal only": "counts as 0 everywhere but on the diagonal of each gate's block", "all but the diagonal": "counts as 0 on the diagonal of each gate's block",
    "lower triangle only": "counts as 0 above the diagonal of each gate's block", "upper triangle only": "counts as 0 below the diagonal of each gate's block",
    "first column only": "counts as 0 in every input column but the first", "all but the first column": "counts as 0 in the first input column", "all but the last column": "counts as 0 in the last input column",
    "first half of the columns": "counts as 0 in the second half of {its} input columns", "second half of the columns": "counts as 0 in the first half of {its} input columns",
    "every second column": "counts as 0 in every second input column (1, 3, ...)", "all but the last unit": "counts as 0 for the last unit of each gate", "all but the first unit": "counts as 0 for the first unit of each gate",
    **{f"zero but for {gate}": f"reaches {words} only" for gate, words in GATE.items()},
    **{f"row {other} for {gate}": f"has {GATE[other]}'s row in the place of {GATE[gate]}'s" for gate in "ifo" for other in "ifo" if gate != other},
    **{f"block {other} for {gate}": f"has {GATE[other]}'s block in the place of {GATE[gate]}'s" for gate in GATE for other in GATE if gate != other},
    **{f"block {gate} for all": f"has {words}'s block for every gate" for gate, words in GATE.items()},
    **{f"block {gate} for {a} and {b}": f"has {GATE[gate]}'s block in the place of {GATE[a]}'s and {GATE[b]}'s" for gate in GATE for a in GATE for b in GATE},
}  # fmt: skip
OF_SEQUENCES: dict[str, str] = {
    **_BATCH, **_UNITS,
    "reversed": "is reversed in time", "reversed within lengths": "is reversed in time, each sequence within its length",
    "first timestep for all": "has the values of the first timestep at every timestep", "last timestep for all": "has the values of the last timestep at every timestep",
    "last timestep only": "is 0 at every timestep but the last", "first timestep only": "is 0 at every timestep but the first",
    "all but the first timestep": "is 0 at the first timestep", "all but the last timestep": "is 0 at the last timestep",
    "every second timestep twice": "has every second timestep twice: 0, 0, 2, 2 and so on", "first and last timestep exchanged": "has the first and the last timestep exchanged",
    "time and batch exchanged": "has time and batch exchanged: (B, T) where (T, B) must be", "units and sequences reshaped": "is reshaped where batch and units must be transposed",
    "(B, T) read as (T, B)": "is reshaped from (B, T) to (T, B) where it must be transposed", "(T, B) read as (B, T)": "is reshaped from (T, B) to (B, T) where it must be transposed",
    "(B, T) read as (T, B) and back": "is reshaped from (B, T) to (T, B) where it must be transposed, and outputs are reshaped back",
    "(T, B) read as (B, T) and back": "is reshaped from (T, B) to (B, T) where it must be transposed, and outputs are reshaped back",
    "mean over time": "is replaced at every timestep by the mean over time", "sum so far": "is replaced at every timestep by the sum of all timesteps so far",
    "mean so far": "is replaced at every timestep by the mean of all timesteps so far", "largest so far": "is replaced at every timestep by the largest value so far",
    "change from the step before": "is replaced at every timestep by the difference from the step before", "with the step before added": "has at every timestep that of the step before added",
    "mean over units taken off": "has the mean over {its} units subtracted",
    "run from the last timestep to the first": "is run from the last timestep to the first, and outputs are returned in the order of time",
    "run from the last valid timestep to the first": "is run from the last valid timestep to the first, and outputs are returned in the order of time",
    # Of whole arrays, of a network or of the way back.
    "time or lanes flipped": "is reversed in time", "features flipped": "has {its} features in reverse order", "features rolled": "has {its} features shifted by one",
    "halves exchanged": "has the two halves of {its} features exchanged", "second half left out": "is 0 in the second half of {its} features",
    "batch and time reshaped": "is reshaped where batch and time must be transposed", "of the last timestep only": "is used at the last timestep only",
    "of the first timestep only": "is used at the first timestep only", "without that of the last timestep": "is left out at the last timestep",
}  # fmt: skip
# Of the states of all layers and directions.
OF_ALL_STATES: dict[str, str] = {
    "reversed": "is in reverse order: the last layer and direction first", "by direction": "is ordered by direction first (all forward, then all reverse), not layer by layer",
    "stored by direction": "is read as if ordered by direction first (all forward, then all reverse), not layer by layer", "layers reversed": "has the layers in reverse order: the top layer first",
    "directions exchanged": "is exchanged between the two directions of each layer", "rolled": "is shifted by one place in the order of layers and directions",
    "time and batch reshaped": "is reshaped where batch and layers must be transposed",
    "pairs of h and c read as h before c": "is listed with h and c of each layer and direction beside each other (h, c, h, c, ...), and read as all h before all c",
    "h before c read as pairs of h and c": "is listed with all h before all c, and read as h and c of each layer and direction beside each other (h, c, h, c, ...)",
    "h_n and c_n exchanged": "is returned with h_n and c_n in each other's place",
    "those of c": "is replaced by the final c", "those of h": "is replaced by the final h",
    "the first for all": "is that of the first of them (of the first layer its forward direction) for all", "the last for all": "is that of the last of them (of the last layer its last direction) for all",
    "time or lanes flipped": "is in reverse order of layers and directions", "batch and time reshaped": "is reshaped where layers and batch must be transposed",
}  # fmt: skip
OF_LENGTHS: dict[str, str] = {
    "ignored": "is ignored", "one less": "is taken one too short for every sequence", "one more": "is taken one too long for every sequence",
    "the longest": "is replaced by the longest one for all", "the shortest": "is replaced by the shortest one for all",
    "the first": "is replaced by the length of the first sequence for all", "the last": "is replaced by the length of the last sequence for all",
    "sorted, longest first": "is sorted, the longest first, but the sequences are not", "sorted, shortest first": "is sorted, the shortest first, but the sequences are not",
    "reversed": "is in reverse order over the batch", "rolled": "is shifted by one sequence over the batch", "counted from the end": "is counted from the end: T - length is used",
}  # fmt: skip
# Of the weights of a layer and direction.
OF_LANES: dict[str, str] = {
    "those of the forward lane": "is taken from the forward direction of the same layer", "those of the reverse lane": "is taken from the reverse direction of the same layer",
    "directions exchanged": "is exchanged between the two directions", "those of the lower layer": "is taken from the layer below",
    "listed by direction, read by layer": "is listed direction by direction (l0, l1, ..., l0 reverse, ...), and read layer by layer (l0, l0 reverse, l1, ...)", "listed by layer, read by direction": "is listed layer by layer (l0, l0 reverse, l1, ...), and read direction by direction (l0, l1, ..., l0 reverse, ...)",
    "those of the first layer": "is taken from the lowest layer",
    "those of the first layer that fits": "is taken from the lowest layer that has the same shape", "layers from the top down": "is given to the layers in reverse order, from the top down",
}  # fmt: skip
OF_SUMS: dict[str, str] = {
    "of the first step only": "comes from the first step only, and is not summed over all steps", "of the last step only": "comes from the last step only, and is not summed over all steps",
    "without the first step": "is summed over all steps but the first", "without the last step": "is summed over all steps but the last",
}  # fmt: skip
OF_RETURNED_GRADIENTS: dict[str, str] = {
    "zero": "is returned as 0", "exchanged": "is returned in each other's place", "first axis flipped": "is returned with {its} first axis reversed", "last axis flipped": "is returned with {its} last axis reversed",
}  # fmt: skip
OF_SLOPES: dict[str, str] = {
    "1": "is left out: taken as 1", "taken twice": "is multiplied in twice", "at the value": "is taken at the activation's value a, which has been through it already, and not at its argument",
    "the activation of the value": "is not taken at all: the activation itself, of its value a, stands in its place",
    "of z for a": "is computed from the argument z, where the activation's value a must stand",
    "a": "is taken as a, the softmax's value", "a (1 - a)": "is taken as a (1 - a), as if each weight were a sigmoid", "0": "is taken as 0", "the value itself": "is taken as the activation's value a",
    "on what comes through h alone": "is multiplied only with the part of the gradient that comes through h, not with that of c from the next step",
    "on what comes through c alone": "is multiplied only with the part of the gradient that comes from the next step's c, not with that through h",
    "1 - the value": "is taken as 1 - a, a the activation's value", "the argument itself": "is taken as the activation's argument z",
    **{f"of {name}": f"is that of {curve.words}" for name, curve in CURVES.items()},
    **{f"of {name}, of z for a": f"is that of {curve.words}, but computed from the argument z where the value a must stand" for name, curve in CURVES.items()},
    "of linear": "is left out: taken as 1", "of linear, of z for a": "is left out: taken as 1",
}  # fmt: skip
# Factors that follow a size.
DIVIDED = {
    "1/B": "is divided by B, the number of sequences: a mean over the batch, not a sum",
    "1/T": "is divided by T, the number of timesteps: a mean over time, not a sum",
    "1/S": "is divided by S, the number of timesteps of the source: a mean, not a sum",
    "1/H": "is divided by H, the hidden size", "1/E": "is divided by E, the width of the source",
    "1/sqrt(U)": "is divided by the square root of U, the width of the tanh in the scores",
}  # fmt: skip
# Where a sequence is shifted: what stands at the places that are left.
SHIFTED = {
    ("late", "zero there"): "with 0 at the start", ("early", "zero there"): "with 0 at the end",
    ("late", "the end twice"): "with the first one repeated at the start", ("early", "the end twice"): "with the last one repeated at the end",
    ("late", "rolled"): "with what falls out at the end put at the start", ("early", "rolled"): "with what falls out at the start put at the end",
}  # fmt: skip

# -- whole sentences, by site and edit, where a phrase and a clause do not make one -----------------------------------

_TURNS = {
    ("within", "whole"): "inputs are reversed within each sequence's length, but {its} outputs over all timesteps, padding too",
    ("within", "not"): "inputs are reversed in time, but {its} outputs are not turned back",
    ("whole", "within"): "inputs are reversed over all timesteps, padding too, and not within each sequence's length as {its} outputs are",
    ("whole", "whole"): "inputs and outputs are reversed over all timesteps, padding too, not within each sequence's length",
    ("whole", "not"): "inputs are reversed over all timesteps, padding too, and {its} outputs are not turned back",
    ("not", "within"): "inputs are not reversed in time, but {its} outputs are turned within each sequence's length",
    ("not", "whole"): "inputs are not reversed in time, but {its} outputs are turned over all timesteps",
    ("not", "not"): "inputs and outputs are not reversed in time: it runs forward",
    ("within", "along the batch"): "inputs are reversed in time, but {its} outputs are turned along the batch",
    ("whole", "along the batch"): "inputs are reversed over all timesteps, padding too, and {its} outputs are turned along the batch",
    ("not", "along the batch"): "inputs are not reversed in time, but {its} outputs are turned along the batch",
    ("along the batch", "within"): "inputs are turned along the batch, not in time, but {its} outputs are turned within each sequence's length",
    ("along the batch", "whole"): "inputs are turned along the batch, not in time, but {its} outputs are turned over all timesteps",
    ("along the batch", "not"): "inputs are turned along the batch, not in time, and {its} outputs are not turned back",
    ("along the batch", "along the batch"): "inputs and outputs are turned along the batch, not in time: it runs forward over the sequences in reverse order",
}  # fmt: skip
_JOINED = "the outputs of the two directions are joined in the wrong order{where}: reverse before forward"
SENTENCES: dict[tuple[str, str], str] = {
    ("add.i", "1 - f"): "the input gate is 1 - f: it is coupled to the forget gate, and has no weights of its own",
    ("Rh", "of h that is written in place"): "h is written in place, unit by unit: each unit sees the new h of those before it",
    ("i and f left out", "at once"): "the input gate and the forget gate are left out: c = c + g",
    ("peepholes of weight 1", "at once"): "the cell state c is added to the pre-activations of i, f and o: peepholes of weight 1",
    ("c.out and h.out of the step before", "at once"): "what is returned is the state (h and c) before each step, not after it",
    ("returned", "exchanged"): "the returned h_seq and c_seq are exchanged: each stands in the other's place",
    ("h_in and c_in", "exchanged"): "the states h and c are exchanged when they are fed to a step",
    ("h.carry and c.carry", "exchanged"): "the states h and c are exchanged when they are carried to the next step",
    ("h0 and c0", "exchanged"): "the initial states h0 and c0 are exchanged", ("all h0 and c0", "exchanged"): "the initial states h0 and c0 are exchanged",
    ("joined", "exchanged"): _JOINED.format(where=""), ("joined", "exchanged between layers"): _JOINED.format(where=" between layers"),
    ("joined", "exchanged in what is returned"): _JOINED.format(where=" in what is returned"),
    ("joined of a decoder", "exchanged"): "W_tilde multiplies [h; context], not [context; h]: the two are joined in the wrong order",
    ("cell input", "exchanged"): "W multiplies [y; context], not [context; y]: the two are joined in the wrong order",
    ("attends", "after the cell"): "the attention comes after the cell: scores are of the new h, and the cell takes in the context of the step before",
    ("W_q and W_k", "exchanged"): "W_q and W_k are exchanged: W_q multiplies the source, and W_k the state h",
    **{("W_q and W_k", f"{name} for both"): f"{name} multiplies both the source and the state h in the scores" for name in ("W_q", "W_k")},
    ("W_k.keys", "as they are"): "the keys are not projected: W_k is left out", ("W_q.query", "query"): "the query is not projected: W_q is left out",
    ("curve of scores", "linear"): "the tanh of the additive scores is left out: scores are v_a . (W_q h + W_k enc)",
    ("softmax", "over one place"): "the softmax is taken over an axis of length 1: every place of the source gets the attention weight 1",
    ("softmax", "over the batch"): "the softmax is taken over the batch, not over the timesteps of the source",
    ("softmax", "over all sequences at once"): "the softmax is taken over the scores of all sequences at once, as of one flat array: the weights of each sequence do not add up to 1",
    ("mask", "not"): "the mask of the softmax is left out: padding of the source gets attention", ("mask", "zero score"): "the mask of the softmax sets scores of the padding to 0, not to minus infinity",
    ("mask", "inverted"): "the mask of the softmax is inverted: the padding gets attention, and the source does not",
    ("mask", "zero vectors"): "the padding of the source is set to zero vectors, but the softmax is not masked: it counts their scores of 0",
    **{("softmax", f"{name} in its place"): f"the attention weights are not a softmax of the scores: each score goes through {curve.words} alone" for name, curve in CURVES.items()},
    **{(site, "initial"): f"{PHRASES[site]} is y0 at every step: what was computed is never fed back" for site in ("y.fed", "y_in")},
    ("softmax.scores", "zero"): "the scores that the softmax takes in are 0: each place of the source gets the same attention",
    ("attention", "sum so far"): "the attention weights are added to those of all steps before",
    ("lengths of the run", "ignored"): "the lengths are ignored but for what is returned, which is 0 past the end: it runs through the padding, and where it goes backward it reads the padding first",
    ("lengths", "ignored, and padding zero"): "the lengths are ignored, but for the input, which is 0 past the end of a sequence: every sequence runs through all timesteps",
    ("mask", "added"): "the mask (1 and 0) is added to the scores, where padding must be shut out: its scores are only lower by one",
    ("mask", "from the end"): "the mask lets the last places of the source through, not the first: as if sources were padded in front",
    ("lengths", "from the end"): "sequences are taken to be padded in front: each runs over the last timesteps of the array, not the first",
    ("h", "m"): "the projection is left out: h is o tanh(c) itself",
    ("enc", "last timestep for all"): "the context is the last timestep of the source: all places of the source have its values",
    ("enc", "first timestep for all"): "the context is the first timestep of the source: all places of the source have its values",
    ("mask", "after"): "the mask is applied after the softmax, and the attention weights are not scaled to the sum 1 again",
    ("query", "one call further"): "the attention sees the h of one more call of the cell: the cell is called twice in each step",
    ("h_in and c_in", "initial"): "the state is not carried: every step is fed the initial state (h and c) in the place of the last step's",
    ("h_in", "initial"): "the hidden state h is not carried: every step is fed the initial h", ("c_in", "initial"): "the cell state c is not carried: every step is fed the initial c",
    ("h_in and c_in", "zero"): "the state that a step starts from (h and c) is zero", ("lengths", "ignored"): "the lengths are ignored: every sequence runs through all timesteps",
    ("b", "forget bias left out"): "the forget bias is left out", ("b", "forget bias twice"): "the forget bias is added twice",
    ("b", "forget bias subtracted"): "the forget bias is subtracted instead of added",
    ("b", "forget bias after the sigmoid"): "the forget bias is added after the sigmoid of the forget gate, not before it",
    **{("b", f"forget bias on {gate} instead"): f"the forget bias is added to {GATE[gate]} instead of the forget gate" for gate in "igo"},
    **{("b", f"forget bias on {gate} too"): f"the forget bias is added to {GATE[gate]} too" for gate in "igo"},
    ("[W R]", "h before x"): "the kernel of [x, h] is multiplied with [h, x]", ("[W R]", "stored with h before x"): "the kernel is made of R above W, and multiplied with [x, h]",
    ("[W R]", "reshaped, not transposed"): "the kernel of [x, h] is reshaped where it must be transposed",
    ("[W R]", "W and R exchanged"): "W and R are exchanged", ("[W R]", "W for both"): "W is used in the place of R too", ("[W R]", "R for both"): "R is used in the place of W too",
    **{(which, "left out"): f"{PHRASES[which]} is not added" for which in ("b_ih", "b_hh")},
    ("b_ih", "twice, the other left out"): "the input bias (bias_ih) is added twice, the recurrent one not at all",
    ("b_hh", "twice, the other left out"): "the recurrent bias (bias_hh) is added twice, the input one not at all",
    **{(f"{state}0", "end of the sequence before"): f"the given initial {state} is used for the first sequence only: each other sequence starts from the end of the one before it" for state in "hc"},
    ("h0 and c0", "end of the sequence before"): "the given initial state is used for the first sequence only: each other sequence starts from the end of the one before it",
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
        (site, f"{which} of the {lane}"): f"{PHRASES[site]} is the {kind} {state} of {words}, not the given one"
        for site, state in (("h0 and c0", "state"), ("h0", "h"), ("c0", "c"))
        for which, kind in (("end", "final"), ("start", "initial"))
        for lane, words in (("layer below", "the layer below"), ("forward lane", "the forward direction for the reverse one"), ("lane before", "the layer or direction that is computed before"))
    },
    **{("turn" if there == back else "turn out" if there == "within" else "turn in", there if there == back else f"{there} and {back}"): f"the reverse direction's {words.format(its='its')}" for (there, back), words in _TURNS.items()},
    ("coupling of i", "1 - f"): "the input gate is 1 - f: it has no weights of its own, the forget gate has",
    ("coupling of f", "1 - i"): "the forget gate is 1 - i: it has no weights of its own", ("coupling of f", "not coupled"): "the forget gate has weights of its own; it must be 1 - i",
    ("clip", "times 2"): "the bound of the clip of c is multiplied by 2", ("clip", "times 1/2"): "the bound of the clip of c is multiplied by 1/2",
}  # fmt: skip
SENTENCES |= {("resets", edit): sentence for edit, sentence in {
    "ignored": "the resets are ignored: the state goes on where a sequence starts anew",
    "one timestep late": "the state is reset one timestep late: the step at which a sequence starts anew still sees the old one",
    "one timestep early": "the state is reset one timestep early: before the last step of what comes before",
    "inverted": "the resets are inverted: the state is kept where a sequence starts anew, and reset at every other step",
    "of any sequence, for all": "the state of all sequences is reset where any of them starts anew",
    "of the first sequence, for all": "the state of all sequences is reset where the first of the batch starts anew",
    "h only": "only h is reset where a sequence starts anew: c goes on",
    "c only": "only c is reset where a sequence starts anew: h goes on",
    "to the initial state": "a sequence starts anew from the given initial state, not from zeros",
    "after the step": "the state is reset after the step at which a sequence starts anew, not before it",
    "after the step, in what is returned too": "the state is reset after the step at which a sequence starts anew, not before it, and 0 is returned there",
}.items()}  # fmt: skip
# What is handed from piece to piece of a sequence: zeros in its place, the first piece's, the other state's.
_BETWEEN = {
    "state": ("zeros", "the initial h0 and c0", "the final c as its h and the final h as its c"),
    "h": ("an h of 0", "the initial h0", "the final c as its h"),
    "c": ("a c of 0", "the initial c0", "the final h as its c"),
}  # fmt: skip
PHRASES |= {f"{name} between pieces": f"the {name} that is handed from piece to piece" for name in _BETWEEN}
for _name, (_zeros, _initial, _other) in _BETWEEN.items():
    # {piece} is the timestep at which the second piece begins.
    SENTENCES |= {(f"{_name} between pieces", edit): f"the {_name} {words}" for edit, words in {
        "zero": f"is dropped between pieces: {{piece}} begins from {_zeros}",
        "initial": f"is kept from the first piece: {{piece}} begins from {_initial} again",
        "exchanged": f"is exchanged between pieces: {{piece}} begins from {_other}",
        **{f"in {form}": f"is narrowed between pieces: {{piece}} begins from what was rounded to {form}" for form in FORMATS},
    }.items()}  # fmt: skip
_ON_ZEROS = ", of which the input is set to 0"
SENTENCES |= {
    (site, f"{edit}, on zeros"): sentence.replace("the padding", f"the padding{_ON_ZEROS}")
    for (site, edit), sentence in list(SENTENCES.items())
    if site == "past the end"
}
WHEN = {"first": "at the first step", "later": "at every step but the first", "last": "at the last step",
        "earlier": "at every step but the last", "from": "from timestep {} on", "at": "at timestep {} only", "every": "every {} steps"}  # fmt: skip
WHERE = {"upper": "in the upper layers", "reverse": "in the reverse direction", "forward": "in the forward direction",
         "encoder": "in the encoder", "below the top": "in every layer but the top one", "top": "in the top layer"}  # fmt: skip

# -- what to do, where a family's fix says too little ------------------------------------------------------------------

FIXES: dict[tuple[str, str], str] = {
    ("h_in and c_in", "initial"): "Feed the state that a step returns into the next step.",
    ("h_in", "initial"): "Feed the h that a step returns into the next step.", ("c_in", "initial"): "Feed the c that a step returns into the next step.",
    ("b", "forget bias left out"): "Add the forget bias to the forget gate before its sigmoid (with --layout tf1: 1.0, at run time).",
    ("b", "forget bias twice"): "The bias b holds the forget bias: do not add it again.", ("b", "forget bias subtracted"): "The bias b holds the forget bias: do not subtract it.",
    ("b_ih", "left out"): "Add both: bias_ih + bias_hh.", ("b_hh", "left out"): "Add both: bias_ih + bias_hh.",
    ("b_ih", "twice, the other left out"): "Add both: bias_ih + bias_hh.", ("b_hh", "twice, the other left out"): "Add both: bias_ih + bias_hh.",
    ("[W R]", "h before x"): "Concatenate x first, then h.", ("[W R]", "stored with h before x"): "Stack W first, then R.",
    ("returned", "exchanged"): "Return (h_seq, c_seq), in this order.", ("h0 and c0", "exchanged"): "Give h0 as the hidden and c0 as the cell state.",
    ("all h0 and c0", "exchanged"): "Give h0 as the hidden and c0 as the cell state.",
    ("order of the run", "run from the last timestep to the first"): "Run forward: from timestep 0 on.",
    ("order of the run", "run from the last valid timestep to the first"): "Run forward: from timestep 0 on.",
    ("Rh", "of h that is written in place"): "Compute the new h of all units before h is written.",
    ("x", "times 2"): "Feed x as it is given.", ("x", "times 1/2"): "Feed x as it is given.",
    ("clip", "none"): "Clip the new c to the case's bound at every step.", ("coupling of f", "not coupled"): "Compute the forget gate as 1 - i.",
    ("layer", "left out"): "Run every layer.", ("softmax", "left out"): "Take the softmax of the scores, over the timesteps of the source.",
    ("query", "one call further"): "Call the cell once in each step, and use its h for both the attention and the next step.",
    ("joined of a decoder", "exchanged"): "Join the context first, then h.", ("cell input", "exchanged"): "Join the context first, then y.",
    ("attends", "after the cell"): "Attend with the h of the step before, then call the cell with the new context.",
    **{("W_q and W_k", edit): "Multiply the state h by W_q, and the source by W_k." for edit in ("exchanged", "W_q for both", "W_k for both")},
    ("curve of scores", "linear"): "Take tanh of W_q h + W_k enc before v_a.", ("softmax", "over one place"): "Take the softmax over the timesteps of the source: scores are (B, S), or (B, S, 1) with the axis 1.",
    ("values", "projected by W_k"): "Sum the source itself, weighted by the attention: W_k belongs to the scores alone.",
    **{("W_a", edit): "Check the shape and orientation of W_a: transpose with .T, never with reshape." for edit in ("transposed", "reshaped, not transposed")},
    ("tanh.c", "raw"): "Take tanh of the clipped c.", ("softmax", "over the batch"): "Take the softmax over the timesteps of the source, for each sequence.",
    ("softmax", "over all sequences at once"): "Take the softmax over the timesteps of the source, for each sequence.",
    ("coupling of i", "1 - f"): "Compute the input gate with its own weights: where gates are coupled the forget gate is 1 - i.",
    ("mask", "inverted"): "Set the scores of padding, not those of the source, to minus infinity before the softmax.",
    **{("clip", edit): "Clip the new c to [-bound, bound], on both sides." for edit in ("from above only", "from below only", "bounds exchanged")},
    ("values", "projected by W_a"): "Sum the source itself, weighted by the attention: W_a belongs to the scores alone.",
    ("logit", "log-softmax of it"): "Return the logits themselves.", ("logit", "softmax of it"): "Return the logits themselves.",
    ("b_tilde", "added after the activation"): "Add b_tilde inside tanh: y = tanh(W_tilde [context; h] + b_tilde).",
    ("mask", "added"): "Set the scores of padding to minus infinity before the softmax.", ("mask", "from the end"): "Mask what stands past the end of each source.",
    ("lengths", "from the end"): "Run each sequence over its first timesteps: padding stands behind.",
    ("h", "m"): "Multiply o tanh(c) by P, also where the sizes are equal.",
    ("mask", "zero vectors"): "Set the scores of padding to minus infinity before the softmax.",
    **{("softmax", f"{name} in its place"): "Take the softmax of the scores, over the timesteps of the source." for name in CURVES},
    **{("mask", edit): "Set the scores of padding to minus infinity before the softmax." for edit in ("not", "zero score", "after")},
    **{("p", f"read as {''.join(order)}"): "Read the peepholes in the order in which they are stored." for order in permutations("ifo")},
}  # fmt: skip
# By the first word of an edit with a number or a curve, and by the site, where the edit has no fix of its own.
FIXES_OF_NUMBERS = {
    "times": "Remove the factor.",
    "plus": "Remove what is added.",
    "minus": "Remove what is subtracted.",
}
FIXES_BACK = {
    "passed on": "Multiply the state by 0 where a sequence starts anew, or stop its gradient there.",
    "plus dc": "Add dc to what comes back to the last c only.",
    "of the state that is kept": "Mask the given gradient of h past the end of each sequence.",
    **dict.fromkeys(OF_SUMS, "Sum the gradient of a weight over all timesteps that use it."),
    "of errors without slopes": "Multiply each gate's error by the slope of its activation before it goes back through a kernel.",
    "of errors in the order of the way back": "Match the errors of each timestep with the inputs of the same timestep.",
    "without what comes from the next step": "Use the whole gradient of h: the given dh and what comes back from the next step.",
}
MORE_ACTIVATIONS = "Leave that activation out."
ONE_CLIP = "Clip the new c only."
_PEEPHOLES = "Compute the peepholes as the case has them, before the sigmoids: those of i and f see the old c, that of o the new c."
_ARGUMENTS = "Compute the pre-activations of i, f, g and o as W x + R h + b, each with its own block."
_ADDITIVE = "Compute additive scores as v_a . tanh(W_q h + W_k enc)."
FIXES_OF_SITES: dict[str, str] = {
    "peep": _PEEPHOLES, "term": _PEEPHOLES, "p": _PEEPHOLES, "z": _ARGUMENTS, "Wx": _ARGUMENTS, "Rh": _ARGUMENTS,
    "h_n": "Return the h that the last valid step leaves as the final h.", "c_n": "Return the c that the last valid step leaves as the final c.",
    "query": "Ask the attention with the new h; with the h before the step where the context goes into the cell.",
    "W_q": _ADDITIVE, "W_k": _ADDITIVE, "bare scores": _ADDITIVE, "hidden": _ADDITIVE, "curve of scores": _ADDITIVE, "equation of scores": _ADDITIVE, "join": "Join the context and the new h of the same step for W_tilde.",
    "cell": "Have the cell take in [context; y], with the context of the same step.", "y0": "Start from the y0 that is given.", "y.fed": "Feed the y of each step into the next step.",
    "enc": "Take the source as it is given, (S, B, E): exchange its axes with a transposition, never with a reshape.", "keys and values": "Use enc as it is given, as keys and as values.",
    "what is returned": "Put the sequences back into the order of the batch before they are returned.",
    "the step": "Run every timestep, the first and the last too.",
    "output of the network": "Return the output of the top layer alone.", "h.up and h.out": "Hand on and return the output of the layer alone.",
    "lengths": "Give each sequence its own length, in the order of the batch.",
}  # fmt: skip
