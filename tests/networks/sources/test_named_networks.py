"""Networks by name, with random weights and small checkpoints: torchvision's, timm's, users'."""

from __future__ import annotations

import argparse
import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from sycam import cli
from sycam.data import demo
from sycam.data.images import load_images
from sycam.errors import DataError, NetworkError, OptionError, UnknownNameError
from sycam.networks import open_network, read_class_names
from sycam.networks.sources import from_timm, from_torchvision
from sycam.problem.images import read_images

SMALL = "shufflenet_v2_x0_5"  # the least weights of torchvision's networks
NAMES = ("bird", "cat", "dog", "fish", "frog", "horse", "mouse")

FACTORY = """
from torch import nn

def tiny():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, 3))
"""


@pytest.fixture(scope="module")
def tuned(torchvision) -> nn.Module:
    """A network whose head was exchanged for one of seven classes."""
    torch.manual_seed(1)
    return torchvision.models.get_model(SMALL, num_classes=7).eval()


@pytest.fixture
def no_connection(monkeypatch, tmp_path):
    """An empty cache of weights, and no server to fetch them from."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "urllib.request.urlopen", lambda *_, **__: (_ for _ in ()).throw(OSError("unreachable"))
    )


def same(one: nn.Module, other: nn.Module) -> bool:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.equal(one(images), other(images))


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda w: w,
        lambda w: {"state_dict": {f"module.{n}": t for n, t in w.items()}, "epoch": 3},
        lambda w: {"model": w, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.9)},
        lambda w: {"model_state_dict": {f"module._orig_mod.{n}": t for n, t in w.items()}},
        lambda w: {n: t for n, t in w.items() if not n.endswith("num_batches_tracked")},
    ],
    ids=["bare", "state_dict", "model", "prefixes", "no counters"],
)
def test_a_fine_tuned_checkpoint_in_each_common_form(tuned, tmp_path, wrapped):
    file = tmp_path / "best.pth"
    torch.save(wrapped(dict(tuned.state_dict())), file)
    found = open_network(f"torchvision:{SMALL}", file)
    assert same(found.module, tuned)
    assert found.classes == 7
    assert found.class_names is None
    assert found.checkpoint[0] == file.resolve()
    assert same(open_network(found.source).module, tuned)


def test_safetensors_in_half_precision(tuned, tmp_path):
    file = tmp_path / "best.safetensors"
    halves = {n: t.half() if t.is_floating_point() else t for n, t in tuned.state_dict().items()}
    save_file(halves, file)
    found = open_network(f"torchvision:{SMALL}@{file}").module
    assert found.fc.weight.dtype == torch.float32
    assert torch.equal(found.fc.weight, tuned.fc.weight.half().float())


def test_keys_that_do_not_fit_are_named(tuned, tmp_path):
    weights = dict(tuned.state_dict())
    weights["fc.1.weight"] = weights.pop("fc.weight")
    weights["conv1.0.weight"] = torch.zeros(24, 1, 3, 3)
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(NetworkError) as error:
        open_network(f"torchvision:{SMALL}", tmp_path / "a.pth")
    said = str(error.value)
    assert "1 missing: fc.weight" in said
    assert "1 not expected: fc.1.weight" in said
    assert "conv1.0.weight [24, 1, 3, 3], expected [24, 3, 3, 3]" in said
    assert "FILE.py:FACTORY" in said


class Trap:
    """Pickles to something that would make a file if it were ever loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


def test_nothing_in_a_checkpoint_is_executed(torchvision, tmp_path):
    evidence = tmp_path / "executed"
    torch.save({"state_dict": Trap(evidence)}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Trap(evidence)))
    with pytest.raises(NetworkError, match=r"more than tensors .* torch\.save\(network"):
        open_network(f"torchvision:{SMALL}", tmp_path / "a.pth")
    with pytest.raises(NetworkError, match="cannot read the checkpoint"):
        open_network(f"torchvision:{SMALL}", tmp_path / "b.pth")
    assert not evidence.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [({"lr": 0.1}, "has no state dict; its entries are lr"), ([1, 2], "holds list")],
)
def test_checkpoints_without_weights(torchvision, tmp_path, content, said):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(NetworkError, match=said):
        open_network(f"torchvision:{SMALL}", tmp_path / "a.pth")


