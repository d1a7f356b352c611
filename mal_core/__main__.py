"""The command line. `python -m mal_core COMMAND --help`."""

import argparse
import sys
from collections.abc import Sequence

from mal_core.commands import (
    convert,
    evaluate,
    export_onnx,
    finetune,
    info,
    label,
    predict,
    pretrain,
    simulate,
    train,
)
from mal_core.commands.options import set_threads
from mal_core.errors import MALError

COMMANDS = (
    *(predict, label, info, evaluate, simulate, finetune, train, pretrain, convert, export_onnx),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 1 with a message on stderr for what a user can mend."""
    arguments = build_parser().parse_args(argv)
    set_threads(arguments)
    try:
        arguments.run(arguments)
    except (MALError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(prog="python -m mal_core", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
