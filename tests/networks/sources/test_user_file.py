"""``--network FILE.py:FACTORY``, with real files."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sycam.errors import NetworkError, UnknownNameError
from sycam.networks.sources.user_file import load_network

FILE = """
from __future__ import annotations
import dataclasses
from torch import Tensor, nn

@dataclasses.dataclass
class Settings:
    classes: int = 3

class Net(nn.Module):
    def __init__(self, settings: Settings):
        super().__init__()
        self.head = nn.Linear(4, settings.classes)
    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)

def make_network():
    return Net(Settings()).train()
def returns_nothing():
    pass
def returns_the_class():
    return Net
def raises():
    raise OSError("weights.pt is missing")
def needs_arguments(classes):
    return Net(Settings(classes))
a_number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my-net.v2.py"
    path.write_text(FILE)
    return path


def test_a_factory_in_a_file(file):
    """A dataclass needs its module among the imported ones; it once failed there."""
    network = load_network(f"{file}:make_network")
    assert isinstance(network, nn.Module)
    assert network.training is False
    assert network(torch.rand(2, 4)).shape == (2, 3)


def test_two_files_of_one_name(file, tmp_path):
    other = tmp_path / "other" / file.name
    other.parent.mkdir()
    other.write_text(FILE.replace("classes: int = 3", "classes: int = 5"))
    assert load_network(f"{file}:make_network").head.out_features == 3
    assert load_network(f"{other}:make_network").head.out_features == 5
    assert load_network(f"{file}:make_network").head.out_features == 3


@pytest.mark.parametrize(
    "source", ["resnet", "net.py", "net.py:", ":make", "net.pt:make", "https://x.org/net"]
)
def test_what_is_no_network(source):
    with pytest.raises(
        NetworkError, match=r"expected 'demo', torchvision:NAME, .* or FILE\.py:FACTORY"
    ):
        load_network(source)


def test_a_missing_file(tmp_path):
    with pytest.raises(NetworkError, match=r"network file '.*absent.py' does not exist"):
        load_network(f"{tmp_path / 'absent.py'}:make")


def test_a_missing_factory_comes_with_the_nearest(file):
    with pytest.raises(UnknownNameError, match=r"'make_net' is not known; did you mean 'make_net"):
        load_network(f"{file}:make_net")


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("raises", "OSError: weights.pt is missing"),
        ("needs_arguments", "a factory takes no arguments"),
        ("returns_nothing", r"returned NoneType, expected a torch.nn.Module"),
        ("returns_the_class", r"returned type, expected a torch.nn.Module"),
        ("a_number", "TypeError"),
    ],
)
def test_factories_that_fail(file, factory, said):
    with pytest.raises(NetworkError, match=said):
        load_network(f"{file}:{factory}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_package_at_all", "ModuleNotFoundError.*no_such_package_at_all"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_files_that_fail(tmp_path, text, said):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(NetworkError, match=rf"(?s)network file '.*broken.py' failed: {said}"):
        load_network(f"{path}:make")