def test_published_weights_come_from_the_cache_with_names_and_preprocessing(
    torchvision, no_connection, tmp_path
):
    entry = torchvision.models.get_model_weights(SMALL).IMAGENET1K_V1
    torch.manual_seed(2)
    network = torchvision.models.get_model(SMALL).eval()
    file = tmp_path / "cache" / "hub" / "checkpoints" / entry.url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    torch.save(network.state_dict(), file)
    found = open_network(f"torchvision:{SMALL}")
    assert found.source == f"torchvision:{SMALL}@IMAGENET1K_V1"
    assert same(found.module, network)
    assert found.class_names[1] == "goldfish"
    assert len(set(found.class_names)) == 1000
    assert (found.preprocessing.resize, found.preprocessing.size) == (256, 224)


def test_without_a_connection_one_message_says_what_to_do(torchvision, no_connection, tmp_path):
    with pytest.raises(NetworkError) as error:
        open_network(f"torchvision:{SMALL}")
    said = str(error.value)
    assert "unreachable" in said
    assert f"put the file at {tmp_path / 'cache'}" in said
    assert f"your own weights by network='torchvision:{SMALL}@FILE'" in said


def test_timm_without_a_connection(timm, monkeypatch):
    monkeypatch.setattr(
        timm.models._builder,
        "load_state_dict_from_hf",
        lambda *_, **__: (_ for _ in ()).throw(OSError("unreachable")),
    )
    with pytest.raises(NetworkError, match=r"timm/test_resnet.* network='timm:test_resnet@FILE'"):
        open_network("timm:test_resnet")


def test_timm_networks_and_checkpoints(timm, tmp_path):
    torch.manual_seed(3)
    network = timm.create_model("test_resnet", num_classes=7).eval()
    save_file(network.state_dict(), tmp_path / "best.safetensors")
    found = open_network("timm:test_resnet", tmp_path / "best.safetensors")
    assert same(found.module, network)
    assert (found.classes, found.class_names) == (7, None)
    config = timm.data.resolve_model_data_config(network)
    own = found.preprocessing
    assert (own.size, own.mean, own.std) == (
        config["input_size"][1], tuple(config["mean"]), tuple(config["std"]),
    )  # fmt: skip
    assert same(open_network("timm:test_resnet@random").module,
                open_network("timm:test_resnet@random").module)  # fmt: skip


