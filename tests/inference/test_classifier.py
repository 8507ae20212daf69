"""The frozen copy that scores perturbed images: the plain network's probabilities."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sycam.data import demo
from sycam.errors import NetworkError, OptionError
from sycam.inference import Classifier, acceleration


@pytest.mark.parametrize("batch", [None, 1, 3, 7, 100])
def test_probabilities_are_the_plain_networks(small_network, small_images, batch):
    targets = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    with torch.no_grad():
        expected = small_network(small_images).softmax(1).gather(1, targets[:, None])[:, 0]
    classifier = Classifier(small_network, batch=batch)
    found = classifier.probability(small_images, targets)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert found.dtype == torch.float32
    assert classifier.passes == 7
    assert classifier.probability(small_images[:0], targets[:0]).shape == (0,)


@pytest.mark.parametrize("batch", [None, 3])
def test_answers_are_probabilities_and_predictions_of_one_pass(small_network, small_images, batch):
    targets = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    classifier = Classifier(small_network, batch=batch)
    chances, classes = classifier.answers(small_images, targets)
    passes = classifier.passes
    assert torch.equal(chances, classifier.probability(small_images, targets))
    assert torch.equal(classes, classifier.predictions(small_images))
    assert passes == len(small_images)
    valued = Classifier(small_network, score=lambda row: row[2])
    chances, classes = valued.answers(small_images, targets)
    assert torch.equal(chances, valued.probability(small_images, targets))
    assert not classes.any()


def test_one_output_is_a_sigmoid(small_network, small_images):
    network = nn.Sequential(*small_network, nn.Linear(5, 1))
    with torch.no_grad():
        expected = network(small_images)[:, 0].sigmoid()
    found = Classifier(network).probability(small_images, torch.zeros(7, dtype=torch.long))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_users_network_is_left_alone():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    ).train()
    kept = {k: v.clone() for k, v in network.state_dict().items()}
    strides = [p.stride() for p in network.parameters()]
    random = torch.get_rng_state()
    images, targets = torch.rand(9, 3, 8, 8), torch.zeros(9, dtype=torch.long)
    random = torch.get_rng_state()
    classifier = Classifier(network)
    first = classifier.probability(images, targets)
    assert torch.equal(classifier.probability(images, targets), first)  # no dropout in the copy
    assert network.training
    assert all(m.training for m in network.modules())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert [p.stride() for p in network.parameters()] == strides
    assert all(torch.equal(v, kept[k]) for k, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    # Nor does the copy follow the original afterwards.
    with torch.no_grad():
        network[5].weight.zero_()
    assert torch.equal(classifier.probability(images, targets), first)


def test_a_network_that_views_its_activations(small_images):
    """``view`` refuses the channels-last layout; such networks once failed here, and only here."""

    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 256, 5)

        def forward(self, x):
            x = F.relu(self.conv(x))
            return self.head(x.view(x.size(0), -1))

    network = Views().eval()
    targets = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    with torch.no_grad():
        expected = network(small_images).softmax(1).gather(1, targets[:, None])[:, 0]
    classifier = Classifier(network, batch=3)
    found = classifier.probability(small_images, targets)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert classifier.passes == 7


def test_failures_are_the_networks(small_network):
    classifier = Classifier(small_network)
    targets = torch.zeros(2, dtype=torch.long)
    with pytest.raises(NetworkError, match=r"failed on images of shape \(2, 5, 16, 16\)"):
        classifier.probability(torch.rand(2, 5, 16, 16), targets)
    with pytest.raises(NetworkError, match="NaN or infinite class scores"):
        classifier.probability(torch.full((2, 3, 16, 16), torch.nan), targets)


def test_a_network_that_cannot_be_copied(small_network):
    small_network.generator = (i for i in range(3))
    with pytest.raises(NetworkError, match="the network cannot be copied: TypeError"):
        Classifier(small_network)


class Greedy(nn.Module):
    """Runs out of memory above some images at a time, as a GPU or as torch's CPU allocator."""

    def __init__(self, network: nn.Module, most: int, error: str, batches: list[int]):
        super().__init__()
        self.network, self.most, self.error = network, most, error
        self.note = batches.append  # of the test's list, in copies, too

    def forward(self, x):
        if len(x) > self.most:
            if self.error == "cuda":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            torch.empty(2**60)  # DefaultCPUAllocator: can't allocate memory
        self.note(len(x))
        return self.network(x)


