"""Any architecture without a word on layers or layouts, against Grad-CAM by hand."""

from __future__ import annotations

import json

import pytest

LAYERS = {
    "resnet18": "layer4.0",
    "regnety_002": "s4.b6",
    "efficientnet_b0": "bn2.drop",
    "convnext_atto": "stages.3.blocks.0",
    "mobilevitv2_050": "stages.4.1.conv_1x1",
    "maxvit_rmlp_pico_rw_256": "stages",
    "mambaout_femto": "stages.3.blocks.1",
    "swin_tiny_patch4_window7_224": "layers",
    "pvt_v2_b0": "stages.3.blocks.1",
    "vit_tiny_patch16_224": "blocks.10",
    "deit_tiny_distilled_patch16_224": "blocks.10",
    "vit_small_patch14_reg4_dinov2": "blocks.10",
}


@pytest.fixture(scope="module")
def table(benchmark_file):
    return benchmark_file("architectures")


USUAL = ("resnet18", "mobilevitv2_050", "vit_tiny_patch16_224")  # the others are as slow


@pytest.mark.parametrize(
    "name", [n if n in USUAL else pytest.param(n, marks=pytest.mark.slow) for n in LAYERS]
)
def test_a_network_of_timm(name, table, timm):
    architecture = next(one for one in table.ARCHITECTURES if one.name == name)
    row = table.measure(architecture)
    assert (row.layer, row.glue) == (LAYERS[name], 0)
    assert row.blank < 8
    assert row.difference < 1e-4


def test_the_grid_of_patches_that_are_no_squares(table, timm, tmp_path):
    """129 tokens were once read as an 11 x 11 grid."""
    rows = [one for one in table.ARCHITECTURES if one.options.get("patch_size") == (16, 8)]
    found = table.measure(rows[0])
    assert "129 tokens = 1 prefix + 8x16 grid" in found.note
    assert found.difference < 1e-4


def test_both_forms_of_the_table_are_written(table, timm, tmp_path):
    table.main(["--only", "resnet18", "--out", str(tmp_path / "table.json")])
    (row,) = json.loads((tmp_path / "table.json").read_text())
    assert row["layer"] == "layer4.0"
    assert "| resnet18 | 64x64 | `layer4.0` |" in (tmp_path / "table.md").read_text()
