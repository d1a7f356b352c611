"""From an upload to a stored raster, and back to pixels.

What a person sends is hostile until proven otherwise: a child process with little memory decodes
it (app.images.decode), and only what that re-encodes is kept, under the hash of its own bytes.
"""

from app.images.content import compare, files_below
from app.images.intake import Intake, clean_name
from app.images.pyramid import Pyramids, Tile
from app.images.rasters import (
    load_image,
    open_thumbnail,
    path_of,
    raster_name,
    read_size,
    thumbnail_name,
    thumbnail_path,
)
from app.images.unpack import SUFFIXES, Expanded, Found, expand
from app.images.vault import Vault, open_vault

__all__ = [
    "SUFFIXES",
    "Expanded",
    "Found",
    "Intake",
    "Pyramids",
    "Tile",
    "Vault",
    "clean_name",
    "compare",
    "expand",
    "files_below",
    "load_image",
    "open_thumbnail",
    "open_vault",
    "path_of",
    "raster_name",
    "read_size",
    "thumbnail_name",
    "thumbnail_path",
]