@pytest.mark.parametrize("error", ["cuda", "cpu"])
@pytest.mark.parametrize("most", [1, 5])
def test_where_memory_runs_out_batches_are_halved(small_network, small_images, most, error):
    images, targets = small_images.repeat(5, 1, 1, 1), torch.arange(35) % 5
    expected = Classifier(small_network).probability(images, targets)
    classifier = Classifier(Greedy(small_network, most, error, batches := []), batch=32)
    torch.testing.assert_close(classifier.probability(images, targets), expected, rtol=0, atol=1e-6)
    assert classifier.passes == 35
    assert classifier.batch == {1: 1, 5: 4}[most]
    assert sum(batches) == 35  # no image was forwarded twice


def test_memory_that_does_not_hold_one_image_is_said(small_network, small_images):
    classifier = Classifier(Greedy(small_network, 0, "cuda", []), batch=4)
    with pytest.raises(torch.OutOfMemoryError):
        classifier.probability(small_images, torch.zeros(7, dtype=torch.long))


@pytest.mark.parametrize(("width", "expected"), [(1, 128), (512, 16), (4096, 4)])
def test_the_batch_follows_the_average_output_of_a_layer(width, expected):
    """1 to 4096 channels of 16x16 floats: 1 KiB to 4 MiB an image, a third of it an average layer;
    of these 4 MiB fit, of 4 to 128 images."""
    network = nn.Sequential(nn.Conv2d(3, width, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = Classifier(network)
    classifier.probability(torch.rand(3, 3, 16, 16), torch.zeros(3, dtype=torch.long))
    assert classifier.batch == expected


class Folding(nn.Module):
    """Convolutions with batch norms that have seen data, and a shortcut."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.conv = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)
        self.train()
        for _ in range(3):
            self(torch.rand(16, 3, 16, 16))
        self.eval()

    def forward(self, x):
        x = F.relu(self.first(self.stem(x)))
        x = F.relu(x + self.second(self.conv(x)))
        return self.head(x.mean((2, 3)))


def planned(network: nn.Module, passes: int, images: torch.Tensor, **options) -> Classifier:
    classifier = Classifier(network, batch=len(images), **options)
    before = classifier.probability(images, torch.zeros(len(images), dtype=torch.long))
    form = classifier.plan(passes)
    after = classifier.probability(images, torch.zeros(len(images), dtype=torch.long))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
    assert form == classifier.form
    return classifier


def test_batch_norms_are_folded_where_passes_are_few():
    classifier = planned(Folding(), 1000, torch.rand(8, 3, 16, 16))
    assert classifier.form == "folded"
    assert not any(isinstance(m, nn.BatchNorm2d) for m in classifier.network.modules())


def test_nothing_is_prepared_for_fewer_passes_than_that_takes():
    assert planned(Folding(), 127, torch.rand(8, 3, 16, 16)).form == "eager"
    assert planned(Folding(), 128, torch.rand(8, 3, 16, 16)).form == "folded"


def test_what_cannot_be_traced_stays_as_it_is(small_images):
    class Branches(Folding):
        def forward(self, x):
            out = super().forward(x)
            return out + 1 if float(x.sum()) > 0 else out

    assert planned(Branches(), 1000, small_images).form == "eager"


def test_a_folding_that_answers_differently_is_refused(small_images, monkeypatch):
    def wrong(network):
        twin = Folding()
        twin.head.bias.data[0] += 1
        return twin

    monkeypatch.setattr("sycam.inference.classifier.folded", wrong)
    assert planned(Folding(), 1000, small_images).form == "eager"


def test_compiling_is_decided_by_arithmetic():
    small, large = nn.Linear(2, 2), nn.Sequential(*(nn.Linear(2, 2) for _ in range(200)))
    # It must save 0.2 of the passes' time, and cost 8 s and 0.15 s a layer, with half in reserve.
    assert acceleration.compiling_pays(small, 62)
    assert not acceleration.compiling_pays(small, 61)
    assert acceleration.compiling_pays(large, 286)
    assert not acceleration.compiling_pays(large, 284)


def measured_as(monkeypatch, *seconds: float) -> None:
    """What the clock shows, eager and compiled, whatever else runs on the machine."""
    monkeypatch.setattr(
        "sycam.inference.classifier.seconds_of", lambda _, *works, **_options: seconds[: len(works)]
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
def test_a_compiled_network_serves_batches_of_any_size(monkeypatch):
    measured_as(monkeypatch, 2.0, 1.0)
    images = demo.normalise(demo.scenes("heldout", 80).images).contiguous()
    classifier = planned(demo.network(), 10**12, images[:32])
    assert classifier.form == "compiled"
    assert classifier.plan(10**12) == "compiled"
    plain = Classifier(demo.network())
    for count in (80, 32, 31, 17, 3):
        targets = torch.arange(count) % 10
        torch.testing.assert_close(
            classifier.probability(images[:count], targets),
            plain.probability(images[:count], targets),
            rtol=0,
            atol=1e-5,
        )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
def test_a_compiled_network_that_is_slower_is_not_taken(monkeypatch, small_network, small_images):
    measured_as(monkeypatch, 1.0, 1.1)
    assert planned(small_network, 10**12, small_images).form == "eager"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
def test_a_network_that_saw_few_images_is_compiled_for_a_whole_batch(monkeypatch):
    measured_as(monkeypatch, 2.0, 1.0)
    images, targets = demo.normalise(demo.scenes("heldout", 40).images), torch.arange(40) % 10
    classifier = Classifier(demo.network(), batch=16)
    before = classifier.probability(images[:5], targets[:5])
    assert classifier.plan(10**12) == "compiled"
    compiled, sizes = classifier._compiled, []
    monkeypatch.setattr(
        classifier, "_compiled", lambda batch: sizes.append(len(batch)) or compiled(batch)
    )
    after = classifier.probability(images, targets)
    torch.testing.assert_close(after[:5], before, rtol=0, atol=1e-5)
    assert sizes[:2] == [16, 16]


def test_a_plan_for_a_batch_that_memory_does_not_hold_goes_on(small_network, small_images):
    classifier = Classifier(Greedy(small_network, 16, "cpu", []), batch=64)
    classifier.probability(small_images[:5], torch.arange(5))
    assert classifier.plan(2000) == "eager"
    many = small_images.repeat(6, 1, 1, 1)
    found = classifier.probability(many, torch.zeros(42, dtype=torch.long))
    expected = Classifier(small_network).probability(many, torch.zeros(42, dtype=torch.long))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert classifier.plan(2000) == "eager"


@pytest.mark.slow
def test_without_a_compiler_the_network_runs_eagerly(tmp_path):
    """In a process of its own: torch remembers whether it found a compiler."""
    code = """
import torch
from sycam.data import demo
from sycam.inference import Classifier
images = demo.normalise(demo.scenes("heldout", 8).images).contiguous()
classifier = Classifier(demo.network(), batch=8)
before = classifier.probability(images, torch.arange(8))
assert classifier.plan(10**15) in ("eager", "folded"), classifier.form
assert (classifier.probability(images, torch.arange(8)) - before).abs().max() < 1e-5
"""
    bare = os.environ | {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_bfloat16_is_near_float32(small_network, small_images):
    targets = torch.arange(7) % 5
    exact = Classifier(small_network).probability(small_images, targets)
    found = Classifier(small_network, precision="bfloat16").probability(small_images, targets)
    assert found.dtype == torch.float32
    assert 0 < (found - exact).abs().max() < 1e-2


def test_an_unknown_precision_is_named(small_network):
    with pytest.raises(OptionError, match="precision 'float16' is not known; expected float32 or"):
        Classifier(small_network, precision="float16")


PAGES = """
import resource, torch
from sycam.inference import Classifier, acceleration
network = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3), torch.nn.ReLU(), torch.nn.Flatten(1, 3),
                              torch.nn.Linear(64 * 62 * 62, 2))
