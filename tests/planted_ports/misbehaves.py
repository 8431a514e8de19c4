"""Do what a function should not, each in its own way."""

import contextlib
import ctypes
import os
import random
import signal
import sys
import threading
import time
import warnings
from dataclasses import dataclass

import numpy as np
from plain import port as run

calls = 0


@dataclass
class State:
    h: "np.ndarray"


def remembers(*args):
    global calls
    calls += 1
    return run(*args)[0] * 0 + calls


def raises(x, weights, h0, c0):
    print("on the way", file=sys.stderr)
    return x @ weights["R"]


def asks_for_key(x, weights, h0, c0):
    return weights["kernel"]


class Nameless(Exception):
    def __str__(self):
        raise RuntimeError


def raises_nameless(*args):
    raise Nameless


def raises_at_length(*args):
    raise ValueError("x" * 100_000)


def recurses(*args):
    return recurses(*args)


def interrupts(*args):
    raise KeyboardInterrupt


def times_out(*args):
    raise TimeoutError("of its own")


def exits(*args):
    sys.exit(3)


def dies(*args):
    os._exit(3)


def dies_with_zero(*args):
    os._exit(0)


def segfaults(*args):
    print("last words")
    ctypes.string_at(0)


def dies_of_long_sequences(x, *args):
    if len(x) > 5:
        os._exit(4)
    return run(x, *args)


def hangs(*args):
    while True:
        pass


def hangs_and_prints(*args):
    while True:
        print("still going" * 100)


def hangs_deaf(*args):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock


def hangs_on_long_sequences(x, *args):
    if len(x) > 5:
        time.sleep(600)
    return run(x, *args)


def prints(*args):
    print("h is ...")
    os.write(1, b"\xff\x00 raw bytes")
    return run(*args)


def prints_lone_surrogates(*args):
    print("\ud800")
    return run(*args)


def closes_stdout(*args):
    sys.stdout.close()
    return run(*args)


def closes_descriptors(*args):
    for descriptor in (1, 2):
        os.close(descriptor)
    return run(*args)


def replaces_stdout(*args):
    sys.stdout = sys.stderr = None
    return run(*args)


def reads_stdin(*args):
    return input()


def changes_x(x, *args):
    h = run(x, *args)
    x *= 0
    return h


def changes_weights(x, weights, h0, c0):
    h = run(x, weights, h0, c0)
    weights["W"] = weights["W"].T
    del weights["b"]
    weights["bias"] = 0
    weights["R"][0] = 0
    return h


def reshapes_h0(x, weights, h0, c0):
    h = run(x, weights, h0, c0)
    h0.shape = (1, *h0.shape)
    return h


def starts_threads(*args):
    threading.Thread(target=time.sleep, args=(600,)).start()
    return run(*args)


def sets_alarm(*args):
    signal.alarm(1)
    return run(*args)


def dies_later(*args):
    threading.Timer(0.3, os._exit, (5,)).start()
    return run(*args)


def forks(*args):
    os.fork()
    return run(*args)


def sets_all_strict(*args):
    np.seterr(all="raise")
    np.random.seed(0)
    random.seed(0)
    warnings.simplefilter("error")
    os.environ.clear()
    sys.path.clear()
    with contextlib.suppress(OSError):
        os.chdir("/")
    h, c = run(*args)
    return h.astype(np.float64) * 1e300, c


def monkeypatches(*args):
    results = run(*args)
    time.perf_counter = None
    time.time = os.listdir = None
    return results