@pytest.mark.parametrize("name", ["resnet50.a1_in1k", "dm_nfnet_f4.dm_in1k", "vgg11.tv_in1k"])
def test_pixels_are_those_of_timms_transforms(timm, tmp_path, name):
    """Centre crops of two ratios and interpolations, and one that ignores the ratio of sides."""
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    noise = np.random.default_rng(0).integers(0, 256, (150, 213, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    expected = timm.data.create_transform(**config)(Image.fromarray(noise))
    reading = from_timm.preprocessing_of(config).to_dict()
    found = load_images(tmp_path, **reading).images[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("torchvision:resnet51", UnknownNameError, "did you mean 'resnet50'"),
        (f"torchvision:{SMALL}@IMAGENET", UnknownNameError, "IMAGENET1K_V1"),
        (f"torchvision:{SMALL}@nowhere.pth", NetworkError, "no checkpoint at nowhere.pth"),
        ("timm:resnot18", UnknownNameError, "did you mean 'resnet18'"),
        ("timm:resnet18@nowhere.pth", NetworkError, "no checkpoint at nowhere.pth"),
        ("demo@nowhere.pth", NetworkError, "weights of its own"),
    ],
)
def test_names_that_are_none(timm, source, error, said):
    with pytest.raises(error, match=said):
        open_network(source)


def test_a_network_that_weights_alone_do_not_tell_is_refused(tuned, tmp_path):
    torch.save(tuned.state_dict(), tmp_path / "a.pth")
    with pytest.raises(NetworkError, match="transforms its input"):
        open_network("torchvision:inception_v3", tmp_path / "a.pth")


def test_a_library_that_is_missing_comes_with_its_extra(monkeypatch):
    def fail(name: str):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(from_torchvision.importlib, "import_module", fail)
    for source in ("torchvision:resnet50", "timm:resnet50"):
        with pytest.raises(NetworkError, match=r"pip install 'sycam\[networks\]'"):
            open_network(source)


def test_a_users_file_with_a_checkpoint(tmp_path):
    (tmp_path / "n@ts.py").write_text(FACTORY)
    source = f"{tmp_path / 'n@ts.py'}:tiny"
    torch.manual_seed(4)
    network = open_network(source).module
    torch.save(network.state_dict(), tmp_path / "a.pth")
    found = open_network(source, tmp_path / "a.pth")
    assert same(found.module, network)
    assert same(open_network(found.source).module, network)
    assert found.preprocessing is None
    with pytest.raises(NetworkError, match="names its weights already"):
        open_network(found.source, tmp_path / "a.pth")


@pytest.mark.parametrize("before", ["", "module.", "_orig_mod.module."])
def test_a_users_network_whose_own_names_begin_like_a_wrapper(tmp_path, before):
    (tmp_path / "nets.py").write_text(
        f"{FACTORY}\nclass Wrapped(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.model = tiny()\n\n"
        "    def forward(self, x):\n        return self.model(x)\n"
    )
    source = f"{tmp_path / 'nets.py'}:Wrapped"
    torch.manual_seed(5)
    network = open_network(source).module
    weights = {f"{before}{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save(weights, tmp_path / "a.pth")
    assert same(open_network(source, tmp_path / "a.pth").module, network)


def test_pictures_for_the_embedded_network_are_read_as_it_was_trained(tmp_path):
    Image.new("RGB", (80, 70), (255, 0, 0)).save(tmp_path / "red.png")
    (images,) = read_images(tmp_path, network=open_network("demo")).whole().images
    assert images.shape == (3, demo.SIDE, demo.SIDE)
    red = (torch.tensor([1.0, 0, 0]) - torch.tensor(demo.MEAN)) / torch.tensor(demo.STD)
    torch.testing.assert_close(images, red[:, None, None].expand_as(images))


def test_class_names(tmp_path, tuned):
    file = tmp_path / "names.txt"
    file.write_text("\ufeffa\nb\n\n")
    assert read_class_names(file) == ("a", "b")
    torch.save(tuned.state_dict(), tmp_path / "a.pth")
    found = open_network(f"torchvision:{SMALL}", tmp_path / "a.pth")
    with pytest.raises(OptionError, match=r"2 class names were given, .* has 7 classes"):
        found.with_class_names(["a", "b"])
    file.write_text("a\n\nb\n")
    with pytest.raises(DataError, match="line 2 is empty"):
        read_class_names(file)


def sycam(capsys, *arguments: object) -> tuple[int, str, str]:
    code = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["sycam", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.slow
def test_a_fine_tuned_network_and_a_folder_a_class(tuned, tmp_path, capsys, monkeypatch):
    """The researcher's story: search, verify and explain from elsewhere, with class names."""
    noise = np.random.default_rng(0)
    for name in NAMES:
        (tmp_path / "val" / name).mkdir(parents=True)
        for i in range(2):
            pixels = noise.integers(0, 256, (40, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "val" / name / f"{i}.png")
    torch.save({"state_dict": tuned.state_dict()}, tmp_path / "best.pth")
    monkeypatch.chdir(tmp_path)
    code, out, err = sycam(
        capsys, "synthesize", "--network", f"torchvision:{SMALL}", "--checkpoint", "best.pth",
        "--images", "val", "--labels", "sorted", "--size", 32, "--metric", "deletion",
        "--max-cost", 1, "--budget", 1, "--search-images", 4, "--heldout-images", 4,
        "--out", "run",
    )  # fmt: skip
    assert code == 0, err
    words = " ".join(out.split())
    assert f"network {SMALL}: checkpoint best.pth, 7 classes" in words
    assert "centre crop 32, then (pixels / 255 - mean 0.485, 0.456, 0.406)" in words
    assert "labels from the names of 7 folders (sorted)" in words
    record = json.loads((tmp_path / "run" / "result.json").read_text())["network"]
    assert record["class_names"] == list(NAMES)
    assert record["checkpoint"]["sha256"]
    assert record["preprocessing"]["interpolation"] == "bilinear"
    monkeypatch.chdir("/")
    code, out, err = sycam(capsys, "verify", tmp_path / "run", "--quiet")
    assert code == 0, out
    photo = next((tmp_path / "val" / "cat").iterdir())
    code, out, err = sycam(capsys, "explain", tmp_path / "run", photo)
    assert code == 0, err
