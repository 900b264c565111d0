"""TensorFlow's start-up lines stay off the terminal, and are there if the import fails."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import keras
import pytest

from fcn.commands.tensorflow_import import import_tensorflow
from fcn.config.settings import ModelConfig
from fcn.errors import UserError
from fcn.model.fcn import build_fcn

UNSET = ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS")
CALL = "from fcn.commands.tensorflow_import import import_tensorflow; import_tensorflow(); "


def call(code: str, folder: Path, **variables: str) -> CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in UNSET} | variables
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), environment.get("PYTHONPATH", "")])
    options = {"capture_output": True, "text": True, "check": False, "start_new_session": True}
    return subprocess.run([sys.executable, "-c", code], env=environment, **options)


def test_start_up_lines_are_held_back_and_later_ones_are_not(tmp_path: Path) -> None:
    then = "import os, sys, tensorflow as tf; tf.zeros(3) + 1; os.write(2, b'native '); print('later', file=sys.stderr)"
    done = call(CALL + then, tmp_path)
    assert (done.returncode, done.stderr) == (0, "native later\n")


def test_packages_that_keras_imports_and_fcn_does_not_use_are_left_for_later(tmp_path: Path) -> None:
    for name in ("matplotlib", "sklearn"):
        (tmp_path / f"{name}.py").write_text("print('imported')")
    then = "import sys; import keras; print('between'); import matplotlib; import sklearn"
    assert call(CALL + then, tmp_path).stdout == "between\nimported\nimported\n"


def test_where_there_is_no_tensorflow_a_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match=r"^tensorflow: is not installed; pip install tensorflow, or name an exported"):
        import_tensorflow()


@pytest.mark.parametrize("end", ["raise ImportError('no AVX')", "os.abort()"])
def test_lines_are_shown_if_the_import_fails_or_crashes(end: str, tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(f"import os; os.write(2, b'compiled to use AVX instructions\\n'); {end}")
    done = call(CALL, tmp_path)
    assert done.returncode != 0
    assert done.stderr.startswith("compiled to use AVX instructions\n")


def test_a_log_level_of_the_users_holds_nothing_back(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("import os; os.write(2, b'a line\\n')")
    (tmp_path / "keras.py").write_text("from unittest.mock import Mock; config = Mock()")
    assert call(CALL, tmp_path, TF_CPP_MIN_LOG_LEVEL="0").stderr == "a line\n"


def test_keras_gets_the_backend_and_layout_that_fcn_needs(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text(
        '{"backend": "jax", "image_data_format": "channels_first", "floatx": "float16"}'
    )
    code = "from fcn.config.settings import ModelConfig; from fcn.model.fcn import build_fcn; "
    code += "print(build_fcn(ModelConfig(encoder='vgg11', width=1 / 64, head_units=4), 2).output.shape)"
    done = call(CALL + code, tmp_path, KERAS_HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "(None, None, None, 2)\n"), done.stderr


def test_another_layout_of_keras_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(UserError, match=r"keras.json: is tensorflow, channels_first, float32; fcn needs tensorflow, "):
        build_fcn(ModelConfig(encoder="vgg11", width=1 / 64, head_units=4), 2)


def test_ctrl_c_during_the_import_ends_one_process_only(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(
        "import os, signal; os.killpg(0, signal.SIGINT); import time; time.sleep(5)"
    )
    wrapped = CALL.replace("import_tensorflow(); ", "exec('try: import_tensorflow()\\nfinally: print(1)')")
    done = call(wrapped, tmp_path)
    assert done.stdout == "1\n"  # cleaned up once, not again by the process that holds the lines back


def test_onednn_is_on_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("")
    (tmp_path / "keras.py").write_text("from unittest.mock import Mock; config = Mock()")
    then = "import os; print(os.environ.get('TF_ENABLE_ONEDNN_OPTS'))"
    default = "1" if platform.machine() in ("x86_64", "AMD64") else None
    for machine_default, variables in ((default, {}), ("0", {"TF_ENABLE_ONEDNN_OPTS": "0"})):
        assert call(CALL + then, tmp_path, **variables).stdout == f"{machine_default}\n"
