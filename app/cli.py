"""The launcher's commands. `python app.py` serves the studio."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before Gradio is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Before torch: idle threads sleep. Spinning, they hold the cores that the browser draws with.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from app import backup, checkup, restore, roster, trade
from app.server import serve
from app.settings import Settings
from mal_core.errors import BadDataset, MALError


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the studio, or carry out a command; 0 at a clean end, 1 with a message for the user."""
    arguments = build_parser().parse_args(argv)
    flags = {name: getattr(arguments, name, None) for name in _SETTINGS}
    try:
        settings = Settings.from_environment(os.environ, **flags)
        if arguments.command is None:
            serve(settings, tell)
        else:
            for line in arguments.run(settings, arguments):
                print(line)
    except BadDataset as error:
        print("error: nothing was imported", *error.problems, sep="\n  ", file=sys.stderr)
        return 1
    except MALError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def tell(address: str) -> None:
    """Say where the studio answers."""
    print(f"MAL Studio: {address}  (Ctrl+C ends it)", flush=True)


def build_parser() -> argparse.ArgumentParser:
    """Flags for each setting; variables MAL_* give the rest."""
    parser = argparse.ArgumentParser(
        prog="python app.py",
        description="Serve MAL Studio; or bring boxes and masks in and out, and people in.",
    )
    parser.add_argument("--data-dir", type=Path, help="where everything is kept")
    parser.add_argument("--images-url", help="keep images there, such as s3://bucket/images")
    parser.add_argument("--host", help="loopback address to listen on")
    parser.add_argument("--port", type=int, help="TCP port (default: 7860)")
    parser.add_argument("--weights", type=Path, help="bundled checkpoint")
    parser.add_argument("--threads", type=int, help="CPU threads of the model")
    parser.add_argument("--device", help="auto, cpu or cuda")
    parser.add_argument("--backend", help="auto, torch or onnx: what runs the model on a CPU")
    parser.add_argument("--log-format", help="text, or json with a line for each request")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    trade.add_import(commands)
    trade.add_export(commands)
    roster.add_user_commands(commands)
    backup.add_backup(commands)
    restore.add_restore(commands)
    checkup.add_check(commands)
    return parser


_SETTINGS = (
    *("data_dir", "images_url", "host", "port", "weights", "threads", "device", "backend"),
    "log_format",
)
