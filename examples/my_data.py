"""Data of your own: (images, labels), two tensors, or a DataLoader without shuffling.

`carrysave explore ... --data my_data.py:test` tests on `test`; the formats' ranges come from `train` beside it.
"""

import torch
from sklearn.datasets import load_digits

digits = load_digits()
images = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]  # [1797, 1, 8, 8], from 0 to 1
labels = torch.tensor(digits.target)

train = images[:1200], labels[:1200]
test = images[1200:], labels[1200:]
