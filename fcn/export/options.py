"""What can be asked of an exported file, checked without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from fcn.errors import UserError
from fcn.inference.network import Output
from fcn.inference.runtimes import ENDINGS, INSTALL, Format

Precision = Literal["float32", "float16", "int8"]
CALIBRATION_FRAMES = 30
ENDING_OF = {format_: ending for ending, format_ in ENDINGS.items()}
PACKAGES: dict[Format, tuple[str, ...]] = {
    "saved_model": (),
    "litert": ("ai_edge_litert",),
    "onnx": ("onnx", "tf2onnx", "onnxruntime"),
    "openvino": ("openvino",),
}


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is wanted of an exported file."""

    format: Format
    precision: Precision = "float32"
    size: tuple[int, int] | None = None  # (height, width); None: any
    outputs: tuple[Output, ...] = ("labels",)
    check: Path | None = None  # folder of images to compare on, in place of the validation set
    calibration_frames: int = CALIBRATION_FRAMES  # training frames for int8
    calibration_seed: int = 0  # says which

    def validate(self, out: Path) -> None:
        """Raises UserError if this cannot be exported to `out`, or a package is missing."""
        ending = ENDING_OF[self.format]
        if out.suffix != ending:  # OpenVINO takes no .XML
            expected = f"ends in {ending}" if ending else "is a folder, without an ending"
            raise UserError(f"{out}: a file of {self.format} {expected}; name another --out")
        if not out.parent.is_dir():
            raise UserError(f"{out.parent}: no such folder; create it or name another --out")
        if out.is_dir():
            raise UserError(f"{out}: exists and is a folder; name another --out")
        if self.format == "saved_model" and self.precision != "float32":
            raise UserError(f"--precision {self.precision}: a SavedModel is float32; name another --format")
        if self.calibration_frames < 1 or self.calibration_seed < 0:
            raise UserError("--calibration-frames, --calibration-seed: name at least 1 frame, and a seed of at least 0")
        package = self.missing_package()
        if package is not None:
            raise UserError(f"--format {self.format}: needs the package {package}; {INSTALL}")

    def missing_package(self) -> str | None:
        """A package that is needed and not installed."""
        packages = PACKAGES[self.format]
        if (self.format, self.precision) == ("openvino", "int8"):
            packages = (*packages, "nncf")
        # not imported, as some import TensorFlow
        return next((package for package in packages if find_spec(package) is None), None)


def files_of(out: Path) -> list[Path]:
    """The files of an export."""
    if out.is_dir():
        return [path for path in out.rglob("*") if path.is_file()]
    return [out, out.with_suffix(".bin")] if out.suffix == ".xml" else [out]
