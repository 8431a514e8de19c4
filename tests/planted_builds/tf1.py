import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1

TOP = tf.Variable(1.0, name="top")


def foo():
    with tf1.variable_scope("foo", reuse=tf1.AUTO_REUSE):
        for _ in range(3):
            tf.Variable(0.0, name="x")
            tf1.get_variable("y", shape=())


def two_cells():
    x = tf.ones((1, 4, 3))
    for _ in range(2):
        cell = tf1.nn.rnn_cell.LSTMCell(3, reuse=tf1.AUTO_REUSE)
        x, _ = tf1.nn.dynamic_rnn(cell, x, dtype=tf.float32)


def static(steps=5):
    cell = tf1.nn.rnn_cell.BasicLSTMCell(3)
    return tf1.nn.static_rnn(cell, [tf.ones((1, 3))] * steps, dtype=tf.float32)


def loop(steps=5):
    cell = tf1.nn.rnn_cell.LSTMCell(3)
    state = cell.zero_state(1, tf.float32)
    for _ in range(steps):
        h, state = cell(tf.ones((1, 3)), state)
    return h


def new_cell_each_step():
    state = tf1.nn.rnn_cell.LSTMStateTuple(tf.ones((1, 3)), tf.ones((1, 3)))
    for _ in range(3):
        cell = tf1.nn.rnn_cell.LSTMCell(3)
        h, state = cell(tf.ones((1, 3)), state)


def uniquified_scope():
    for _ in range(2):
        with tf1.variable_scope(None, default_name="dec"):
            tf1.get_variable("w", (3,)) + 1


def unnamed_dense():
    y = tf.ones((1, 3))
    for _ in range(2):
        y = tf1.layers.dense(y, 3)


def new_keras_layer_each_step():
    y = tf.ones((1, 3))
    for _ in range(2):
        y = tf.keras.layers.Dense(3)(y)


def layers_of_cells():
    cells = tf1.nn.rnn_cell.MultiRNNCell([tf1.nn.rnn_cell.LSTMCell(3) for _ in range(2)])
    tf1.nn.static_rnn(cells, [tf.ones((1, 3))] * 4, dtype=tf.float32)


def numbered_by_their_author():
    for k in (1, 2):
        tf1.get_variable(f"w_{k}", (3,))
        tf.Variable(tf.ones(3), name=f"v_{k}")
    for k in (0, 1):
        tf1.get_variable(f"u_{k}", (3,))


def dense_written_out():
    y = tf1.layers.dense(tf.ones((1, 3)), 3)
    y = tf1.layers.dense(y, 3)
    return tf1.layers.dense(y, 3)


def both_directions():
    cells = [tf1.nn.rnn_cell.LSTMCell(3) for _ in range(2)]
    tf1.nn.bidirectional_dynamic_rnn(*cells, tf.ones((1, 4, 3)), dtype=tf.float32)


def other_shapes():
    for size in (2, 3):
        tf.Variable(tf.ones(size), name="w")


def made():
    return tf.Variable(tf.ones(3), name="w")


def helper_called_twice():
    a = made()
    return a + made()


def trained():
    w = tf1.get_variable("w", (3, 3))
    y = tf.ones((1, 3))
    for _ in range(2):
        y = tf.tanh(tf.matmul(y, w))
    tf1.summary.histogram("w", w)
    train = tf1.train.AdamOptimizer().minimize(tf.reduce_sum(y))
    tf1.train.Saver()
    tf1.global_variables_initializer()
    return train


def branch():
    w = tf1.get_variable("w", (3, 3))
    x = tf.ones((1, 3))
    return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.matmul(x, w), lambda: x)


def inside_a_function():
    w = tf1.get_variable("w", (3, 3))

    @tf.function
    def step(x):
        return tf.matmul(x, w)

    y = tf.ones((1, 3))
    for _ in range(2):
        y = step(y)


def looked_up():
    w = tf1.get_variable("w", (3, 3))
    return tf.nn.embedding_lookup(w, [0, 1])


def two_reads_in_a_step():
    w = tf1.get_variable("w", (3, 3))
    a = b = tf.ones((1, 3))
    for _ in range(3):
        y = tf.matmul(a, w) + tf.matmul(b, w)
        a = tf.tanh(y)
        b = tf.sigmoid(y)


def one_line_loop():
    w = tf1.get_variable("w", (3, 3))
    y = tf.ones((1, 3))
    for _ in range(3):
        y = tf.matmul(y, w)


def shared_by_halves():
    for step in range(4):
        with tf1.variable_scope("a" if step < 2 else "a_1", reuse=tf1.AUTO_REUSE):
            w = tf1.get_variable("w", (3, 3))
            y = tf.matmul(tf.ones((1, 3)), w)
            y = tf.tanh(y)


def reference_variables():
    with tf1.variable_scope("s", use_resource=False):
        w = tf1.get_variable("w", (3, 3))
        y = tf.ones((1, 3))
        for _ in range(2):
            y = tf.tanh(tf.matmul(y, w))
            tf1.Variable(tf.ones(3), name="v", use_resource=False)


def own_graph():
    with tf.Graph().as_default() as graph:
        foo()
    return graph


def tensors_of_own_graph():
    with own_graph().as_default():
        return {"y": [tf.constant(1.0)]}


GRAPH = own_graph()


def lost_graph():
    own_graph()


def imported():
    with tf.Graph().as_default() as graph:
        foo()
    tf.import_graph_def(graph.as_graph_def(), name="")


def keras_model():
    layer = tf.keras.layers.Dense(3)
    x = tf.keras.Input((3,))
    return tf.keras.Model(x, layer(layer(x)))


def computes_while_it_is_made():
    model = tf.keras.Sequential([tf.keras.layers.Dense(3)])
    assert model(tf.ones((1, 3))).numpy().shape == (1, 3)
    return model


def nothing():
    pass


def returns_a_dict():
    return {"h": np.ones(3)}


def needs(x, weights, steps=3):
    return x


def raises():
    raise ValueError("no luck")


def uses_top():
    return tf1.get_variable("w", ()) * TOP


def eager():
    return [TOP]


def wants_numbers():
    return (tf1.get_variable("w", ()) + 1).numpy()


def constants():
    return tf.matmul(tf.ones((2, 2)), tf.ones((2, 2)))


number = 3
