"""The pictures of the README, of docs/gallery.md and of docs/hot_spots.md.

    python benchmarks/gallery.py [photographs scenes ultrasound flaws removal hot_spots]
        [--out docs/pictures]

Photographs are those of scikit-image whose photographers gave them away (CC0: chelsea by Stefan van
der Walt, coffee by Rachel Michetti, camera by Lav Varshney), on MobileNet v1, whose weights are not
part of the project (``SYCAM_DATA``). Scenes are the embedded demo's. Pictures like ultrasound and
like flaws in metal are synthetic (``look_alikes.py``): real ones may not be shown without their
licence. The networks were trained on real ones (``SYCAM_DATA``).

The formulas were found by searches on other images than those shown, see ``MOBILENET``, ``DEMO``,
``ULTRASOUND`` and ``FLAWS``.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import look_alikes
import numpy as np
import torch
from hot_spots import with_imagenet_names
from PIL import Image, ImageSequence

from sycam.applications import ablate
from sycam.data.images import ImageSet
from sycam.drawing.overlays import ImageRow, draw_grid
from sycam.methods import find_method
from sycam.metrics import find_metric
from sycam.networks import NamedNetwork, open_network
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images
from sycam.report.pictures.animation import animate_removal
from sycam.scoring.scorer import Scorer

ROOT = Path(__file__).resolve().parents[1]
SIDE = 160  # pixels of a photograph, as MobileNet takes them
PHOTOGRAPHS = {  # name to the box that is cut out, in pixels
    "chelsea": (95, 0, 395, 300),
    "coffee": (100, 0, 500, 400),
    "camera": (0, 0, 512, 512),
}
SCENES = 200  # of which the best, the typical and the worst for the formula found are shown
LOOK_ALIKES = 60  # of each kind
COLOURS = 256  # of a PNG: heatmaps are smooth, and files small
GRAINY = 0.7  # share of the side that pictures full of noise keep
COLOURS_MOVING, LIGHT = 64, 0.7  # of an animation, and its share of the side


@dataclass(frozen=True)
class Found:
    """What is shown of a network: titles to formulas, all at layers that they name."""

    network: Callable[[], NamedNetwork]
    layers: Sequence[str]
    columns: Mapping[str, str]
    metric: str = "road"


def own(file: str, name: str) -> Callable[[], NamedNetwork]:
    """A network of ``benchmarks/networks/``."""
    return lambda: open_network(f"{ROOT / 'benchmarks' / 'networks' / file}:{name}")


# benchmarks/cells.py --networks mobilenet --metrics road: found on 32 validation images of
# ImageNet, ahead of the published CAM and layer that these choose, Grad-CAM at blocks.10, on 168
# others, whose best is RefineCAM (RESULTS.md).
MOBILENET = Found(
    own("mobilenet.py", "mobilenet"),
    ("blocks", "blocks.12.dw_relu6", "blocks.10", "blocks.4", "blocks.2", "blocks.0"),
    {
        "Grad-CAM, last layer": "grad-cam@blocks",
        "best published: RefineCAM of six layers": "refine-cam",
        "SyCAM: product of three layers": (
            "cam[blocks.10](mean(G)) * cam[blocks](G) * cam[blocks.0](mean(above(A, 2)))"
        ),
    },
)
# make demo
DEMO = Found(
    lambda: open_network("demo"),
    ("features", "features.5", "features.1"),
    {
        "Grad-CAM, last layer": "grad-cam@features",
        "LayerCAM, features.5": "layer-cam@features.5",
        "SyCAM: sum of three layers": (
            "cam[features.5](smooth(G)) + cam[features.1](smooth(G)) + "
            "square(cam[features](mean(G) / sum(A)))"
        ),
    },
)


# benchmarks/cells.py --networks busi,magnetic_tile --metrics iou: found on real images, ahead of
# those published CAMs on others of them (RESULTS.md).
ULTRASOUND = Found(
    own("small_cnn.py", "busi"),
    ("bn6_relu", "bn4_relu"),
    {
        "Grad-CAM, last layer": "grad-cam@bn6_relu",
        "best published: FEM, last layer": "fem@bn6_relu",
        "SyCAM: sum of two layers": (
            "smooth(cam[bn6_relu](square(G))) + smooth(cam[bn4_relu](topmean(G)))"
        ),
    },
    "iou",
)
FLAWS = Found(
    own("small_cnn.py", "magnetic_tile"),
    ("bn6_relu", "bn5_relu", "bn2_relu"),
    {
        "Grad-CAM, last layer": "grad-cam@bn6_relu",
        "best published: LayerCAM, bn2_relu": "layer-cam@bn2_relu",
        "SyCAM: product of two layers": (
            "symsqrt(cam[bn2_relu]((mean(G) + 0.0359 * mean(A)) * abs(G))) * "
            "symsqrt(cam[bn5_relu](symsqrt(relu(G))))"
        ),
    },
    "iou",
)


def photograph(name: str, box: tuple[int, int, int, int]) -> np.ndarray:
    """uint8 ``[SIDE,SIDE,3]``, from scikit-image's own folder, so that nothing is fetched."""
    folder = Path(importlib.util.find_spec("skimage").origin).parent / "data"
    with Image.open(folder / f"{name}.png") as image:
        cut = image.convert("RGB").crop(box)
    return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def photographs() -> ImageSet:
    """RGB in 0..1, as MobileNet takes them."""
    pixels = np.stack([photograph(name, box) for name, box in PHOTOGRAPHS.items()])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return ImageSet.from_arrays(images, names=list(PHOTOGRAPHS))


