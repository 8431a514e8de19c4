"""The graphs of Lockstep's own TF1 backends, for 1, 3 and 8 timesteps."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from decoder_cases import make_decoder
from lstm_cases import make_case

from lockstep.backends import (
    tf1_attention,
    tf1_graph,
    tf_attention_cell,
    tf_attention_reuse,
    tf_dynamic_rnn,
    tf_loop,
    tf_static_rnn,
    torch_attention,
    torch_lstm,
)


def graph(backend, **settings):
    return tf1_graph._graph(backend._unroll, tf1_graph.shape_of(make_case(**settings))).session.graph


NETWORKS = {
    "plain": {},
    "network": {"num_layers": 2, "direction": "bidirectional"},
    "gradients": {"num_layers": 2, "direction": "bidirectional", "gradients": True},
}
for T in (1, 3, 8):
    for name, network in NETWORKS.items():
        for backend in (tf_loop, tf_static_rnn, tf_dynamic_rnn):
            short = backend.__name__.removeprefix("lockstep.backends.")
            globals()[f"{short}_{name}_{T}"] = partial(graph, backend, timesteps=T, **network)


def decoder_graph(backend, **settings):
    case = make_decoder(score="general", source_size=4, **settings)
    return tf1_attention._graph(backend._parts, tf1_attention._shape_of(case)).session.graph


for T in (1, 3, 8):
    for backend in (tf_attention_reuse, tf_attention_cell):
        short = backend.__name__.removeprefix("lockstep.backends.")
        globals()[f"{short}_{T}"] = partial(decoder_graph, backend, timesteps=T)
decoder = make_decoder(score="general", source_size=4)
torch_attention_decoder = partial(torch_attention._decoder, decoder.lstm, decoder.attention_decoder, "float32")

for name, network in NETWORKS.items():
    globals()[f"torch_lstm_{name}"] = partial(torch_lstm._lstm, make_case(**network).lstm, "float32")
