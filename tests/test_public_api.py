"""What others may build on; a change here is a change for them."""

import inspect
from dataclasses import fields

from mal_core import checkpoint, coco, errors, geometry, masks
from mal_core.evaluate import Figures
from mal_core.predictor import Prediction, Predictor


def names(thing: object) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


def test_the_predictor_is_called_as_documented() -> None:
    load = inspect.signature(Predictor.load).parameters
    assert list(load) == ["path", "device", "refine", "backend"]
    predict = inspect.signature(Predictor.predict).parameters
    assert list(predict) == ["self", "image", "boxes", "strokes", "current"]
    assert predict["strokes"].default is None
    assert {"masks", "scores", "rle", "flagged"} <= names(Prediction)


def test_the_figures_of_an_evaluation_have_fixed_names() -> None:
    assert [field.name for field in fields(Figures)] == [
        *("n", "instance_iou", "class_iou", "boundary_iou", "small", "medium", "large"),
        *("jittered_iou", "box_iou", "seconds_per_box"),
    ]


def test_every_error_a_user_can_cause_is_a_mal_error() -> None:
    kinds = [
        k for k in vars(errors).values() if isinstance(k, type) and k.__module__ == errors.__name__
    ]
    assert all(issubclass(kind, errors.MALError) for kind in kinds)


def test_the_borders_keep_their_functions() -> None:
    assert {"load", "save", "file_sha256", "Checkpoint"} <= names(checkpoint)
    assert {"read", "write", "save", "Dataset", "Annotation"} <= names(coco)
    assert {"RLE", "encode", "decode", "decode_crop", "iou"} <= names(masks)
    assert {"Crop", "check_boxes", "box_to_rect"} <= names(geometry)
