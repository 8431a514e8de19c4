"""Attention decoders, as reported: tutorials on translation, toolkits, ports of one into another."""

from __future__ import annotations

import numpy as np
from register import held_out


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(a, axis=-1):
    e = np.exp(a - a.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def lstm_cell(y, h, c, weights):
    """The cell, right in itself."""
    i, f, g, o = np.split(y @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def attentional(context, h, weights):
    """h_tilde, right in itself."""
    return np.tanh(np.concatenate([context, h], axis=1) @ weights["W_tilde"].T + weights["b_tilde"])


@held_out(
    "decoder",
    "The softmax runs over all scores of the batch at once: the shares of one sequence do not sum to 1.",
    [r"softmax", r"share", r"attention", r"normali"],
    [r"batch", r"ax(i|e)s", r"sequences", r"\ball\b", r"joint", r"dim"],
    source="F.softmax(alignment_scores.view(1, -1), dim=1), right for one (Attention_Seq2seq-Translation issue 3)",
)
def softmax_of_a_flat_view(enc, weights, h0, c0, y0, steps):
    """A tutorial's decoder for a batch of one, used for more: the view joins the scores of all sequences."""
    context_of = np.swapaxes(enc, 0, 1)
    h, c, y = h0, c0, y0
    logits, outs = [], []
    for _ in range(steps):
        h, c = lstm_cell(y, h, c, weights)
        alignment_scores = np.matmul(h[:, None, :], np.swapaxes(context_of, 1, 2))[:, 0]
        attn_weights = softmax(alignment_scores.reshape(1, -1), axis=1).reshape(alignment_scores.shape)
        mix = np.matmul(attn_weights[:, None, :], context_of)[:, 0]
        y = attentional(mix, h, weights)
        outs.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.stack(logits), np.stack(outs)


@held_out(
    "decoder",
    "Padded source timesteps are attended to: scores are not masked by the lengths.",
    [r"length", r"padd", r"mask", r"past"],
    [r"attend", r"attention", r"scores", r"source", r"softmax", r"not used", r"ignor", r"take part", r"not masked"],
    source="tensorflow issues 512 and 43941: the attention of seq2seq.py, and of a tutorial, has no masking op",
    cases="decoder lengths",
)
def no_masking_op(enc, weights, h0, c0, y0, steps, lengths=None):
    """Reported of two tutorials on translation: empty parts of the source get attention."""
    assert lengths is None or len(lengths) == enc.shape[1]

    def attention(query):
        s = np.sum(enc * query, axis=2)
        a = softmax(s, axis=0)
        return np.sum(a[:, :, None] * enc, axis=0)

    state, inp, rows = (h0, c0), y0, []
    for _ in range(steps):
        state = lstm_cell(inp, *state, weights)
        inp = attentional(attention(state[0]), state[0], weights)
        rows.append((inp @ weights["W_target"].T, inp))
    logits, h_tilde = zip(*rows, strict=True)
    return np.stack(logits), np.stack(h_tilde)


@held_out(
    "decoder",
    "Scores of padded source timesteps are set to 0 and not to minus infinity: the pads keep a share.",
    [r"mask", r"padd", r"length", r"past"],
    [r"\b0\b", r"zero", r"inf", r"share", r"softmax", r"attend", r"part"],
    source="tf-rnn-attention issue 11: the softmax takes the zero scores of padded tokens into account",
    cases="decoder lengths",
)
def padded_scores_are_zero(enc, weights, h0, c0, y0, steps, lengths=None):
    """Asked of an attention layer: multiplying by the mask makes scores 0, of which exp gives 1."""
    S, B, _ = enc.shape
    mask = np.ones((B, S), enc.dtype)
    if lengths is not None:
        for n in range(B):
            mask[n, lengths[n] :] = 0
    encoder_states = np.where(mask.T[..., None] > 0, enc, 0).transpose(1, 0, 2)

    h, c, y, logits, hs = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = lstm_cell(y, h, c, weights)
        e = np.einsum("bse,be->bs", encoder_states, h)
        attn_dist = softmax(np.where(mask > 0, e, 0.0))
        context_vector = np.einsum("bs,bse->be", attn_dist, encoder_states)
        y = attentional(context_vector, h, weights)
        hs.append(y)
        logits.append(y @ weights["W_target"].T)
    return np.array(logits), np.array(hs)


@held_out(
    "decoder",
    "The query is the cell state: of the pair of states the wrong one is taken.",
    [r"query", r"attention", r"attend", r"score"],
    [r"cell", r"\bc\b"],
    source="GeoMAN issue 2, rnn-classifier issue 3, farizrahman4u/seq2seq issue 158: attention of the cell state",
)
def queries_with_the_cell_state(enc, weights, h0, c0, y0, steps):
    """TensorFlow's tuple is (c, h), PyTorch's is (h, c): the first or the second element is the query."""
    T, B, A = steps, y0.shape[0], y0.shape[1]
    h_tilde = np.empty((T, B, A), y0.dtype)
    logits = np.empty((T, B, len(weights["W_target"])), y0.dtype)
    hidden, y = (h0, c0), y0
    for t in range(T):
        hidden = lstm_cell(y, *hidden, weights)
        query = hidden[1]
        energies = np.einsum("sbe,be->bs", enc, query)
        context = np.einsum("bs,sbe->be", softmax(energies), enc)
        y = h_tilde[t] = attentional(context, hidden[0], weights)
        logits[t] = np.dot(y, weights["W_target"].T)
    return logits, h_tilde


@held_out(
    "decoder",
    "What is fed back is the hidden state h, and should be h_tilde.",
    [r"\bfed\b", r"feed", r"input", r"next"],
    [r"\bh\b", r"hidden", r"state"],
    source="NVIDIA/tacotron2 issue 78 (decoder_hidden goes into the attention RNN), and a comment in dynet issue 189",
    cases="decoder alike",
)
def decoder_hidden_is_fed(enc, weights, h0, c0, y0, steps):
    """Asked of a speech model: the cell's input holds the decoder's hidden state, where the paper has the output."""

    def decoder(rnn_input, last_hidden):
        h, c = lstm_cell(rnn_input, *last_hidden, weights)
        attn_weights = softmax((enc * h[None]).sum(-1), axis=0)
        context = (attn_weights[..., None] * enc).sum(0)
        output = attentional(context, h, weights)
        return output, (h, c)

    hidden, cell_input, outputs = (h0, c0), y0, []
    for _ in range(steps):
        output, hidden = decoder(cell_input, hidden)
        cell_input = hidden[0]
        outputs.append(output)
    h_tilde = np.stack(outputs)
    return h_tilde @ weights["W_target"].T, h_tilde


@held_out(
    "decoder",
    "The cell state is not carried: each step has the initial c0.",
    [r"\bc\b", r"cell state", r"c0"],
    [r"initial", r"not carried", r"same", r"c0", r"start", r"not (kept|updated|passed)"],
    source="pytorch/examples issue 88 (the decoder's state is not updated), here of one half of the pair",
)
def only_h_is_passed_on(enc, weights, h0, c0, y0, steps):
    """A decoder written for GRUs and changed to LSTMs: the state that it passes on is one array."""
    decoder_hidden, inp = h0, y0
    output, scores = [], []
    encoder_cell = c0
    for _ in range(steps):
        decoder_hidden, _cell = lstm_cell(inp, decoder_hidden, encoder_cell, weights)
        attn = softmax(np.einsum("sbh,bh->bs", enc, decoder_hidden))
        weighted_context = np.einsum("bs,sbh->bh", attn, enc)
        inp = attentional(weighted_context, decoder_hidden, weights)
        output.append(inp)
        scores.append(inp @ weights["W_target"].T)
    return np.stack(scores), np.stack(output)


@held_out(
    "decoder",
    "The general score's W_a is transposed: it is square, so nothing complains.",
    [r"W_a"],
    [r"transpos"],
    source="enc W_a h and h W_a enc in decoders that take over weights of a Linear layer; a common slip",
    cases="decoder general square",
)
def w_a_from_the_other_side(enc, weights, h0, c0, y0, steps):
    """A bilinear score: with equal widths the matrix fits from either side."""

    def score(h_t, h_s):
        h_t_ = h_t @ weights["W_a"]
        return np.matmul(h_t_[:, None], h_s.transpose(1, 2, 0))[:, 0]

    h, c, y, logit_list, h_list = h0, c0, y0, [], []
    for _ in range(steps):
        h, c = lstm_cell(y, h, c, weights)
        align = softmax(score(h, enc))
        ctx = np.matmul(align[:, None], enc.transpose(1, 0, 2))[:, 0]
        y = attentional(ctx, h, weights)
        h_list.append(y)
        logit_list.append(y @ weights["W_target"].T)
    return np.stack(logit_list), np.stack(h_list)


@held_out(
    "decoder",
    "The bias of the layer that makes h_tilde is not added.",
    [r"b_tilde", r"bias"],
    [
        r"missing",
        r"not (added|used|loaded)",
        r"without",
        r"left out",
        r"lacks?",
        r"zero",
        r"\b0\b",
        r"ignor",
        r"no bias",
    ],
    source="linear_out of attention layers is made with bias=False in some toolkits and with a bias in others",
)
def linear_out_without_bias(enc, weights, h0, c0, y0, steps):
    """A toolkit's attention layer has no bias there, and weights of another model have one."""

    class GlobalAttention:
        def __init__(self, linear_out):
            self.linear_out = linear_out

        def forward(self, source, memory_bank):
            align_vectors = softmax(np.squeeze(memory_bank @ source[:, :, None], -1), axis=1)
            c = np.squeeze(align_vectors[:, None] @ memory_bank, 1)
            concat_c = np.concatenate([c, source], 1)
            return np.tanh(concat_c @ self.linear_out["weight"].T + self.linear_out.get("bias", 0))

    attn = GlobalAttention({"weight": weights["W_tilde"]})
    step_output, hidden, h_tilde = y0, (h0, c0), []
    for _ in range(steps):
        hidden = lstm_cell(step_output, *hidden, weights)
        step_output = attn.forward(hidden[0], np.swapaxes(enc, 0, 1))
        h_tilde.append(step_output)
    return np.stack([y @ weights["W_target"].T for y in h_tilde]), np.stack(h_tilde)


@held_out(
    "decoder",
    "The query is the encoder's last output at every step, and should be the decoder's state.",
    [r"query", r"score", r"attention", r"attend"],
    [r"last (source|encoder|output|timestep|enc)", r"encoder'?s?\b", r"enc\[", r"constant", r"same (query|at|in)"],
    source="deep-learning-v2-pytorch pull request 219: scores of the encoder's states in the place of the decoder's",
)
def query_of_the_encoder(enc, weights, h0, c0, y0, steps):
    """Mended in a course's notebook: the product should be of the decoder's hidden state and the annotations."""
    annotations = enc
    enc_hidden_state = enc[-1]

    def dot_attention_score(hidden_state):
        return np.einsum("bh,sbh->sb", hidden_state, annotations)

    dec_hidden_state, cell, dec_input = h0, c0, y0
    result = {"logits": [], "h_tilde": []}
    for _ in range(steps):
        dec_hidden_state, cell = lstm_cell(dec_input, dec_hidden_state, cell, weights)
        attention = softmax(dot_attention_score(enc_hidden_state), axis=0)
        context = np.einsum("sb,sbe->be", attention, annotations)
        dec_input = attentional(context, dec_hidden_state, weights)
        result["h_tilde"].append(dec_input)
        result["logits"].append(dec_input @ weights["W_target"].T)
    return np.stack(result["logits"]), np.stack(result["h_tilde"])


@held_out(
    "decoder",
    "Scores are divided by the root of their width, as in Transformers; this decoder's are not.",
    [r"scal", r"sqrt", r"root", r"divid", r"factor", r"temperature", r"multipl"],
    [r"score", r"attention", r"softmax", r"query", r"width"],
    source="attention layers taken over from Transformers (Luong's scale, Keras' use_scale); a common slip",
)
def scaled_dot_product(enc, weights, h0, c0, y0, steps):
    """A function for attention as it stands in every Transformer, put into an older decoder."""

    def attention(query, key, value):
        d_k = query.shape[-1]
        scores = query @ np.swapaxes(key, -2, -1) / np.sqrt(np.float32(d_k))
        p_attn = softmax(scores)
        return p_attn @ value, p_attn

    memory = enc.transpose(1, 0, 2)
    h, c, y = h0, c0, y0
    ys = []
    for _ in range(steps):
        h, c = lstm_cell(y, h, c, weights)
        context, _ = attention(h[:, None], memory, memory)
        y = attentional(context[:, 0], h, weights)
        ys.append(y)
    h_tilde = np.stack(ys)
    return np.einsum("tba,oa->tbo", h_tilde, weights["W_target"]), h_tilde


@held_out(
    "decoder",
    "Encoder outputs are reshaped to batch-major, and not transposed: sequences and timesteps are mixed.",
    [
        r"reshap",
        r"\bview",
        r"transpos",
        r"ax(i|e)s",
        r"mixed",
        r"layout",
        r"batch.major",
        r"batch.first",
        r"(S, B|B, S)",
    ],
    [r"enc", r"source", r"timestep", r"sequence", r"batch"],
    source="questions on keon/seq2seq issue 16 and on PyTorch's forum: view where transpose(0, 1) is meant before bmm",
)
def encoder_outputs_viewed(enc, weights, h0, c0, y0, steps):
    """bmm wants the batch first, and view gives the shape that it asks for."""
    S, B, E = enc.shape
    encoder_outputs = enc.reshape(B, S, E)
    h, c, y = h0, c0, y0
    decoded = []
    for _ in range(steps):
        h, c = lstm_cell(y, h, c, weights)
        attn_energies = np.einsum("bse,be->bs", encoder_outputs, h)
        context = np.matmul(softmax(attn_energies)[:, None, :], encoder_outputs)[:, 0, :]
        y = attentional(context, h, weights)
        decoded.append(y)
    return np.stack(decoded) @ weights["W_target"].T, np.stack(decoded)


@held_out(
    "decoder",
    "Nothing is fed back: every step is given y0 as its input.",
    [r"\bfed\b", r"feed", r"input"],
    [r"y0", r"first", r"same", r"initial", r"not (fed|carried|updated)", r"nothing", r"every step"],
    source="dynet issue 189: the attention example does not re-input the generated output to the decoder LSTM",
)
def output_not_reinput(enc, weights, h0, c0, y0, steps):
    """Reported of an official example, which goes on from its state and not from its output."""

    def attend(state):
        e = softmax(np.array([(column * state).sum(-1) for column in enc]), axis=0)
        return sum(share[:, None] * column for share, column in zip(e, enc, strict=True))

    s, last_output_embeddings = (h0, c0), y0
    out, tilde = [], []
    for _ in range(steps):
        s = lstm_cell(last_output_embeddings, *s, weights)
        out_vector = attentional(attend(s[0]), s[0], weights)
        tilde.append(out_vector)
        out.append(out_vector @ weights["W_target"].T)
    return np.stack(out), np.stack(tilde)


@held_out(
    "decoder",
    "The logits have gone through log_softmax.",
    [r"log.?softmax", r"softmax", r"normali", r"log.?prob", r"logsumexp"],
    [r"logit", r"output", r"target"],
    source="decoders that end in F.log_softmax, compared with logits (Attention_Seq2seq-Translation issue 3)",
    cases="decoder two outputs",
)
def log_probabilities_for_logits(enc, weights, h0, c0, y0, steps):
    """A decoder for NLLLoss returns log-probabilities, and a decoder for CrossEntropyLoss returns logits."""

    def log_softmax(a):
        a = a - a.max(axis=-1, keepdims=True)
        return a - np.log(np.exp(a).sum(axis=-1, keepdims=True))

    decoder_hidden, decoder_input = (h0, c0), y0
    decoder_outputs, fed = [], []
    for _ in range(steps):
        decoder_hidden = lstm_cell(decoder_input, *decoder_hidden, weights)
        attn = softmax(np.einsum("sbe,be->bs", enc, decoder_hidden[0]))
        decoder_input = attentional(np.einsum("bs,sbe->be", attn, enc), decoder_hidden[0], weights)
        fed.append(decoder_input)
        decoder_outputs.append(log_softmax(decoder_input @ weights["W_target"].T))
    return np.stack(decoder_outputs), np.stack(fed)


@held_out(
    "decoder",
    "The decoder starts from zeros: the given initial state is not used.",
    [r"initial", r"start", r"h0", r"c0", r"state"],
    [r"zero", r"\b0\b", r"not used", r"ignor", r"left out"],
    source="RNN-for-Joint-NLU issue 12: why the initial state is zero_state; clone(cell_state=...) mends it",
)
def attention_wrapper_zero_state(enc, weights, h0, c0, y0, steps):
    """Asked often of the AttentionWrapper: its zero_state has to be cloned with the encoder's final state."""

    class AttentionWrapper:
        def __init__(self, memory):
            self.memory = memory.transpose(1, 0, 2)

        def zero_state(self, batch_size):
            units = self.memory.shape[2]
            return {"h": np.zeros((batch_size, units), enc.dtype), "c": np.zeros((batch_size, units), enc.dtype)}

        def clone(self, state, **new):
            return {**state, **new}

        def call(self, inputs, state):
            h, c = lstm_cell(inputs, state["h"], state["c"], weights)
            alignments = softmax((self.memory @ h[:, :, None])[:, :, 0])
            context = (alignments[:, None] @ self.memory)[:, 0]
            return attentional(context, h, weights), {"h": h, "c": c}

    cell = AttentionWrapper(enc)
    state = cell.zero_state(len(h0))
    assert h0.shape == c0.shape
    attention, outputs = y0, []
    for _ in range(steps):
        attention, state = cell.call(attention, state)
        outputs.append(attention)
    rnn_output = np.stack(outputs)
    return rnn_output @ weights["W_target"].T, rnn_output
