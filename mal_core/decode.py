"""The bytes of an image file become pixels, in a child process that a hostile file may kill.

The child is this module as a program. It imports neither torch nor the network, runs with little
memory, and reads nothing but its pipe: for each file eight bytes of length and the file; it
answers a line of JSON, {"size": [height, width]} and the pixels behind it, or {"refused": why}.
"""

import io
import os
import resource
import struct
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mal_core.errors import BadImage

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
MEMORY_BYTES = 5 * 2**29  # 2.5 GiB: what Pillow's own limit of 179 megapixels needs, turned
TIMEOUT_S = 60.0
TRIES = 2  # children that one file may cost: the first may have been killed by something else
DEADLY = "it kills its decoder: it needs too much memory or time, or is hostile"
_LENGTH = struct.Struct(">Q")
_ROOT = Path(__file__).resolve().parent.parent
Pixels = NDArray[np.uint8]


class Decoder:
    """Decodes files in a child process, one at a time; a child that dies is followed by another.

    Args:
        memory_bytes: how much a child may have.
        timeout_s: how long one file may take.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES, timeout_s: float = TIMEOUT_S) -> None:
        self._command = [sys.executable, "-m", "mal_core.decode", str(memory_bytes)]
        self._timeout_s = timeout_s
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def decode(self, content: bytes) -> Pixels:
        """Decode an image file.

        Args:
            content: of the file.

        Returns:
            (H, W, 3) uint8 RGB, upright.

        Raises:
            BadImage: it is not an image we take, is damaged, or kills its decoder; says why.
        """
        for _ in range(TRIES):
            child = self._child = self._child or self._start()
            watch = threading.Timer(self._timeout_s, child.kill)
            watch.start()
            try:
                return _ask(child, content)
            except (EOFError, BrokenPipeError):
                self.close()
            finally:
                watch.cancel()
        raise BadImage(DEADLY)

    def close(self) -> None:
        """End the child; the next `decode` starts another."""
        if self._child is not None:
            self._child.kill()
            with suppress(BrokenPipeError):  # what it did not take any more
                self._child.communicate()
        self._child = None

    def _start(self) -> subprocess.Popen[bytes]:
        few = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(  # noqa: S603 - our own module
            self._command,
            stdin=pipe,
            stdout=pipe,
            cwd=_ROOT,
            env=os.environ | few,
            process_group=0,  # Ctrl-C is for the parent, whose end it sees
        )


def to_pixels(source: Path | BinaryIO) -> Pixels:
    """Decode an image file in this process, upright, as (H, W, 3) uint8 RGB.

    Raises:
        BadImage: it is not an image we take, or is damaged; says why, not which.
    """
    try:
        with Image.open(source, formats=FORMATS) as file:
            return np.array(ImageOps.exif_transpose(file).convert("RGB"))
    except FileNotFoundError as error:
        raise BadImage("there is no such file") from error
    except UnidentifiedImageError as error:
        raise BadImage(f"it is none of {', '.join(FORMATS)}, or damaged") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadImage(str(error)) from error


def main(requests: BinaryIO, replies: BinaryIO, memory_bytes: int) -> None:
    """Serve requests until the parent closes the pipe."""
    with suppress(ValueError, OSError):  # where the system can
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    warnings.simplefilter("ignore")  # such as on damaged EXIF, which does no harm
    while head := requests.read(_LENGTH.size):
        content = requests.read(_LENGTH.unpack(head)[0])
        try:
            pixels = to_pixels(io.BytesIO(content))
        except Exception as error:  # decoders of hostile bytes raise nearly anything
            text = "it needs too much memory" if isinstance(error, MemoryError) else str(error)
            replies.write(orjson.dumps({"refused": text[:200]}) + b"\n")
        else:
            replies.write(orjson.dumps({"size": pixels.shape[:2]}) + b"\n")
            replies.write(pixels.data)
        replies.flush()


def _ask(child: subprocess.Popen[bytes], content: bytes) -> Pixels:
    """Send a file and take the answer; EOFError: the child died of it."""
    assert child.stdin is not None
    assert isinstance(child.stdout, io.BufferedReader)
    child.stdin.write(_LENGTH.pack(len(content)))
    child.stdin.write(content)
    child.stdin.flush()
    line = child.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer = orjson.loads(line)
    if "refused" in answer:
        raise BadImage(answer["refused"])
    pixels = np.empty((*answer["size"], 3), np.uint8)
    if child.stdout.readinto(pixels.data.cast("B")) != pixels.nbytes:
        raise EOFError
    return pixels


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))
