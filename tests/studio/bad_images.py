"""Files that pretend to be images, made by code: known traps by hand, the rest by wounds."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from PIL import Image as Pil

NAMES = ("photo.jpg", "../../../etc/passwd.png", "a" * 251 + ".png", "<img src=x onerror=1>.png",
         "a\x00b.png", "..\\..\\x.bmp", "CON.tif", "\u202egnp.exe", " ", "=cmd|' /C calc'!A0.png",
         "\n\r.webp", ".", "photo.png/../../../x.png")  # fmt: skip
WORDS = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def photo(mode: str = "RGB") -> Pil.Image:
    """A small picture with something on it, the same every time."""
    noise = np.random.default_rng(0).integers(0, 60, (48, 64, 3), dtype=np.uint8)
    noise[10:30, 20:50] += 150
    return Pil.fromarray(noise).convert(mode)


def encode(image: Pil.Image, kind: str, **how: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **how)  # type: ignore[arg-type]
    return target.getvalue()


@cache
def sound_images() -> dict[str, bytes]:
    """One of each kind that the studio takes, and of the ways in which each is written."""
    exif = Pil.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a leaf"
    more = [photo("L").convert("RGB"), photo().transpose(Pil.Transpose.ROTATE_180)]
    return {
        "jpeg": encode(photo(), "JPEG", exif=exif),
        "jpeg progressive": encode(photo(), "JPEG", progressive=True),
        "jpeg cmyk": encode(photo("CMYK"), "JPEG"),
        "png": encode(photo(), "PNG"),
        "png alpha": encode(photo("RGBA"), "PNG"),
        "png palette": encode(photo("P"), "PNG", transparency=0),
        "png 16 bits": encode(photo("I;16"), "PNG"),
        "png animated": encode(photo(), "PNG", save_all=True, append_images=more),
        "webp": encode(photo(), "WEBP", exif=exif),
        "webp lossless": encode(photo("RGBA"), "WEBP", lossless=True),
        "webp animated": encode(photo(), "WEBP", save_all=True, append_images=more),
        "bmp": encode(photo(), "BMP"),
        "bmp palette": encode(photo("P"), "BMP"),
        "tiff": encode(photo(), "TIFF"),
        "tiff lzw": encode(photo(), "TIFF", compression="tiff_lzw"),
        "tiff jpeg": encode(photo(), "TIFF", compression="jpeg"),
        "tiff deflate": encode(photo("L"), "TIFF", compression="tiff_deflate"),
        "tiff floats": encode(photo("F"), "TIFF"),
        "tiff frames": encode(photo(), "TIFF", save_all=True, append_images=more),
    }


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    check = zlib.crc32(kind + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + kind + data + check


def png(width: int, height: int, *extra: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that says it is of this size, with hardly a pixel in it."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(bytes(100)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body) + chunk(b"IEND", b"")


def tiff(*entries: tuple[int, int, int, int], onward: int = 0, tail: bytes = b"") -> bytes:
    """A TIFF of these entries: tag, type, count, value or place."""
    known = {tag for tag, *_ in entries}
    usual = ((256, 3, 1, 9), (257, 3, 1, 9), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
             (273, 4, 1, 8), (278, 3, 1, 9), (279, 4, 1, 81))  # fmt: skip
    rows = sorted([*entries, *(row for row in usual if row[0] not in known)])
    directory = b"".join(struct.pack("<HHII", *row) for row in rows)
    size = struct.pack("<H", len(rows))
    return b"II*\0\x08\0\0\0" + size + directory + struct.pack("<I", onward) + tail


def many_directories(count: int) -> bytes:
    """A TIFF of so many frames, a hundred bytes each."""
    one = tiff()[8:-4]
    ends = [8 + (len(one) + 4) * number for number in range(1, count)]
    return tiff()[:8] + b"".join(one + struct.pack("<I", end) for end in [*ends, 0])


def many_scans(side: int, count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: a little file, much work."""
    data = encode(Pil.new("RGB", (side, side), (9, 9, 9)), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + b"\xff\xd9"


def with_exif(data: bytes) -> bytes:
    """A sound JPEG with this as its EXIF."""
    return encode(photo(), "JPEG", exif=b"Exif\0\0" + data)


def pretenders() -> dict[str, bytes]:
    """Files of other kinds."""
    return {
        "nothing": b"",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(x) run\nshowpage\n",
        "eps with a head": b"\xc5\xd0\xd3\xc6" + struct.pack("<6I", 30, 60, 0, 0, 0, 0) + b"%!PS",
        "html": b"<html><script>alert(1)</script></html>",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "pdf": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/Launch>>>>endobj",
        "gif": encode(photo("P"), "GIF"),
        "icon": encode(photo(), "ICO"),
        "heic": b"\0\0\0\x18ftypheic" + bytes(99),
        "elf": b"\x7fELF" + bytes(200),
        "noise": random.Random(1).randbytes(5000),
    }


@cache
def crafted() -> dict[str, bytes]:
    """Known traps."""
    jpeg, bmp = encode(photo(), "JPEG"), encode(photo(), "BMP")
    frame = jpeg.index(b"\xff\xc0")
    return {
        **pretenders(),
        "png 0 x 9": png(0, 9),
        "png 9 x 0": png(9, 0),
        "png 2^31": png(2**31 - 1, 2**31 - 1),
        "png negative": png(2**32 - 1, 5),
        "png 169 megapixels": png(13000, 13000),
        "png 119 megapixels without them": png(16384, 7300),
        "png of a long side": png(16385, 1),
        "png of an odd depth": png(9, 9, depth=3),
        "png of no colour type": png(9, 9, colour=5),
        "png text bomb": png(9, 9, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**7), 1))),
        "png profile bomb": png(9, 9, chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(10**7), 1))),
        "png of small parts": png(9, 9, chunk(b"tEXt", b"k\0v") * 5000),
        "png of a part without end": b"\x89PNG\r\n\x1a\n" + b"\xff\xff\xff\xffIHDR" + bytes(99),
        "png pixel bomb": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2,
                          0, 0, 0)) + chunk(b"IDAT", zlib.compress(bytes(10**7))),
        "jpeg 65535 x 65535": jpeg[: frame + 5] + b"\xff\xff\xff\xff" + jpeg[frame + 9 :],
        "jpeg 0 x 64": jpeg[: frame + 5] + b"\0\0" + jpeg[frame + 7 :],
        "jpeg of 16384 x 7000": jpeg[: frame + 5] + struct.pack(">HH", 7000, 16384)
                                + jpeg[frame + 9 :],
        "jpeg of a thousand scans": many_scans(2000, 1000),
        "bmp 2^31": bmp[:18] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + bmp[26:],
        "bmp 0 x 0": bmp[:18] + bytes(8) + bmp[26:],
        "bmp negative": bmp[:18] + struct.pack("<ii", -5, -(2**31)) + bmp[26:],
        "bmp with a far start": bmp[:10] + b"\xff\xff\xff\xff" + bmp[14:],
        "webp of a long part": b"RIFF\xff\xff\xff\xffWEBPVP8L\xff\xff\xff\xff/" + bytes(50),
        "webp 16384 x 16384": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2,
        "tiff 2^32": tiff((256, 4, 1, 2**32 - 1), (257, 4, 1, 2**32 - 1)),
        "tiff 0 x 9": tiff((256, 3, 1, 0)),
        "tiff 119 megapixels without them": tiff((256, 4, 1, 16384), (257, 4, 1, 7300)),
        "tiff whose next frame is itself": tiff(onward=8),
        "tiff of a strip beyond the end": tiff((273, 4, 1, 2**31)),
        "tiff of four billion strips": tiff((273, 4, 2**32 - 1, 8), (279, 4, 2**32 - 1, 8)),
        "tiff of tiles of nothing": tiff((322, 3, 1, 0), (323, 3, 1, 0), (324, 4, 1, 8)),
        "tiff of 65535 samples": tiff((277, 3, 1, 65535)),
        "tiff of an unknown code": tiff((259, 3, 1, 34712)),
        "tiff of 20,000 frames": many_directories(20_000),
        "tiff of nan": encode(Pil.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"),
        "tiff of infinities": encode(Pil.fromarray(np.full((9, 9), np.inf, np.float32)), "TIFF"),
        "exif without end": with_exif(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x08\0"),
        "exif in a circle": with_exif(b"II*\0\x08\0\0\0\0\0\x08\0\0\0"),
        "exif of orientation 99": with_exif(
            b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0"
        ),
        "exif of noise": with_exif(random.Random(2).randbytes(60_000)),
    }  # fmt: skip


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.choice([chance.randrange(64), chance.randrange(len(data))])]


