"""The child process that decodes uploads: `python -m app.images.decode MAX_PIXELS`.

It reads one JSON object a line, {"source": path, "folder": path}, writes raster and thumb.jpg into
the folder, and answers one JSON object a line. It runs with little memory and may die: the parent
refuses that file and starts another child. It is a program of its own rather than a multiprocessing
worker, which would import the parent's main module, and with it torch and Gradio.
"""

import resource
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
from PIL import Image, ImageOps, UnidentifiedImageError

from mal_core.errors import BadImage
from mal_core.masks import MAX_SIDE

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_MEMORY_BYTES = 5 * 2**29  # 2.5 GiB; 120 megapixels with alpha, turned, were seen to need 2.0
_THUMBNAIL = 160
_CHUNK = 1 << 20  # bytes read at a time
_BLOCK = 256  # rows scaled at a time
_FRAMES_COUNTED = 100  # of a TIFF, whose frames are found one through the other
_SCANNED = 2**31  # pixels times passes over them: 16 passes over the largest image, 170 over 12 MP
_PIXELS_A_BYTE = 512  # a bit a block of 8 x 8: no whole JPEG says less
_KINDS = (
    (b"%!PS", "an EPS or PostScript drawing"),
    (b"\xc5\xd0\xd3\xc6", "an EPS drawing"),
    (b"%PDF", "a PDF document"),
    (b"GIF8", "a GIF"),
    (b"PK\x03\x04", "a zip archive"),
    (b"<svg", "an SVG drawing"),
    (b"\xff\xd8", "a damaged JPEG"),
    (b"\x89PNG", "a damaged PNG"),
    (b"RIFF", "a damaged WEBP"),
    (b"BM", "a damaged BMP"),
    (b"II*\x00", "a damaged TIFF"),
    (b"MM\x00*", "a damaged TIFF"),
)


def main(requests: BinaryIO, replies: BinaryIO, max_pixels: int) -> None:
    """Serve requests until the parent closes the pipe."""
    _limit()
    for line in requests:
        request = orjson.loads(line)
        reply = answer(Path(request["source"]), Path(request["folder"]), max_pixels)
        replies.write(orjson.dumps(reply) + b"\n")
        replies.flush()


def decode(source: Path, max_pixels: int) -> tuple[Image.Image, str, str]:
    """Decode the first frame of a file to an upright RGB image.

    Returns:
        The image, the extension it should be stored under, and what was changed on the way.

    Raises:
        BadImage: the file is not one of FORMATS, is damaged, or has too many pixels.
    """
    try:
        with Image.open(source, formats=FORMATS) as file:
            _check_size(*file.size, max_pixels)
            if file.format in ("JPEG", "MPO"):
                _check_jpeg(source, *file.size)
            notices = [_count_frames(file)]
            file.load()
            ImageOps.exif_transpose(file, in_place=True)
            extension = "jpg" if _is_lossy(file, source) else "png"
            image, notice = _to_rgb(file)
    except UnidentifiedImageError as error:
        raise BadImage(f"is {_kind(source)}, not one of {', '.join(FORMATS)}") from error
    image.info = {}
    return image, extension, "; ".join(filter(None, [*notices, notice]))


