"""What the browser may send to the hot path, typed and bounded."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, Field

from app.records import Draft, State, Work
from mal_core.masks import RLE

STROKES, STROKE_POINTS = 64, 1024  # a request may hold

Corners = tuple[float, float, float, float]
Pixel = Annotated[float, Field(allow_inf_nan=False)]


class StrokeBody(BaseModel):
    """A brush stroke in pixels of the upright image: a disc swept along points."""

    adds: bool
    radius: float = Field(gt=0, le=1024, allow_inf_nan=False)
    points: list[tuple[Pixel, Pixel]] = Field(min_length=1, max_length=STROKE_POINTS)


class ProposeBody(BaseModel):
    """A box that asks for its mask; with strokes, an instance whose mask they correct."""

    image_id: int
    box: Corners
    category_id: int
    request_id: str = Field(default="", max_length=64)
    instance_id: int | None = None
    version: int | None = None
    strokes: list[StrokeBody] = Field(default=[], max_length=STROKES)
    ahead: bool = False  # nobody waits for it: an instance's own box, if the model is free


class SaveBody(BaseModel):
    """What a person wants an instance to be."""

    state: State
    category_id: int
    box: Corners
    rle: dict[str, Any] | None
    reason: str = Field(default="edit", max_length=64)

    def draft(self) -> Draft:
        """The same as a draft, its mask checked."""
        rle = None if self.rle is None else RLE.from_coco(self.rle)
        return Draft(self.state, self.category_id, self.box, rle)


class CreateBody(SaveBody):
    """An instance that a person makes with its mask: a copy, a part, the other side of a race."""

    image_id: int
    request_id: str = Field(min_length=1, max_length=64)
    from_id: int | None = None


class CategoryBody(BaseModel):
    """A new category."""

    project_id: int
    name: str = Field(min_length=1, max_length=100)


_WORK = re.compile(r"(lease|strokes)=(\d{1,9})|(seconds)=(\d{1,9}(?:\.\d{1,20})?)", re.ASCII)
_DAY = 24 * 3600.0


def to_work(header: str) -> Work:
    """What `x-mal-work: lease=3; seconds=4.2; strokes=1` says; a part may be left out.

    A part of another form counts as left out: no mask is refused for what it says of itself.
    """
    found = [_WORK.fullmatch(part.strip()) for part in header.split(";")]
    said = {m[1] or m[3]: float(m[2] or m[4]) for m in found if m is not None}
    strokes = said.get("strokes")
    return Work(
        token=int(said.get("lease", 0)),
        seconds=None if (seconds := said.get("seconds")) is None else min(seconds, _DAY),
        strokes=None if strokes is None else int(strokes),
    )
