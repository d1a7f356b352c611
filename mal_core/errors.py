"""Everything a user of mal_core can cause, as one tree.

MALError
├── InputError         what came in cannot be used; nothing was changed
│   ├── BadBox         a box that is not finite, or holds no pixel of the image
│   ├── BadImage       an array or file that is not an RGB image
│   ├── BadMask        a run-length code that is not one mask of its size
│   └── BadDataset     a COCO file that breaks the format, with a line for each problem
├── CheckpointError    a weights file that is not one of ours, whole
├── BackendError       ONNX Runtime, or a network exported for it, cannot be used
└── TrainingError      a run that cannot start or go on
"""


class MALError(Exception):
    """The root: what a user can cause and can mend; its text is meant to be shown."""


class InputError(MALError):
    """What came in cannot be used; nothing was changed."""


class BadBox(InputError):  # noqa: N818
    """A box that is not finite, not ordered, or holds no pixel of the image."""


class BadImage(InputError):  # noqa: N818
    """An array or file that is not an image we take."""


class BadMask(InputError):  # noqa: N818
    """A run-length code that is not exactly one mask of its size."""


class BadDataset(InputError):  # noqa: N818
    """A COCO file that breaks the format.

    Attributes:
        problems: one line for each, the first 100 of them.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems[:100]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more}")


class CheckpointError(MALError):
    """A weights file that is missing, damaged, or not one of ours."""


class BackendError(MALError):
    """ONNX Runtime is not here, or an exported network is damaged, another's, or answers wrong."""


class TrainingError(MALError):
    """A training run that cannot start or go on."""