def flip(data: bytes, chance: random.Random) -> bytes:
    """One bit or many are turned, most of them near the head."""
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 3, 30])):
        place = chance.randrange(chance.choice([len(data), min(len(data), 200)]))
        changed[place] ^= 1 << chance.randrange(8)
    return bytes(changed)


def overwrite(data: bytes, chance: random.Random) -> bytes:
    """A word of the head becomes an extreme one: sizes, counts, places."""
    place = chance.randrange(min(len(data), 250))
    order, wide = chance.choice("<>"), chance.random() < 0.5
    word = chance.choice(WORDS)
    packed = struct.pack(f"{order}{'I' if wide else 'H'}", word if wide else word & 0xFFFF)
    return data[:place] + packed + data[place + len(packed) :]


def resize(data: bytes, chance: random.Random) -> bytes:
    """A PNG's size becomes another, with a check that is right."""
    if not data.startswith(b"\x89PNG"):
        return overwrite(data, chance)
    size = struct.pack(">II", chance.choice(WORDS), chance.choice(WORDS))
    return data[:8] + chunk(b"IHDR", size + data[24:29]) + data[33:]


def drop(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.randrange(1, 100) :]


def graft(data: bytes, chance: random.Random) -> bytes:
    """The head of one kind on the body of another."""
    other = chance.choice(list(sound_images().values()))
    at = chance.randrange(4, 120)
    return other[:at] + data[at:]


WOUNDS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(cut, cut, flip, flip, overwrite, overwrite, resize, drop, graft),
)


def bad_images(seed: str) -> Iterator[tuple[str, str, bytes]]:
    """Without end: what it is, what it calls itself, and its bytes; some happen to be sound."""
    chance = random.Random(seed)
    for kind, data in crafted().items():
        yield kind, chance.choice(NAMES), data
    sound = sound_images()
    while True:
        kind = chance.choice(list(sound))
        wound = chance.choice(WOUNDS)
        yield f"{wound.__name__} {kind}", chance.choice(NAMES), wound(sound[kind], chance)
