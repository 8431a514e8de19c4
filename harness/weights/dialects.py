"""The dialects of the frameworks, by name. What a dialect shares with its relative is not told again."""

from __future__ import annotations

from msgspec.structs import replace

from lockstep.harness.weights.dialect import Dialect

CANONICAL = Dialect(
    name="canonical",
    title="Lockstep",
    source="harness/cases/problem.py",
    input_kernel=("W",),
    recurrent_kernel=("R",),
    bias=("b",),
    projection="P",
    peepholes=("p",),
    beyond=(("P", "a projection"), ("p", "peepholes"), ("clip", "clipping")),
    after_end="zero",
)

_TORCH_CELL = Dialect(
    name="torch_cell",
    title="PyTorch nn.LSTMCell",
    source="PyTorch 2.13, torch/nn/modules/rnn.py, LSTMCell",
    input_kernel=("weight_ih",),
    recurrent_kernel=("weight_hh",),
    bias=("bias_ih", "bias_hh"),
    biases="two",
    bias_optional=True,
    batch_major=False,  # one timestep a call: the caller loops
)

_FURTHER = (("*_l[1-9]*", "a further layer"), ("*_l0_reverse", "the backward direction"))

_TORCH = replace(
    _TORCH_CELL,
    name="torch",
    title="PyTorch nn.LSTM and cuDNN",
    source="PyTorch 2.13, torch/nn/modules/rnn.py, LSTM; torch/nn/utils/rnn.py, pad_packed_sequence",
    input_kernel=("weight_ih_l0",),
    recurrent_kernel=("weight_hh_l0",),
    bias=("bias_ih_l0", "bias_hh_l0"),
    projection="weight_hr_l0",
    beyond=(*_FURTHER, ("weight_hr_l0", "a projection")),
    after_end="zero",
)

_FLAX = Dialect(
    name="flax",
    title="Flax linen LSTMCell and OptimizedLSTMCell",
    source="Flax 0.12.8, flax/linen/recurrent.py, LSTMCell, OptimizedLSTMCell, RNN",
    input_kernel=("ii.kernel", "if.kernel", "ig.kernel", "io.kernel"),
    recurrent_kernel=("hi.kernel", "hf.kernel", "hg.kernel", "ho.kernel"),
    transposed=True,
    bias=("hi.bias", "hf.bias", "hg.bias", "ho.bias"),
    biases="recurrent",
    batch_major=True,
    state="c, h",
    after_end="compute",  # seq_lengths choose the final carry; outputs go on
)

_HAIKU = Dialect(
    name="haiku",
    title="Haiku LSTM",
    source="dm-haiku 0.0.17, haiku/_src/recurrent.py, LSTM, dynamic_unroll",
    gates="igfo",
    input_kernel=("w",),
    transposed=True,
    bias=("b",),
    forget_bias=1.0,
)

_TF_BLOCK = replace(
    _HAIKU,
    name="tf_block",
    title="TensorFlow raw ops LSTMBlockCell and BlockLSTM",
    source="TensorFlow 2.21, core/kernels/rnn/lstm_ops.h, gate layout ICFO; tf.raw_ops.BlockLSTM",
    peepholes=("wci", "wcf", "wco"),
    beyond=(("wc?", "peepholes"),),
    state="c, h",
    after_end="compute",  # all sequences end at seq_len_max
)

_BURN = ("input", "forget", "cell", "output")  # its gates i, f, g, o

