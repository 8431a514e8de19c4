"""A campaign in the process of the test: what runs its tasks, and a port with two mistakes to search."""

from __future__ import annotations

from lockstep.harness.adapters.worker import Closing
from lockstep.harness.jobs.campaign.hands import Hands
from lockstep.harness.jobs.campaign.tasks import Answer, Shrinking
from lockstep.harness.jobs.campaign.work import perform

# The clip is not applied, and more than 6 timesteps raise.
PORT = """
import numpy as np


def sigmoid(z):
    return (1 + np.tanh(z / 2)) / 2


def port(x, weights, h0, c0):
    if len(x) > 6:
        raise RuntimeError(f"{len(x)} timesteps are too many")
    h, c, h_seq, c_seq = h0, c0, [], []
    for x_t in x:
        i, f, g, o = np.split(x_t @ weights["W"].T + h @ weights["R"].T + weights["b"], 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        h_seq.append(h)
        c_seq.append(c)
    return np.stack(h_seq), np.stack(c_seq)
"""


class Here(Closing):
    """An executor that carries each task out when it is submitted, in this process; ``lost`` is of shrinkings."""

    capacity = 1

    def __init__(self, campaign, lost=0):
        self.hands, self.told, self.lost = Hands(campaign), [], lost

    def submit(self, task):
        if isinstance(task, Shrinking) and self.lost:
            self.lost -= 1
            self.told.append(Answer(number=task.number, done=True, lost="its worker was killed"))
        else:
            perform(task, self.hands, self.told.append)

    def answers(self, timeout):
        del timeout
        told, self.told = self.told, []
        return told

    def close(self):
        self.hands.close()
