"""What the bits of a run depend on is recorded, and what has changed is named."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf

from fcn.runs import environment
from fcn.runs.environment import changed_environment, describe_environment, processor_has_bfloat16


def test_versions_processor_threads_and_data_are_described() -> None:
    described = describe_environment(["CPU:0"], (2, 1), replicas=1, data_fingerprint="abc")
    assert described["tensorflow"] == tf.__version__
    assert (described["devices"], described["threads"], described["data_fingerprint"]) == (["CPU:0"], [2, 1], "abc")
    assert len(described["code"]) == 64
    assert set(described) >= {"python", "keras", "numpy", "pillow", "processor", "cores", "code", "commit"}


def test_changes_are_named_but_not_those_without_effect_on_the_bits() -> None:
    before = describe_environment(["CPU:0"], (2, 2), replicas=1, data_fingerprint="abc")
    assert changed_environment(before, before) == {}
    now = {**before, "data_fingerprint": "abd", "numpy": "1", "threads": [1, 2], "cores": 64, "system": "another"}
    changed = {"numpy": [before["numpy"], "1"], "threads": [[2, 2], [1, 2]], "data_fingerprint": ["abc", "abd"]}
    assert changed_environment(before, now) == changed
    assert changed_environment({}, {"python": "3"}) == {"python": [None, "3"]}


def test_only_switches_that_matter_are_recorded_and_no_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_VAR_db_password", "secret")  # Terraform's prefix; TensorFlow does not read it
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    before = describe_environment([], (), 1, "")
    assert not {"TF_VAR_db_password", "TF_CPP_MIN_LOG_LEVEL"} & before["switches"].keys()
    old = {**before, "switches": {**before["switches"], "TF_CPP_MIN_LOG_LEVEL": "3"}}  # as version 0.1 recorded them
    assert changed_environment(old, before) == {}
    for name, value in (("XLA_FLAGS", "--xla_dump_to=/home/me"), ("ONEDNN_MAX_CPU_ISA", "AVX2")):
        monkeypatch.setenv(name, value)
        now = describe_environment([], (), 1, "")
        assert "/" not in json.dumps(now["switches"])
        assert list(changed_environment(before, now)) == ["switches"]
        before = now


@pytest.mark.parametrize("line", ["flags\t\t: fpu avx512_bf16 sse", "flags\t\t: amx_bf16", "Features\t: asimd bf16"])
def test_bfloat16_is_read_from_the_flags_of_the_processor(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    for text, has in ((line, True), ("flags\t\t: avx512f", False), ("vmx flags\t: avx512_bf16", False), ("", False)):
        environment.CPUINFO.write_text(f"processor\t: 0\nmodel name\t: Abacus 7\n{text}\n")
        assert processor_has_bfloat16() is has
        assert describe_environment([], [], 1, "")["processor"] == "Abacus 7"


def test_commit_of_another_project_around_an_installed_fcn_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    )
    for words in commands:
        subprocess.run(["git", "-C", tmp_path, *words], check=True)  # noqa: S607
    for package, is_own in ((tmp_path / "fcn", True), (tmp_path / "lib" / "fcn", False)):
        package.mkdir(parents=True)
        monkeypatch.setattr(environment, "PACKAGE", package)
        assert (describe_environment([], (), 1, "")["commit"] is not None) is is_own
