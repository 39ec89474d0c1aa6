#!/usr/bin/env python3
"""Train the networks whose weights the package brings, and write them to src/carrysave/networks/weights.

    CARRYSAVE_DATA=../shared/data .venv/bin/python tools/train_networks.py lenet-fashion_mnist alexnet-cifar10 gcn-cora

One thread, seed 0; a stopped training goes on where it was. Weights are kept in half precision, to keep the package
small, unless --full asks for them as trained; the accuracies printed are those of the weights as written.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from carrysave.calibration import calibrate
from carrysave.emulation import emulate
from carrysave.evaluation import evaluate
from carrysave.networks import trained
from carrysave.networks.alexnet import prepare_alexnet
from carrysave.networks.gcn import prepare_gcn
from carrysave.networks.lenet import prepare_lenet
from carrysave.networks.trained import Trainable
from carrysave.paths import cache_dir
from carrysave.training import load_weights

PREPARE: dict[str, Callable[..., Trainable]] = {
    "lenet": prepare_lenet,
    "alexnet": prepare_alexnet,
    "gcn": prepare_gcn,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NETWORK-DATA")
    parser.add_argument("--full", action="store_true", help="keep the weights in full precision")
    parser.add_argument("--output", type=Path, default=trained.SHIPPED)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names:
        network, _, dataset = name.partition("-")
        prepared = PREPARE[network](dataset, None, seed=0)
        checkpoint = cache_dir() / "networks" / f"{name}.training"
        prepared.fit(prepared.model, checkpoint)
        path = prepared.ship(arguments.output, torch.float32 if arguments.full else torch.float16)
        for left in checkpoint.parent.glob(f"{name}.training*"):
            left.unlink()
        load_weights(prepared.model, path)
        print(f"{path}: {path.stat().st_size:,} bytes, {accuracies(prepared)}", flush=True)


def accuracies(prepared: Trainable) -> str:
    """In float and, with the exact multiplier, in 8 bits."""
    model = prepared.model.eval()
    calibration = calibrate(model, prepared.train_set, samples=512, seed=0)
    exact = evaluate(emulate(model, calibration, multiplier="exact"), prepared.test_set)
    return f"float {evaluate(model, prepared.test_set)}, 8 bits {exact}"


if __name__ == "__main__":
    main()
