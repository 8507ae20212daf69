"""The commands as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sycam import CAM, cli, evaluate, load, metric, open_images, open_network, synthesize
from sycam.data import demo
from sycam.grammar import load_grammar, read_grammar
from sycam.metrics.base import isolated
from sycam.runs.checking.recorded import recorded_heldout

FAST = "--metric deletion --budget 16 --max-cost 2 --search-images 8 --heldout-images 8".split()  # noqa: SIM905


def sycam(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["sycam", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["sycam", "synthesize", *FAST, "--out", str(out), "--quiet"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
    return out


@pytest.mark.slow
def test_synthesize_prints_winner_formula_and_every_published_cam(run, capsys, no_pictures):
    (run / "result.json").unlink()  # or it is printed without a search
    code, out, _ = sycam(capsys, "synthesize", *FAST, "--out", run)
    assert code == 0
    result = json.loads((run / "result.json").read_text())
    assert result["best"]["expression"] in out
    for name in ("grad-cam", "hirescam", "grad-cam++", "xgrad-cam", "layer-cam", "random-weights"):
        assert name in out
    assert "beat the best published CAM" in " ".join(out.split())
    assert "forward passes at most" in " ".join(out.split())


def test_the_overview_is_a_picture(run):
    with Image.open(run / "overview.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] > 300
    assert pixels.std() > 20


def test_json_goes_to_standard_output_alone(run, capsys, no_pictures):
    code, out, err = sycam(capsys, "synthesize", *FAST, "--out", run, "--json")
    assert code == 0
    assert json.loads(out)["best"]["expression"]
    assert "nothing is measured again" in " ".join(err.split())


def test_export_writes_for_a_library_or_says_why_not(run, tmp_path, capsys):
    file = tmp_path / "road_cam.py"
    code, out, _ = sycam(capsys, "export", run, "-o", file, "--name", "RoadCAM", "--base", "captum")
    assert (code, out.strip()) == (0, str(file))
    assert "class RoadCAM(LayerAttribution, GradientAttribution)" in file.read_text()
    code, _, error = sycam(capsys, "export", run, "-o", tmp_path / "road.onnx", "--base", "captum")
    assert code == 2
    assert "say base 'onnx'" in error


def test_export_and_explain_work_from_the_folder(run, tmp_path, capsys):
    code, out, _ = sycam(capsys, "export", run, "-o", tmp_path / "road_cam.py", "--name", "RoadCAM")
    assert code == 0
    assert "class RoadCAM" in (tmp_path / "road_cam.py").read_text()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 70, 3), dtype=np.uint8))
    image.save(tmp_path / "photo.jpg")
    code, out, _ = sycam(capsys, "explain", run, tmp_path / "photo.jpg", "--out", tmp_path / "png")
    assert code == 0
    with Image.open(out.strip()) as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("RGB")).std() > 20
    code, out, _ = sycam(capsys, "explain", run, "--out", tmp_path / "more")
    assert code == 0
    assert len(out.split()) == 6


def test_evaluate_scores_methods_and_expressions(capsys):
    code, out, _ = sycam(
        capsys, "evaluate", "grad-cam", "mean(relu(G)) * max(A)", "centre-prior",
        "--metric", "iou", "--metric", "energy-pointing-game", "--json", "--quiet",
    )  # fmt: skip
    assert code == 0
    table = json.loads(out)
    assert [m["name"] for m in table["methods"]] == [
        "grad-cam", "mean(relu(G)) * max(A)", "centre-prior",
    ]  # fmt: skip
    for method in table["methods"]:
        for cell in method["metrics"].values():
            assert 0 <= cell["low"] <= cell["mean"] <= cell["high"] <= 1


@pytest.mark.parametrize("what", ["metrics", "methods", "grammars"])
def test_listings(what, capsys):
    code, out, _ = sycam(capsys, what)
    assert code == 0
    expected = {"metrics": "road-morf", "methods": "sum(G * A)", "grammars": "gradient"}
    assert expected[what] in out
    code, out, _ = sycam(capsys, what, "--json")
    assert code == 0
    assert json.loads(out)


def test_methods_lists_every_method_with_formula_and_paper(capsys):
    code, out, _ = sycam(capsys, "methods", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["mi-grad-cam"]["formula"] == "mean(G) * normalize(MI)"
    assert rows["mi-grad-cam"]["reads"] == ["A", "G", "MI"]
    assert rows["grad-cam-elementwise"]["sort"] == "heat"
    assert rows["eigen-cam"]["cost"] == 2
    assert rows["kpca-cam"]["cost"] is None
    code, text, _ = sycam(capsys, "methods")
    assert code == 0
    text = " ".join(text.split())
    for row in rows.values():
        facts = (row["name"], row["kind"], row["formula"], row["sort"], row["paper"], row["note"])
        for fact in facts:
            assert " ".join(fact.split()) in text


def test_one_method_is_shown_with_its_leaves_and_their_price(capsys):
    code, out, _ = sycam(capsys, "methods", "show", "score-cam")
    assert code == 0
    words = " ".join(out.split())
    for said in ("softmax(S)", r"\operatorname{softmax}_k(S_k)", "K forward passes", "CVPR"):
        assert said in words
    code, out, _ = sycam(capsys, "methods", "show", "mean(relu(G)) * max(A)", "--json")
    assert code == 0
    own = json.loads(out)
    assert own["kind"] == "expression"
    assert own["cost"] == 6
    assert r"\max_{ij} A_k" in own["latex"]
    assert [leaf["written"] for leaf in own["leaves"]] == ["A", "G"]
    assert [op["name"] for op in own["operators"]] == ["mul", "max", "mean", "relu"]
    code, out, _ = sycam(capsys, "methods", "show", "ablation-cam-lib", "--json")
    assert [leaf["written"] for leaf in json.loads(out)["leaves"]] == ["A", "D'"]


def test_grammars_are_listed_with_leaves_trees_and_published_cams(capsys):
    code, out, _ = sycam(capsys, "grammars", "--max-cost", "3", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert list(rows)[-1] == "full"  # the largest last
    assert rows["gradient"]["trees"] == load_grammar("gradient").tree_counts(3)
    assert rows["perturbation"]["leaves"] == ["A", "G", "S", "D"]
    assert set(rows["spatial"]["published"]) >= {"hirescam", "layer-cam", "grad-cam-elementwise"}
    code, out, _ = sycam(capsys, "grammars")
    assert code == 0
    words = " ".join(out.split())
    for row in rows.values():
        counts = f"{len(row['operators'])} {len(row['published'])}"
        assert f"{row['name']} {' '.join(row['leaves'])} {counts}" in words


def test_a_grammar_is_shown_whole(tmp_path, capsys):
    file = tmp_path / "mine.lark"
    file.write_text('%base information\n%extend atom: "S" -> masked_scores\n')
    code, out, _ = sycam(capsys, "grammars", "show", file)
    assert code == 0
    assert load_grammar(file).text in out
    words = " ".join(out.split())
    for said in ("K forward passes", "mean(a)", "map -> weight", "homogeneous", "score-cam"):
        assert said in words
    code, out, _ = sycam(capsys, "grammars", "show", file, "--json")
    assert code == 0
    shown = json.loads(out)
    assert read_grammar(shown["text"]).digest == shown["digest"] == load_grammar(file).digest
    (leaf,) = (leaf for leaf in shown["leaves"] if leaf["written"] == "S")
    assert (leaf["name"], leaf["sort"]) == ("masked_scores", "weight")
    (mul,) = (op for op in shown["operators"] if op["name"] == "mul")
    assert (mul["written"], mul["typings"]) == ("a * b", ["weight, weight -> weight"])
    assert shown["published"] == ["grad-cam", "score-cam", "mi-cam", "mi-grad-cam"]


def test_a_network_file_and_a_folder_of_images_with_masks(tmp_path, capsys):
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "def tiny():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.ReLU(),\n"
        "        torch.nn.Flatten(), torch.nn.Linear(4 * 64, 3))\n"
    )
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    generator = np.random.default_rng(0)
    for i in range(12):
        pixels = generator.integers(0, 255, (20, 16 + 2 * (i % 3), 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i:02}.png")
        mask = np.zeros(pixels.shape[:2], dtype=np.uint8)
        mask[5:15, 5:12] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i:02}.png")
    (tmp_path / "images" / "broken.png").write_bytes(b"\x89PNG not really")
    code, out, err = sycam(
        capsys, "synthesize", "--network", f"{tmp_path / 'net.py'}:tiny", "--images",
        tmp_path / "images", "--masks", tmp_path / "masks", "--size", "16", "--metric", "iou",
        "--search-images", "6", "--heldout-images", "6", "--budget", "10", "--max-cost", "2",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert code == 0, err
    assert "broken.png" in out
    named = ["--network", f"{tmp_path / 'net.py'}:tiny"]
    code, out, _ = sycam(
        capsys, "explain", tmp_path / "run", tmp_path / "images" / "00.png", *named
    )
    assert code == 0
    # Without images, those that were held out, read again.
    code, out, _ = sycam(capsys, "explain", tmp_path / "run", *named)
    assert code == 0
    assert len(set(out.split())) == 6
    result = load(tmp_path / "run")
    unseen = recorded_heldout(result, result.record.network.source)
    winner, (layer,) = result.best.expression, result.record.network.layers
    table = evaluate(result.record.network.source, layer, unseen, [winner], ["iou"])
    assert table.cells[winner, "iou"].mean == pytest.approx(result.best.heldout.mean, abs=1e-6)


def test_explain_reads_what_a_run_with_a_metric_from_python_held_out(tmp_path, capsys):
    """The metric is not on record, and whether it needed masks is."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    generator = np.random.default_rng(0)
    for i in range(16):
        pixels = generator.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i:02}.png")
        mask = np.zeros((64, 64), dtype=np.uint8)
        mask[9:40, 5:30] = 255 * (i % 2)  # half of them mark nothing
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i:02}.png")

    def marked(heatmap, image, mask):
        return float((heatmap * mask).sum() / heatmap.sum().clamp(min=1e-6))

    images = open_images(tmp_path / "images", masks=tmp_path / "masks", size=64)
    with isolated():  # who reads the run does not know the name
        result = synthesize(
            "demo", demo.LAYER, images, metric=metric(form="image", needs_masks=True)(marked),
            search_images=4, heldout=4, budget=8, max_cost=2, out=tmp_path / "run",
        )  # fmt: skip
    code, out, err = sycam(capsys, "explain", tmp_path / "run")
    assert code == 0, err
    assert len({Path(name).name for name in out.split()}) == 4
    unseen = recorded_heldout(load(tmp_path / "run"), "demo")
    cam = CAM(open_network("demo").module, demo.LAYER, result.best.expression)
    found = [
        marked(heatmap, None, mask)
        for heatmap, mask in zip(cam(unseen.images), unseen.masks, strict=True)
    ]
    assert np.mean(found) == pytest.approx(result.best.heldout.mean, abs=1e-5)


