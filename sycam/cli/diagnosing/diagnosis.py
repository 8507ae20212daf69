"""What this machine and installation offer, and what would be slow here and why."""

from __future__ import annotations

import platform
import shutil
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from sycam.data import demo
from sycam.errors import NetworkError, SycamError
from sycam.evidence import default_folder
from sycam.inference.winograd import convolution_library
from sycam.methods import find_method
from sycam.metrics.imputation.c_engine import imputation_library
from sycam.metrics.imputation.impute import impute
from sycam.metrics.removal.pixel_ranks import ranks_library
from sycam.networks import LIBRARIES
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images
from sycam.support.cores import cores
from sycam.support.mapped_tensor import limit, memory
from sycam.version import __version__

REQUIRED = ("torch", "numpy", "scipy", "sympy", "lark", "optuna", "safetensors", "pillow")

OPTIONAL = {
    "torchvision": ("networks", "networks by name: torchvision:resnet50"),
    "timm": ("networks", "networks by name: timm:resnet50.a1_in1k"),
    "huggingface-hub": ("networks", "timm's published weights"),
    "onnx": ("onnx", "network and heatmaps in one file: sycam export --base onnx"),
    "onnxscript": ("onnx", "the writing of that file"),
    "onnxruntime": ("onnx", "the running of that file"),
    "mlflow-skinny": ("mlflow", "runs sent to MLflow: sycam.track.MLflow"),
    "wandb": ("wandb", "runs sent to Weights & Biases: sycam.track.WandB"),
    "tensorboard": ("tensorboard", "runs written for TensorBoard: sycam.track.TensorBoard"),
    "scikit-image": ("superpixels", "the metric responsiveness"),
    "pydicom": ("medical", "images in DICOM files"),
    "nibabel": ("medical", "volumes in NIfTI files"),
    "opencv-python-headless": ("inpainting", "removal by ROAD with imputer=telea"),
}
"""Packages that need not be there, with the extra that brings them and what they are for."""

