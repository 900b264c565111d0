"""The arguments of all commands. Importing this imports every command."""

from __future__ import annotations

import argparse

from fcn.commands import (
    benchmark,
    check_data,
    compare,
    evaluate,
    explain_layers,
    export,
    fetch_data,
    import_labels,
    infer,
    report,
    submit_kitti,
    train,
    train_classifier,
)

COMMANDS = {
    "train": train,
    "train-classifier": train_classifier,
    "infer": infer,
    "evaluate": evaluate,
    "report": report,
    "compare": compare,
    "export": export,
    "benchmark": benchmark,
    "check-data": check_data,
    "fetch-data": fetch_data,
    "import-labels": import_labels,
    "explain-layers": explain_layers,
    "submit-kitti": submit_kitti,
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it parses holds the command's function as `call`."""
    parser = argparse.ArgumentParser(prog="fcn", description="Train and run small fully convolutional networks.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, description=module.__doc__, help=(module.__doc__ or "").splitlines()[0])
        module.add_arguments(command)
        command.set_defaults(call=module.run)
    return parser
