# ruff: noqa: E501 (a table)
"""The planted slips: name -> (kind, settings of the case, what is done otherwise, words that a right name holds).

A name is right if it holds, for one of the alternatives, all of its words.
"""

from __future__ import annotations

import numpy as np
from slipping_ports import per_gate, reorder, sig

BI = {"direction": "bidirectional"}
BI_LEN = {"direction": "bidirectional", "lengths": (5, 3, 2)}
STACK = {"num_layers": 2}
BOTH = {"num_layers": 2, "direction": "bidirectional"}
CELL = {"peephole": True, "cell_clip": 0.3, "proj_size": 2}
PEEP = {"peephole": True}
PROJ = {"proj_size": 3}
CLIP = {"cell_clip": 0.2}


def at(*lanes):
    return lambda layer, d: (layer, d) in lanes


UP, LOW, REV, FWD = at((1, 0), (1, 1)), at((0, 0), (0, 1)), lambda layer, d: d == 1, lambda layer, d: d == 0

NETWORKS = {
    "bi: gates of reverse igfo": ("bidirectional", BI, {"w": {(0, 1): dict.fromkeys(("W", "R", "b"), lambda a: reorder(a, "igfo"))}}, [("WRb", "igfo", "0r")]),
    "bi: R of reverse transposed": ("bidirectional", BI, {"w": {(0, 1): {"R": lambda a: per_gate(a, np.transpose)}}}, [("R", "transposed", "0r")]),
    "bi: b of forward left out": ("bidirectional", BI, {"w": {(0, 0): {"b": lambda a: 0 * a}}}, [("b", "zero", "0")]),
    "bi: reverse late": ("bidirectional", BI, {"late": True, "at": REV}, [("x", "previous", "0r"), ("x", "late", "0r")]),
    "bi: reverse resets c": ("bidirectional", BI, {"reset_c": True, "at": REV}, [("c", "initial", "0r"), ("c", "reset", "0r")]),
    "bi: forward f keeps h": ("bidirectional", BI, {"f_keeps_h": True, "at": FWD}, [("keep.c", "h", "0")]),
    "bi: reverse not turned back": ("bidirectional", BI_LEN, {"not_back": True}, [("turn out",)]),
    "bi: reverse forward": ("bidirectional", BI, {"forward": True}, [("turn", "not")]),
    "bi: reverse whole": ("bidirectional", BI_LEN, {"whole": True}, [("turn",)]),
    "bi: starts exchanged between directions": ("bidirectional", BI, {"start": lambda h, c: (h[::-1], c[::-1])}, [("h0", "revers"), ("h0", "exchang")]),
    "bi: reverse starts from zero": ("bidirectional", BI, {"start": lambda h, c: (h * [[[1]], [[0]]], c * [[[1]], [[0]]])}, [("0", "zero", "0r")]),
    "bi: reverse with weights of forward": ("bidirectional", BI, {"weights_of": lambda layer, d: (layer, 0)}, [("lane",), ("forward",)]),
    "bi: finals reversed": ("bidirectional", BI, {"finals": [1, 0]}, [("final", "revers"), ("final", "exchang")]),
    "bi: outputs added": ("bidirectional", BI, {"join": (lambda outs: [outs[1], outs[0]], True)}, [("join", "exchang")]),
    "bi: reverse tanh(c) left out": ("bidirectional", BI, {"no_cell_act": True, "at": REV}, [("out.u", "c", "0r"), ("u", "linear", "0r")]),
    "stack: upper gates iofg": ("stacked", STACK, {"w": {(1, 0): dict.fromkeys(("W", "R", "b"), lambda a: reorder(a, "iofg"))}}, [("WRb", "iofg", "1")]),
    "stack: lower R transposed": ("stacked", STACK, {"w": {(0, 0): {"R": lambda a: per_gate(a, np.transpose)}}}, [("R", "transposed", "0")]),
    "stack: upper b twice": ("stacked", STACK, {"w": {(1, 0): {"b": lambda a: 2 * a}}}, [("b", "times 2", "1")]),
    "stack: upper f keeps h": ("stacked", STACK, {"f_keeps_h": True, "at": UP}, [("keep.c", "h", "1")]),
    "stack: lower tanh of old c": ("stacked", STACK, {"old_c": True, "at": LOW}, [("tanh.c", "c", "0")]),
    "stack: upper starts of lower": ("stacked", STACK, {"start": lambda h, c: (h[[0, 0]], c[[0, 0]])}, [("h0", "first"), ("0", "lane")]),
    "stack: upper hard sigmoid": ("stacked", STACK, {"gate": lambda z: np.clip(0.2 * z + 0.5, 0, 1), "at": UP}, [("hard_sigmoid_0.2", "1")]),
    "stack: relu between": ("stacked", STACK, {"between": lambda a: np.maximum(a, 0)}, [("between", "relu"), ("h.up", "relu")]),
    "stack: upper reads reversed batch": ("stacked", STACK, {"between": lambda a: a[:, ::-1]}, [("between", "flip")]),
    "stack: layers exchanged finals": ("stacked", STACK, {"finals": [1, 0]}, [("final", "revers"), ("final", "exchang")]),
    "stack: bias of upper kernel from lower": ("stacked", {"num_layers": 2, "input_size": 4}, {"weights_of": lambda layer, d: (0, d)}, [("lane",), ("lower",)]),
    "both: upper takes [reverse; forward]": ("stacked", BOTH, {"join": (lambda outs: outs[::-1], False)}, [("join", "exchang"), ("between", "halves")]),
    "both: upper reverse R rows i f": ("stacked", BOTH, {"w": {(1, 1): {"R": lambda a: reorder(a, "figo")}}}, [("R", "figo", "1r")]),
    "both: finals by direction": ("stacked", BOTH, {"finals": [0, 2, 1, 3]}, [("final", "direction")]),
    "peep: o sees old c": ("cell", PEEP, {"peep": ("c", "c", "c")}, [("peep.o", "c")]),
    "peep: i sees h": ("cell", PEEP, {"peep": ("h", "c", "new")}, [("peep.i", "h")]),
    "peep: rows iof": ("cell", PEEP, {"w": {"all": {"p": lambda a: a[[0, 2, 1]]}}}, [("p", "iof")]),
    "peep: o not": ("cell", PEEP, {"peep": ("c", "c", "none")}, [("peep.o", "zero"), ("p", "zero"), ("term.o", "zero")]),
    "cell: o sees unclipped": ("cell", CELL, {"peep": ("c", "c", "raw")}, [("peep.o", "raw")]),
    "clip: not": ("cell", CLIP, {"noclip": True}, [("clip", "none"), ("clip", "left out")]),
    "clip: output of unclipped": ("cell", CLIP, {"raw_out": True}, [("tanh.c", "raw")]),
    "clip: twice the bound": ("cell", CLIP, {"bound": 2.0}, [("clip", "2")]),
    "proj: transposed halves": ("cell", PROJ, {"w": {"all": {"P": lambda a: a[::-1]}}}, [("P", "flip")]),
    "proj: tanh after": ("cell", PROJ, {"tanh_p": True}, [("h", "tanh")]),
    "proj: gates of W only": ("cell", PROJ, {"w": {"all": {"W": lambda a: reorder(a, "igfo")}}}, [("W", "igfo")]),
    "proj: i minus": ("cell", PROJ, {"i_minus": True}, [("add", "-1")]),
    "reverse: h not carried": ("network", {"direction": "reverse"}, {"zero_h": True}, [("h", "zero")]),
    "reverse: lengths one more": ("network", {"direction": "reverse", "lengths": (5, 3, 2)}, {"lengths": lambda n, T: np.minimum(n + 1, T)}, [("lengths",)]),
    "network: coupled to o": ("network", STACK, {"f_is_1_minus_o": True}, [("f", "1 - o"), ("f", "o")]),
    "network: uncoupled": ("network", {"input_forget": True, "forget_bias": 0.0, "direction": "reverse"}, {"uncoupled": True}, [("coupl",)]),
    "network: g by f": ("network", STACK, {"g_by_f": True}, [("add.i", "f")]),
    "network: o times g": ("network", STACK, {"g_out": True}, [("out.u", "g")]),
    "network: c carried clipped": ("network", {"direction": "reverse"}, {"clip_carried_only": True}, [("c.carry", "clip")]),
}  # fmt: skip

