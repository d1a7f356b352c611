"""The Mask Auto-Labeler: a box-cropped image in, the object's mask out."""