AGREEMENT = 1e-3  # between the two engines of the imputer, as its tolerance promises


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`diagnose` found.

    Attributes:
        versions: of SyCAM, Python and the packages it needs.
        optional: packages that need not be there: version (None: not installed), extra, purpose,
            and trouble where one is installed and cannot be used.
        device: ``"cpu"`` or the GPU's name.
        bfloat16: whether the device computes in bfloat16 by itself, not by emulation.
        cores: of the machine that this process may use.
        threads: that torch uses.
        memory: bytes that this process may use.
        mapped_from: bytes above which one tensor is kept on disk, mapped into memory.
        compiled: helpers written in C, and of each whether its library was shipped with the
            package or compiled here; None where torch does the work.
        compiler: path of a C compiler, or None where there is none or it fails.
        cxx: path of a C++ compiler, which torch.compile needs on a CPU, or None.
        cache: folder of kept measurements (None: nothing is kept), its files and bytes.
        slow: what would be slow here, why, and what helps.
        checks: small computations and what is wrong with them; empty where nothing is.
    """

    versions: dict[str, str]
    optional: dict[str, dict[str, str | None]]
    device: str
    bfloat16: bool
    cores: int
    threads: int
    memory: int
    mapped_from: int
    compiled: dict[str, str | None]
    compiler: str | None
    cxx: str | None
    cache: dict[str, Any]
    slow: list[str] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether all checks passed."""
        return not any(self.checks.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {**asdict(self), "sound": self.sound}


def diagnose() -> Diagnosis:
    """Look at the installation and the machine, and compute a little (a few seconds)."""
    versions = {"sycam": __version__, "python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in REQUIRED}
    cuda = torch.cuda.is_available()
    compiled = _compiled()
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    diagnosis = Diagnosis(
        versions=versions,
        optional=_optional(),
        device=torch.cuda.get_device_name() if cuda else "cpu",
        bfloat16=torch.cuda.is_bf16_supported(including_emulation=False) if cuda else _cpu_bf16(),
        cores=cores(),
        threads=torch.get_num_threads(),
        memory=memory(),
        mapped_from=limit(),
        compiled=compiled,
        compiler=compiler if all(compiled.values()) else None,
        cxx=next(filter(None, map(shutil.which, ("g++", "c++", "clang++"))), None),
        cache=_cache(default_folder()),
    )
    diagnosis.slow.extend(_slow(diagnosis, cuda, compiler))
    diagnosis.checks.update(_checks(compiled["imputer"] is not None))
    return diagnosis


def _compiled() -> dict[str, str | None]:
    libraries = {
        "imputer": imputation_library(),
        "ranks of pixels": ranks_library(),
        "3x3 convolutions": convolution_library(),
    }
    return {name: library.origin if library else None for name, library in libraries.items()}


def _optional() -> dict[str, dict[str, str | None]]:
    packages = {}
    for name, (extra, purpose) in OPTIONAL.items():
        try:
            version, trouble = metadata.version(name), None
        except metadata.PackageNotFoundError:
            version, trouble = None, None
        library = LIBRARIES.get(f"{name}:")
        if version and library:
            try:
                library.library()
            except NetworkError as error:
                trouble = str(error)
        packages[name] = {"version": version, "extra": extra, "for": purpose, "trouble": trouble}
    return packages


def _cpu_bf16() -> bool:
    """Whether the processor multiplies in bfloat16."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _cache(folder: Path | None) -> dict[str, Any]:
    if folder is None:
        return {"folder": None, "files": 0, "bytes": 0}
    sizes = [file.stat().st_size for file in folder.rglob("*.safetensors")]
    return {"folder": str(folder), "files": len(sizes), "bytes": sum(sizes)}


def _slow(diagnosis: Diagnosis, cuda: bool, compiler: str | None) -> list[str]:
    said = []
    if not cuda:
        said.append(
            "no CUDA device: networks run on the CPU; for 224×224 images expect minutes for what "
            "a GPU does in seconds. Fewer images (--search-images 32) and a larger --budget help"
        )
    if diagnosis.threads < diagnosis.cores:
        said.append(
            f"torch uses {diagnosis.threads} of {diagnosis.cores} cores: OMP_NUM_THREADS or "
            "torch.set_num_threads holds it back"
        )
    if not all(diagnosis.compiled.values()):
        why = "the C compiler fails" if compiler else "there is no C compiler"
        said.append(
            f"SyCAM was installed without compiled helpers, and {why}: ROAD's imputer runs in "
            "torch, some times slower, and so do 3x3 convolutions, at up to half the speed; "
            "install gcc or clang"
        )
    if diagnosis.cxx is None and not cuda:
        said.append(
            "there is no C++ compiler: networks are not compiled, so that long runs take up to "
            "1.7 times as long; install g++ or clang++"
        )
    if not diagnosis.bfloat16:
        said.append("bfloat16 is emulated here: --precision bfloat16 gains nothing")
    if diagnosis.cache["folder"] is None:
        said.append(
            "SYCAM_CACHE is off: leaves S and D (K forward passes per image) are measured again in "
            "each run"
        )
    return said


def _checks(native: bool) -> dict[str, str]:
    """Small computations on the embedded network."""
    done = {}
    claim = "Grad-CAM of the embedded network is its formula, computed by hand"
    try:
        images = demo_images("heldout", 4, 0)
        explained = ExplainedNetwork.prepare("demo", demo.LAYER, images)
        evidence, context = explained.measure(images)
        maps = find_method("grad-cam").heatmaps(evidence, context).maps[0]
        weights = evidence.gradients.mean((2, 3), keepdim=True)
        by_hand = (weights * evidence.activations).sum(1, keepdim=True).relu()
        by_hand = torch.nn.functional.interpolate(by_hand, size=maps.shape[1:], mode="bilinear")
        by_hand = by_hand[:, 0] - by_hand[:, 0].amin((1, 2), keepdim=True)
        by_hand = by_hand / by_hand.amax((1, 2), keepdim=True).clamp_min(1e-12)
        off = float((maps - by_hand).abs().max())
        done[claim] = "" if off <= 1e-4 else f"they differ by up to {off:.2g}"
        if native:
            removed = (
                torch.rand(4, *maps.shape[1:], generator=torch.Generator().manual_seed(0)) < 0.5
            )
            pixels = context.images.cpu()
            pair = [impute(pixels, removed, native=one) for one in (True, False)]
            off = float((pair[0] - pair[1]).square().mean().sqrt())
            claim = "the compiled imputer agrees with the one in torch"
            done[claim] = "" if off <= AGREEMENT else f"they differ by {off:.2g} (rms)"
    except SycamError as error:
        done[claim] = str(error)
    return done