REFUSED = [
    (["synthesize", "--metric", "raod"], "did you mean 'road'"),
    (["synthesize", "--network", "none.py:f"], "does not exist"),
    (["synthesize", "--network", "resnet"], "FILE.py:FACTORY"),
    (["synthesize", "--images", "/nowhere"], "no folder of images"),
    (["synthesize", "--mean", "a,b"], "--mean"),
    (["synthesize", "--budget", "long"], "90s"),
    (["synthesize", "--layer", "featrues"], "did you mean 'features"),
    (["synthesize", "--grammar", "x.lark"], "cannot read grammar"),
    (["evaluate", "grad-kam"], "did you mean 'grad-cam"),
    (["evaluate", "mean(G"], "ends too early"),
    (["evaluate", "1 + 1"], "scalar"),
    (["explain", "/nowhere"], "no result"),
    (["export", "/nowhere", "-o", "x.py"], "no result"),
    (["methods", "show", "grad-kam"], "did you mean 'grad-cam"),
    (["grammars", "show", "gradiant"], "did you mean 'gradient'"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=lambda v: " ".join(v)[:40])
def test_bad_input_is_one_message_and_exit_code_2(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = sycam(capsys, *arguments)
    assert code == 2
    assert words in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_many_metrics_fits_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    names = ["complexity", "entropy", "sparseness", "iou", "dice", "energy-pointing-game"]
    asked = [part for name in names for part in ("--metric", name)]
    for methods in (["grad-cam", "layer-cam"], ["mean(relu(G)) * max(A)"]):
        code, out, _ = sycam(capsys, "evaluate", *methods, *asked, "--quiet")
        assert code == 0
        assert max(map(len, out.splitlines())) <= 100
        assert "…" not in out
        assert out.count("flat") == 1
        assert all(f"{word} " in out for word in (*methods, *names))
        assert out.count(" [0.") == len(methods) * len(names)


@pytest.mark.slow
def test_the_requirement_that_left_no_winner_is_named(tmp_path, capsys, no_pictures):
    options = ["--require", "class-sensitivity>0.9999", "--out", tmp_path / "run", "--quiet"]
    code, out, _ = sycam(capsys, "synthesize", *FAST, *options)
    assert code == 0
    assert "a known CAM or fails class-sensitivity>0.9999." in " ".join(out.split())
