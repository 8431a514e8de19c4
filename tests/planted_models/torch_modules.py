"""What a user's file may hold: functions that give an nn.LSTM, or something else."""

import os
import time

import torch

torch.manual_seed(3)
AT_TOP = torch.nn.LSTM(3, 4)


class Net(torch.nn.Module):
    """Two LSTMs and a head."""

    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.LSTM(3, 4, batch_first=True)
        self.decoder = torch.nn.LSTM(4, 5, num_layers=2, dropout=0.5)
        self.head = torch.nn.Linear(5, 2)


def make_torch_lstm():
    torch.manual_seed(7)
    return torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True)


def unseeded():
    return torch.nn.LSTM(3, 4)


def projected():
    return torch.nn.LSTM(3, 4, proj_size=2, bias=False)


def double():
    return torch.nn.LSTM(3, 4, dtype=torch.float64)


def net():
    return Net()


def gru():
    return torch.nn.GRU(3, 4)


def cell():
    return torch.nn.LSTMCell(3, 4)


def linear():
    return torch.nn.Linear(3, 4)


def nothing():
    return None


def needs(path):
    return path


def raises():
    raise ValueError("no weights here")


def hangs():
    time.sleep(600)


def dies():
    os._exit(3)


def other_each_time():
    lstm = torch.nn.LSTM(3, 4)
    with torch.no_grad():
        lstm.bias_ih_l0[0] = time.time() % 1000  # float32 has room for its changes
    return lstm