GRADIENTS = {
    "no dh_next": [("h", "detach"), ("h", "zero")],
    "no dc_next": [("c", "detach"), ("c", "zero")],
    "no tanh slope": [("slope", "u")],
    "slope of c": [("slope", "u")],
    "do uses c": [("out.u", "c", "saved")],
    "df uses new c": [("keep.c", "saved")],
    "dg uses f": [("add.i", "f", "saved")],
    "g slope sigmoid": [("slope", "g", "sigmoid")],
    "no i slope": [("slope", "i")],
    "no g slope": [("slope", "g")],
    "o slope tanh": [("slope", "o", "tanh")],
    "dR uses new h": [("h", "saved")],
    "db last": [("b", "last")],
    "db mean": [("db", "B"), ("db", "mean")],
    "dh_next halves": [("h", "half"), ("h", "1/2"), ("h", "0.5")],
    "dc_next by i": [("keep.f", "i", "saved")],
    "clip dz": [("h", "clip")],
    "dc_n lost": [("dc", "zero"), ("c_n", "zero")],
    "dx reversed": [("dx", "revers"), ("dx", "flip")],
    "dW mean": [("dW", "B"), ("dW", "mean")],
    "dW swapped": [("dW", "igfo")],
    "all over T": [("1/T",), ("mean", "timesteps")],
    "dh0 zero": [("dh0", "zero")],
    "dR transposed": [("dR", "transposed")],
    "no dh to dc": [("tanh.c", "zero"), ("u", "zero"), ("tanh.c", "detach")],
}

