"""What programs send to /mal/v1/ and get from it: typed, bounded, and documented by OpenAPI.

Server and client read the same classes. Boxes are (x0, y0, x1, y1) in pixels of the upright image,
half-open; masks are COCO run-length codes of the whole image.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.bodies import Corners
from app.records import JobState, ModelState, Split, State
from mal_core.masks import RLE

BOXES_MAX = 10_000  # a request may hold
Name = Annotated[str, Field(min_length=1, max_length=200)]
RequestId = Annotated[
    str,
    Field(
        max_length=64,
        description="a name of your choice; asked again under it, the answer is that of the first",
    ),
]


class Wire(BaseModel):
    """The root: reads what the studio's own records hold."""

    model_config = ConfigDict(from_attributes=True, protected_namespaces=())


class NewProject(Wire):
    """A project to be made."""

    name: Name
    categories: list[Name] = Field(default=["object"], max_length=1000)


class Project(Wire):
    """A set of images and categories labelled together."""

    id: int
    name: str
    model_id: int = Field(description="the model version that proposes its masks")
    created_at: datetime


class Projects(Wire):
    """The projects you have a role in, oldest first."""

    projects: list[Project]


class NewCategory(Wire):
    """A category to be made, or found by its name whatever its case."""

    name: Annotated[str, Field(min_length=1, max_length=100)]


class Category(Wire):
    """A class of objects; `number` is its COCO id."""

    id: int
    number: int
    name: str
    color: str


class Categories(Wire):
    """The categories of a project, by number."""

    categories: list[Category]


class Image(Wire):
    """One image, upright; `number` is its COCO id."""

    id: int
    project_id: int
    number: int
    file_name: str
    width: int
    height: int
    split: Split | None = Field(description="what training may use it for, once that is decided")
    notice: str = Field(description="what intake changed")


class CountedImage(Image):
    """An image with the number of its instances in each state."""

    counts: dict[State, int]


class Images(Wire):
    """The images of a project, by number."""

    images: list[CountedImage]


class Upload(Wire):
    """What became of an upload: the images, new or known, and a line for each file left out."""

    images: list[Image]
    added: int = Field(description="how many of the images are new to the project")
    problems: list[str]


class ImportReport(Wire):
    """What an import brought, or would bring."""

    n_images: int
    n_new_images: int
    n_masks: int
    n_boxes: int
    n_filled: int
    n_known: int
    n_crowds: int
    conflicts: list[str]
    unmatched: list[str]
    left_out: list[str]
    problems: list[str]


class NewBox(Wire):
    """A box of a category."""

    box: Corners
    category_id: int


class NewBoxes(Wire):
    """Boxes to be added to an image, all of them or none."""

    boxes: list[NewBox] = Field(min_length=1, max_length=BOXES_MAX)
    request_id: RequestId = ""


class NewProposal(NewBox):
    """A box whose mask is wanted now."""

    request_id: RequestId = ""


class Save(Wire):
    """What an instance is to become."""

    state: State
    category_id: int
    box: Corners
    rle: dict[str, Any] | None = Field(description="COCO run-length code of the whole image")
    reason: str = Field(default="edit", max_length=64)


class Judgement(Wire):
    """A person's word on a mask: right, none, or to be mended, with a comment that says how."""

    verdict: Literal["accept", "reject", "flag"]
    comment: str = Field(default="", max_length=8000)


class Instance(Wire):
    """One object of an image at its newest version."""

    id: int
    image_id: int
    number: int
    version: int = Field(description="to be sent as If-Match with a change")
    state: State
    category_id: int
    box: Corners
    rle: dict[str, Any] | None = Field(description="None: a box still without a mask")
    score: float | None = Field(description="the IoU that the model expects")
    flagged: bool = Field(description="the model's mask looks suspicious")
    model_id: int | None
    person: str
    reason: str
    saved_at: datetime

    @property
    def mask(self) -> RLE | None:
        """The mask, checked; `mal_core.masks.decode` turns it into pixels.

        Raises:
            BadMask: the code is not one mask.
        """
        return None if self.rle is None else RLE.from_coco(self.rle)


