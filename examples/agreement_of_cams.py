"""Somebody who cannot decide between several CAMs asks what they agree on (MetaCAM).

    python examples/agreement_of_cams.py [--members grad-cam layer-cam ...] [--metric iou]
        [--budget 2m] [--out vote]

On the demo's scenes: members and threshold are chosen by a metric on some scenes, the ensemble is
judged on others beside each CAM alone, kept with a picture, opened again and used as a CAM. Asked
again, it goes on where its time was over. With images of your own: ``sycam ensemble --images ...``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import sycam
from sycam.applications import EnsembleResult, ensemble

NETWORK, LAYER = "demo", "features.8"


def main(arguments: list[str] | None = None) -> tuple[EnsembleResult, torch.Tensor]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--members", nargs="+", default=["grad-cam", "layer-cam", "hirescam", "grad-cam++"],
        help="methods that a formula says, formulas, folders of runs",
    )  # fmt: skip
    parser.add_argument("--metric", default="iou")
    parser.add_argument("--budget", default="2m", help="a time, or a number of ensembles")
    parser.add_argument("--search", type=int, default=64, help="scenes that choose")
    parser.add_argument("--heldout", type=int, default=128, help="scenes that judge")
    parser.add_argument("--out", type=Path, default=Path("vote"))
    given = parser.parse_args(arguments)

    found = ensemble(
        NETWORK, LAYER, "demo", given.metric, given.members, percents=(10, 20, 40, 100),
        budget=given.budget, search_images=given.search, heldout=given.heldout, out=given.out,
    )  # fmt: skip
    print(found)
    print(f"\nHeld-out scenes, members and ensemble: {given.out / 'ensemble.png'}")

    # Whoever has the folder has the ensemble; as one formula it is a CAM like any other.
    kept = EnsembleResult.load(given.out)
    cam = sycam.CAM(sycam.open_network(NETWORK).module, LAYER, kept.expression)
    heatmaps = cam(torch.rand(2, 3, 64, 64))
    print(f"{kept.expression}: heatmaps {tuple(heatmaps.shape)}")
    return kept, heatmaps


if __name__ == "__main__":
    main()
