"""Dataset health: what is likely to be wrong with a project's images and instances.

limits     what counts as a finding, in numbers and in words
shapes     one mask by itself: size, box, parts
pairs      two masks of one image
likeness   images that look alike
check      goes through a project and sums up
"""

from app.health.check import Found, Health, Report
from app.health.limits import TITLES, Kind, Limits, rules

__all__ = ["TITLES", "Found", "Health", "Kind", "Limits", "Report", "rules"]
