"""Files that GitHub and pre-commit read: valid, and in step with what the project runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(
    not (ROOT / ".github").is_dir(), reason="an archive of the sources has no .github"
)


def test_forms_for_issues_have_what_github_asks_of_them():
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    forms = [form for form in forms if form.stem != "config"]
    assert len(forms) >= 2
    for form in forms:
        said = yaml.safe_load(form.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= set(said)
        ids = [part["id"] for part in said["body"]]
        assert len(set(ids)) == len(ids)
        assert all(part["attributes"]["label"] for part in said["body"])


def test_the_workflow_runs_what_everybody_runs_on_the_oldest_and_the_newest_python():
    said = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    job = said["jobs"]["test"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == [".ci/run"]
    assert (ROOT / ".ci" / "run").exists()
    asked = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lowest, end = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', asked).groups()
    assert job["strategy"]["matrix"]["python"] == [f"3.{lowest}", f"3.{int(end) - 1}"]


def test_pre_commit_has_the_ruff_that_is_pinned():
    said = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (rev,) = [repo["rev"] for repo in said["repos"] if "ruff" in repo["repo"]]
    assert f"ruff=={rev.removeprefix('v')}\n" in (ROOT / "constraints.txt").read_text()