# In the order in which messages list them, and in which the first of several that fit equally well is guessed.
_IN_ORDER = (
    CANONICAL,
    Dialect(
        name="tf1",
        title="TensorFlow 1 BasicLSTMCell and LSTMCell",
        source="tf_keras 2.21, src/layers/rnn/legacy_cells.py; TensorFlow 2.21, python/ops/rnn.py, dynamic_rnn",
        gates="igfo",
        input_kernel=("kernel",),
        transposed=True,
        bias=("bias",),
        forget_bias=1.0,
        projection="projection/kernel",
        peepholes=("w_i_diag", "w_f_diag", "w_o_diag"),
        beyond=(("w_?_diag", "peepholes"), ("projection/*", "a projection")),
        batch_major=True,  # of dynamic_rnn; static_rnn takes a list of timesteps
        state="c, h",
        after_end="zero",
    ),
    Dialect(
        name="keras",
        title="Keras 3 and tf_keras LSTM",
        source="Keras 3.15.1, src/layers/rnn/lstm.py and rnn.py; tf_keras 2.21, src/layers/rnn/lstm.py",
        input_kernel=("kernel",),
        recurrent_kernel=("recurrent_kernel",),
        transposed=True,
        bias=("bias",),  # its forget part starts at 1 (unit_forget_bias): stored, not added at run time
        bias_optional=True,
        batch_major=True,
        after_end="repeat",  # unless zero_output_for_mask
    ),
    _TORCH,
    _TORCH_CELL,
    Dialect(
        name="onnx",
        title="ONNX LSTM",
        source="onnx 1.23.2, onnx/defs/rnn/defs.cc, LSTM-22; onnx/reference/ops/op_lstm.py",
        gates="iofg",
        input_kernel=("W",),
        recurrent_kernel=("R",),
        directions_axis=True,
        bias=("B",),
        biases="two",
        bias_optional=True,
        peepholes=("P",),  # (directions, 3H)
        peephole_gates="iof",
        beyond=(("P", "peepholes"),),
        batch_major=False,  # layout = 0
        after_end="zero",  # seen in onnxruntime 1.32; the standard does not say
    ),
    _FLAX,
    replace(
        _FLAX,
        name="nnx",
        title="Flax nnx LSTMCell",
        source="Flax 0.12.8, flax/nnx/nn/recurrent.py, LSTMCell, RNN",
        input_kernel=("ii.kernel", "if_.kernel", "ig.kernel", "io.kernel"),
    ),
    replace(
        _FLAX,
        name="nnx_optimized",
        title="Flax nnx OptimizedLSTMCell",
        source="Flax 0.12.8, flax/nnx/nn/recurrent.py, OptimizedLSTMCell, RNN",
        input_kernel=("dense_i.kernel",),
        recurrent_kernel=("dense_h.kernel",),
        bias=("dense_h.bias",),
    ),
    replace(
        _TORCH_CELL,
        name="equinox",
        title="Equinox LSTMCell",
        source="Equinox 0.13.8, equinox/nn/_rnn.py, LSTMCell",
        bias=("bias",),
        biases="one",
        batch_major=False,  # one timestep of one sequence a call: scan and vmap
    ),
    _HAIKU,
    _TF_BLOCK,
    replace(
        _TF_BLOCK,
        name="tf_block_v2",
        title="TensorFlow raw op BlockLSTMV2",
        source="TensorFlow 2.21, core/kernels/rnn/lstm_ops.h, gate layout IFCO; tf.raw_ops.BlockLSTMV2",
        gates="ifgo",
        forget_bias=0.0,
    ),
    # A projection's kernel is weight_ho (H, P), transposed where the others are not: backends.paddle_lstm stores it.
    replace(
        _TORCH,
        name="paddle",
        title="PaddlePaddle nn.LSTM",
        source="PaddlePaddle 3.3.1, python/paddle/nn/layer/rnn.py, LSTM, LSTMCell",
        projection="",
        beyond=_FURTHER,
        batch_major=True,
    ),
    Dialect(
        name="mlx",
        title="MLX nn.LSTM",
        source="MLX 0.32.4, mlx/nn/layers/recurrent.py, LSTM",
        input_kernel=("Wx",),
        recurrent_kernel=("Wh",),
        bias=("bias",),
        bias_optional=True,
        batch_major=True,
    ),
    # A module is one layer and, by its config, one direction: its names end in the number of that layer.
    replace(
        _TORCH,
        name="candle",
        title="candle candle_nn::rnn::LSTM",
        source="candle, candle-nn/src/rnn.rs, lstm, LSTM::step; commit 8e87733",
        projection="",
        beyond=_FURTHER,
        batch_major=True,
        after_end="compute",
    ),
    Dialect(
        name="burn",
        title="burn nn::Lstm",
        source="burn, crates/burn-nn/src/modules/rnn/lstm.rs, Lstm, BiLstm, gate_controller.rs; commit e32796c",
        input_kernel=tuple(f"{gate}_gate.input_transform.weight" for gate in _BURN),
        recurrent_kernel=tuple(f"{gate}_gate.hidden_transform.weight" for gate in _BURN),
        transposed=True,  # nn::Linear keeps (in, out)
        bias=tuple(f"{gate}_gate.{side}_transform.bias" for side in ("input", "hidden") for gate in _BURN),
        biases="two",
        bias_optional=True,
        batch_major=True,
        state="c, h",
        after_end="compute",
    ),
)

DIALECTS = {dialect.name: dialect for dialect in _IN_ORDER}

# Of an object that has two biases, and names of its own.
UNNAMED_TWO_BIASES = "two biases"

# Layouts that store b as two biases, which a port may add wrongly.
TWO_BIASES = frozenset({"torch", "onnx", UNNAMED_TWO_BIASES})