DECODERS = {
    "f keeps h": ({}, {"f_keeps_h": True}, [("keep.c", "h")]),
    "tanh(c) left out": ({}, {"no_tanh": True}, [("u", "c"), ("u", "linear")]),
    "tanh of old c": ({}, {"old_c": True}, [("tanh.c", "c")]),
    "query c": ({}, {"query": "c"}, [("query", "c")]),
    "query old h": ({}, {"query": "old h"}, [("query", "h")]),
    "query tanh c": ({}, {"query": "tanh c"}, [("query", "u")]),
    "scores halved": ({}, {"scale": 0.5}, [("scores", "1/2"), ("scores", "0.5"), ("scores", "sqrt")]),
    "scores through tanh": ({}, {"tanh_scores": True}, [("scores", "tanh")]),
    "masked by zero": ({"lengths": (5, 2, 3)}, {"fill": 0.0}, [("mask", "zero")]),
    "sigmoid weights": ({}, {"sigmoid_weights": True}, [("attention", "sigmoid"), ("softmax", "sigmoid")]),
    "weights reversed": ({}, {"weights_reversed": True}, [("attention", "flip"), ("attention", "revers")]),
    "context of the step before": ({}, {"old_context": True}, [("context", "previous")]),
    "joined with old h": ({}, {"joined": "old h"}, [("join.h", "h")]),
    "joined with c": ({}, {"joined": "c"}, [("join.h", "c")]),
    "exchanged": ({}, {"exchanged": True}, [("join", "exchang")]),
    "target of bare": ({}, {"target": "bare"}, [("target", "bare")]),
    "sigmoid at the end": ({}, {"act": sig}, [("y", "sigmoid")]),
    "fed back bare": ({}, {"feedback": lambda y, y0, bare: bare}, [("y", "bare")]),
    "fed back y0": ({}, {"feedback": lambda y, y0, bare: y0}, [("y", "initial"), ("y", "first")]),
    "h reset": ({}, {"reset_h": True}, [("h", "initial")]),
    "gates igfo": ({}, {"w": dict.fromkeys(("W", "R", "b"), lambda a: reorder(a, "igfo"))}, [("WRb", "igfo")]),
    "R transposed": ({}, {"w": {"R": lambda a: per_gate(a, np.transpose)}}, [("R", "transposed")]),
    "W_tilde flipped": ({}, {"w": {"W_tilde": lambda a: a[:, ::-1]}}, [("W_tilde", "flip")]),
    "b_tilde left out": ({}, {"w": {"b_tilde": lambda a: 0 * a}}, [("b_tilde", "zero")]),
    "lengths one less": ({"lengths": (5, 2, 3)}, {"lengths": lambda n, S: np.maximum(n - 1, 1)}, [("lengths", "less")]),
    "W_a transposed": ({"score": "general", "source_size": 4}, {"w": {"W_a": np.transpose}}, [("W_a", "transposed")]),
    "first input zero": ({}, {"fed": lambda y, t: y * (t > 0)}, [("y", "zero", "first"), ("y0", "zero")]),
}