def rows_of(
    found: Found, images: ImageSet, captions: Sequence[str], chosen: Callable | None = None
) -> tuple[list[ImageRow], ExplainedNetwork, ImageSet]:
    """Heatmaps with their scores below each, the network, and the images.

    Args:
        found: network and formulas.
        images: of which ``chosen`` are shown, all if None.
        captions: over each image.
        chosen: from ``[N]`` scores of the last formula to the places of those that are shown.
    """
    explained = ExplainedNetwork.prepare(found.network(), list(found.layers), images)
    methods = {title: find_method(text) for title, text in found.columns.items()}
    leaves = frozenset().union(*(method.leaves for method in methods.values()))
    evidence, context = explained.measure(images, leaves=leaves)
    scorer = Scorer(find_metric(found.metric), evidence, context)
    scores = {title: scorer.score_method(m).values for title, m in methods.items()}
    ours = list(scores.values())[-1]
    shown = {"road": "ROAD", "iou": "IoU"}[found.metric]
    which = range(len(images)) if chosen is None else chosen(ours)
    rows = []
    for i in map(int, which):
        one, at = slice(i, i + 1), context.subset(slice(i, i + 1))
        with torch.no_grad():
            maps = {
                title: m.heatmaps(evidence.subset(one), at).maps[0, 0].float().numpy()
                for title, m in methods.items()
            }
        under = {title: f"{shown} {values[i]:.3f}" for title, values in scores.items()}
        mask = None if images.masks is None else images.masks[i].numpy()
        rows.append(ImageRow(images.picture(i), captions[i], maps, under, mask))
    return rows, explained, images.subset([int(i) for i in which])


def small(path: Path, share: float = 1.0) -> Path:
    """The picture with few colours and a share of its side, in its place."""
    with Image.open(path) as image:
        flat = Image.new("RGB", image.size, "white")
        flat.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    flat = flat.resize([int(share * side) for side in flat.size], Image.Resampling.LANCZOS)
    buffer = BytesIO()
    flat.quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG).save(buffer, "PNG", optimize=True)
    path.write_bytes(buffer.getvalue())
    return path


def light(path: Path) -> Path:
    """The animation with fewer pixels and colours, in its place."""
    with Image.open(path) as image:
        size = tuple(int(LIGHT * side) for side in image.size)
        frames, durations = [], []
        for frame in ImageSequence.Iterator(image):
            resized = frame.convert("RGB").resize(size, Image.Resampling.LANCZOS)
            frames.append(resized.quantize(COLOURS_MOVING, dither=Image.Dither.NONE))
            durations.append(frame.info.get("duration", 500))
    first, *others = frames
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, optimize=True)
    return path


