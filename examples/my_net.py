"""A network of your own: any torch.nn.Module, or a function that returns one, here trained on the spot (two seconds).

    carrysave explore examples/my_net.py:model --data examples/my_data.py:test --multiplier exact kulkarni drum:k=6

A network that is trained already would load its weights instead:

    net = Net()
    net.load_state_dict(torch.load("weights.pt", weights_only=True))
"""

import my_data  # the file beside this one
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    """Two convolutions and a linear layer for images [N, 1, 8, 8]; gives scores [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.fc = nn.Linear(24 * 2 * 2, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


def model() -> nn.Module:
    """Trained with a seed, so that the same command finds the same network, and with it the trials it has finished."""
    torch.manual_seed(0)
    net, (images, labels) = Net(), my_data.train
    optimizer = torch.optim.Adam(net.parameters(), lr=0.005)
    for _ in range(20):
        for chosen in torch.randperm(len(images)).split(60):
            optimizer.zero_grad()
            F.cross_entropy(net(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    return net