classifier = Classifier(network, torch.device("cpu"), batch=16)
images, targets = torch.rand(16, 3, 64, 64), torch.zeros(16, dtype=torch.long)
for _ in range(8):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    classifier.probability(images, targets)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is told so by glibc's means")
@pytest.mark.parametrize("tuned", [pytest.param(False, marks=pytest.mark.slow), True])
def test_pages_of_freed_activations_are_not_asked_for_again(tuned):
    """16 MB of activations a pass, in pages of 4 or 64 KiB; whoever tunes malloc is left alone."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    environment = inherited | ({"MALLOC_TRIM_THRESHOLD_": "131072"} if tuned else {})
    done = subprocess.run(
        [sys.executable, "-c", PAGES], env=environment, capture_output=True, text=True, check=True
    )
    assert (int(done.stdout) > 200) == tuned


GIVEN_BACK = """
import sys
import numpy as np
from pathlib import Path
from contextlib import nullcontext
from sycam.inference.freed_memory import giving_back, keep_freed_memory
def resident():
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1024
assert keep_freed_memory()
with giving_back() if sys.argv[1] == "back" else nullcontext():
    assert keep_freed_memory() == (sys.argv[1] != "back")
    before = resident()
    arrays = [np.ones(1 << 19) for _ in range(16)]  # 4 MiB each
    del arrays
    print(resident() - before)
assert keep_freed_memory()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is told so by glibc's means")
@pytest.mark.parametrize("freed", ["kept", "back"])
def test_what_is_freed_is_kept_or_given_back(freed):
    """64 MiB."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", GIVEN_BACK, freed],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (float(done.stdout) > 32) == (freed == "kept")
