"""No framework is imported here, until a function does."""

import ctypes
import os
import sys
import time


def imports_late():
    import tensorflow as tf

    for _ in range(2):
        tf.compat.v1.get_variable("w", (3,)) if False else tf.Variable(tf.ones(3), name="w")


def hangs():
    while True:
        time.sleep(0.1)


def exits():
    sys.exit("enough")


def ends():
    os._exit(0)


def dies():
    ctypes.string_at(0)


def interrupts():
    raise KeyboardInterrupt


def prints():
    for _ in range(30000):
        print("x" * 300)
    os.write(2, b"y" * 1000)
    return imports_late()


def text():
    return "weights"


class Callable:
    def __call__(self):
        return imports_late()


instance = Callable()
