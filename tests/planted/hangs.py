"""Never comes back, deaf to polite signals."""

import signal
import time


def unsupported(case):
    return None


def run(problem):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(0.1)