def draw_photographs(out: Path) -> Path:
    images = photographs()
    rows, *_ = rows_of(MOBILENET, images, [f"{name}\n" for name in images.names])
    return small(draw_grid(rows, out / "front.png"))


def best_typical_worst(values: np.ndarray) -> np.ndarray:
    """Places of three images."""
    order = np.argsort(-values, kind="stable")
    return order[[0, len(order) // 2, len(order) - 1]]


def draw_scenes(out: Path) -> Path:
    images = demo_images("heldout", SCENES, 0)
    names = [f"digit {label}\n" for label in images.labels.tolist()]
    rows, *_ = rows_of(DEMO, images, names, best_typical_worst)
    return small(draw_grid(rows, out / "scenes.png"))


def draw_look_alikes(
    out: Path, name: str, found: Found, kind: look_alikes.Kind, classes: Sequence[str]
) -> Path:
    """Best, typical and worst of those whose lesion or flaw the network sees.

    Args:
        out: folder of the picture.
        name: of its file.
        found: network and formulas.
        kind: draws one picture.
        classes: of the network; those in brackets say that there is nothing.
    """
    images = look_alikes.pictures(kind, LOOK_ALIKES, seed=0)
    with torch.no_grad():
        predicted = found.network().module.eval()(images.images).argmax(1).tolist()
    seen = [i for i, c in enumerate(predicted) if not classes[c].startswith("(")]
    captions = [f"taken for {classes[predicted[i]]}\n" for i in seen]
    rows, *_ = rows_of(found, images.subset(seen), captions, best_typical_worst)
    return small(draw_grid(rows, out / f"{name}.png"), GRAINY)


def draw_ultrasound(out: Path) -> Path:
    classes = ("benign", "malignant", "(normal)")
    return draw_look_alikes(out, "ultrasound", ULTRASOUND, look_alikes.ultrasound, classes)


def draw_flaws(out: Path) -> Path:
    classes = ("blowhole", "break", "crack", "fray", "(free)", "uneven")
    return draw_look_alikes(out, "flaws", FLAWS, look_alikes.brushed_metal, classes)


def draw_removal(out: Path) -> Path:
    images = photographs().subset([0])
    rows, explained, shown = rows_of(MOBILENET, images, ["chelsea"])
    path = out / "removal.gif"
    return light(animate_removal(explained, shown, MOBILENET.columns, rows[0], path))


def draw_hot_spots(out: Path) -> Path:
    images = photographs()
    network = with_imagenet_names(MOBILENET.network())
    found = ablate(network, "blocks.10", images, "layer-cam", examples=len(images), progress=False)
    return small(found.plot().save(out / "hot_spots.png"))


PARTS = {
    "photographs": draw_photographs,
    "scenes": draw_scenes,
    "ultrasound": draw_ultrasound,
    "flaws": draw_flaws,
    "removal": draw_removal,
    "hot_spots": draw_hot_spots,
}


def parser_of(parts: Iterable[str], description: str) -> argparse.ArgumentParser:
    """The options of a command that draws parts of the documentation's pictures."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    return parser


def drawn(
    parts: Mapping[str, Callable[[Path], Path]],
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
) -> list[Path]:
    """The pictures of the parts that are asked for, all if none is named."""
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(parts):
        parser.error(f"no part {', '.join(sorted(unknown))}; expected {', '.join(parts)}")
    given.out.mkdir(parents=True, exist_ok=True)
    paths = [parts[name](given.out) for name in given.names or parts]
    for path in paths:
        print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")
    return paths


def make_parser() -> argparse.ArgumentParser:
    return parser_of(PARTS, __doc__.splitlines()[0])


def main(arguments: Sequence[str] | None = None) -> list[Path]:
    return drawn(PARTS, make_parser(), arguments)


if __name__ == "__main__":
    main()