def _limit() -> None:
    """Give this process little memory and no core dumps, where the system can."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked first, with a clearer text
    warnings.simplefilter("ignore")  # such as on damaged EXIF, which does no harm


def answer(source: Path, folder: Path, max_pixels: int) -> dict[str, Any]:
    """Decode and store; anything that a hostile file can raise becomes a text."""
    try:
        image, extension, notice = decode(source, max_pixels)
    except BadImage as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": "needs more memory to decode than an image of its size should"}
    except Exception as error:  # decoders of hostile bytes raise nearly anything
        return {"refused": f"could not be decoded: it is cut off or damaged ({error!s:.120})"}
    try:
        _save(image, extension, folder)
    except OSError as error:
        return {"fault": [error.errno, error.strerror or str(error)]}
    return {
        "extension": extension,
        "width": image.width,
        "height": image.height,
        "notice": notice,
    }


def _save(image: Image.Image, extension: str, folder: Path) -> None:
    """Write raster and thumb.jpg; a JPEG keeps its full colour resolution."""
    if extension == "jpg":
        image.save(folder / "raster", "JPEG", quality=95, subsampling=0)
    else:
        image.save(folder / "raster", "PNG", compress_level=2)
    small = image.resize(_fit(image.size), Image.Resampling.BOX, reducing_gap=2.0)
    small.save(folder / "thumb.jpg", "JPEG", quality=85)


def _fit(size: tuple[int, int]) -> tuple[int, int]:
    """Shrink (width, height) into the thumbnail's square; never grow it."""
    scale = min(1.0, _THUMBNAIL / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise BadImage(
            f"has {width} x {height} = {width * height:,} pixels; the limit is {max_pixels:,}:"
            " shrink it or cut it into tiles"
        )
    if max(width, height) > MAX_SIDE:
        raise BadImage(
            f"has {width} x {height} pixels; no side may be longer than {MAX_SIDE:,}: shrink it or"
            " cut it into tiles"
        )


def _check_jpeg(source: Path, width: int, height: int) -> None:
    """Refuse a JPEG that is little on disk and much work, or much grey, for its decoder."""
    pixels, size, scans, tail = width * height, 0, 0, b""
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            scans += (tail + chunk).count(b"\xff\xda")  # in the data an FF has a zero behind it
            size, tail = size + len(chunk), chunk[-1:]
    if pixels > size * _PIXELS_A_BYTE:
        raise BadImage(
            f"has {size:,} bytes for {width} x {height} pixels: it is cut off or damaged"
        )
    if pixels * scans > _SCANNED:
        raise BadImage(f"goes {scans:,} times over its pixels: save it again, not progressively")


def _count_frames(file: Image.Image) -> str:
    if file.format != "TIFF":
        count = getattr(file, "n_frames", 1)
        return f"only the first of {count} frames was taken" if count > 1 else ""
    count = 1
    with suppress(EOFError):
        while count <= _FRAMES_COUNTED:
            file.seek(count)
            count += 1
    file.seek(0)
    told = f"more than {_FRAMES_COUNTED}" if count > _FRAMES_COUNTED else str(count)
    return f"only the first of {told} frames was taken" if count > 1 else ""


def _is_lossy(file: Image.Image, source: Path) -> bool:
    """Whether the pixels went through a lossy code already, so that a good JPEG adds little."""
    if file.format == "WEBP":
        return b"VP8L" not in source.read_bytes()
    return file.format in ("JPEG", "MPO")


def _to_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """Convert any mode to RGB, and say so where it changes what a person sees."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _scale(image)
    if image.has_transparency_data:
        return _flatten(image.convert("RGBA"))
    notice = f"{image.mode} colours were converted to RGB" if image.mode == "CMYK" else ""
    return image.convert("RGB"), notice


def _scale(image: Image.Image) -> tuple[Image.Image, str]:
    """Scale whole or floating values to 0..255 by the range they span; what is not finite is 0."""
    values = np.asarray(image)  # (H, W)
    finite = np.isfinite(values)
    if not finite.any():
        raise BadImage("holds no finite value")
    low, high = float(values[finite].min()), float(values[finite].max())
    grey = np.zeros(values.shape, np.uint8)
    for top in range(0, values.shape[0], _BLOCK):
        rows = slice(top, top + _BLOCK)
        block = (values[rows].astype(np.float64) - low) * (255 / ((high - low) or 1.0))
        grey[rows] = np.where(finite[rows], block, 0).round()
    notice = f"values from {low:g} to {high:g} were scaled to 0 to 255"
    return Image.fromarray(grey).convert("RGB"), notice


def _flatten(image: Image.Image) -> tuple[Image.Image, str]:
    """Put an RGBA image on white."""
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert("RGB"), ""
    page = Image.new("RGB", image.size, "white")
    page.paste(image.convert("RGB"), mask=alpha)
    return page, "transparent parts were put on white"


def _kind(source: Path) -> str:
    """Say what a file that is no image of ours seems to be."""
    with source.open("rb") as file:
        head = file.read(4096)
    if not head:
        return "an empty file"
    for magic, kind in _KINDS:
        if head.lstrip().startswith(magic):
            return kind
    if head[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file"
    return "a text file" if head.isascii() and b"\0" not in head else "an unknown kind of file"


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))
