"""What `pip install` brings: a working tool outside the checkout, and `import fcn` that answers at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import fcn


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of a fresh environment with fcn's wheel; the dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"  # a build leaves files behind
    for name in ("fcn", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, source]
    subprocess.run(wheel, check=True)
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    (wheel_file,) = folder.glob("fcn_roads-*.whl")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel_file], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    borrowed = folder / "env" / "lib" / version / "site-packages" / "borrowed.pth"
    borrowed.write_text(sysconfig.get_path("purelib"))
    return python.parent


@pytest.mark.slow
def test_installed_tool_segments_an_image_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (37, 53, 3)).astype("uint8")
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    command = [installed / "fcn", "infer", "photo.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "inference" / "photo_mask.png") as mask:
        assert (mask.mode, mask.size) == ("P", (53, 37))
    assert str(installed.parent) in done.stdout  # the weights that come with fcn, not those of the checkout


def test_installed_tool_knows_its_configs_by_name(installed: Path, tmp_path: Path) -> None:
    for command in ([installed / "fcn"], [installed / "python", "-m", "fcn"]):
        words = [*command, "train", "--config", "camvid", "--print-config"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "  crop_size: [320, 448]\n" in done.stdout


def test_public_names_are_there_and_importing_fcn_loads_no_tensorflow() -> None:
    for name in fcn.PUBLIC:
        assert callable(getattr(fcn, name))
    with pytest.raises(AttributeError, match="module 'fcn' has no attribute 'train_'"):
        fcn.train_  # noqa: B018
    check = "import sys, fcn; fcn.__version__; sys.exit('tensorflow' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0