class Instances(Wire):
    """The instances of an image, by number."""

    instances: list[Instance]


class FormatInfo(Wire):
    """One format of the registry."""

    name: str
    title: str
    exact: bool = Field(description="each mask comes back pixel for pixel")
    loses: str = Field(description="what the format has no room for")


class Formats(Wire):
    """Every format that exports take; imports take them, too."""

    formats: list[FormatInfo]


class NewExport(Wire):
    """A zip to be made."""

    format: str = Field(default="coco", max_length=40)
    include_proposals: bool = False
    include_images: bool = False


class Export(Wire):
    """A zip that was read back and compared with the store."""

    name: str = Field(description="under which it is downloaded")
    format: str
    n_images: int
    n_categories: int
    n_annotations: int
    n_compared: int
    n_exact: int
    min_iou: float
    mean_iou: float
    loses: str
    changed: list[str]
    left_out: list[str]


class NewTraining(Wire):
    """A fine-tune to be started."""

    boxes_do: bool = Field(
        default=False, description="boxes without a reviewed mask are enough to learn from"
    )


class Verdict(Wire):
    """Your word on new weights that the gate could not judge."""

    use: bool


class Job(Wire):
    """A piece of long work."""

    id: int
    project_id: int
    kind: str
    state: JobState
    wish: Literal["go", "pause", "stop"]
    progress: dict[str, Any]
    result: dict[str, Any]
    error: str
    created_at: datetime
    ended_at: datetime | None


class Jobs(Wire):
    """The jobs of a project, the newest first."""

    jobs: list[Job]


class Model(Wire):
    """A checkpoint the studio knows."""

    id: int
    project_id: int | None = Field(description="None: came with the studio")
    parent_id: int | None
    job_id: int | None
    name: str
    sha256: str
    state: ModelState
    figures: dict[str, Any]
    notes: str
    created_at: datetime


class Models(Wire):
    """The model versions a project may use, and the one that proposes now."""

    in_use: int
    models: list[Model]


class SomeImages(Wire):
    """Images to be given to somebody, or taken from them."""

    image_ids: list[int] = Field(min_length=1, max_length=BOXES_MAX)
    person: Name


class NewDeal(Wire):
    """Images that are nobody's, to be dealt out evenly."""

    people: list[Name] = Field(min_length=1, max_length=1000)
    share: float = Field(
        default=0.0, ge=0, le=1, description="of the images, that two people annotate blind"
    )


class Dealt(Wire):
    """What came of giving images to people, or of taking them back."""

    given: int = Field(description="assignments that changed")
    refused: list[str] = Field(description="a line for each image with which it cannot be done")


class DoneWord(Wire):
    """Your word on an image of yours."""

    is_done: bool = True


class Assignment(Wire):
    """An image that somebody is to do; several annotate it blind."""

    image_id: int
    person: str
    assigned_by: str
    assigned_at: datetime
    done_at: datetime | None


class Assignments(Wire):
    """Who is to do which images, by image and person."""

    assignments: list[Assignment]


class Agreement(Wire):
    """How far two people agree, on images that both annotated blind; None: nothing to go by."""

    first: str
    second: str
    images: int
    matched: int = Field(description="objects that both found")
    first_only: int
    second_only: int
    f1: float | None
    iou: float | None = Field(description="mean over the matched")
    boundary_iou: float | None
    quality: float | None = Field(description="panoptic quality")
    kappa: float | None = Field(description="Cohen's, of the categories of the matched")


class Agreements(Wire):
    """Every two people who are done with one image."""

    pairs: list[Agreement]


class ErrorBody(Wire):
    """What went wrong."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(description="for programs")
    message: str = Field(description="for people")


class Failure(Wire):
    """The one form of every error."""

    error: ErrorBody
