"""What to do when memory runs short: the same work in smaller portions."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch

from mal_core.errors import TrainingError

# torch says of the CPU's memory only by text that there is no more of it.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory")
Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, on a GPU or here."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(w in str(error).lower() for w in _WORDS)


class Portions:
    """How many crops are computed at a time: halved whenever memory runs short.

    Attributes:
        size: crops at a time, 1 or more.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._notices: list[str] = []

    def run(self, work: Callable[[int], Answer]) -> Answer:
        """Do some work, again with half as many crops at a time as long as memory runs short.

        Args:
            work: gets the crops to compute at a time; begins anew whenever it is called.

        Raises:
            TrainingError: there is no memory even for one.
        """
        while True:
            try:
                return work(self.size)
            except Exception as error:
                if not is_shortage(error):
                    raise
                self._halve(error)
            # Only here, when the error and the tensors that it holds are gone.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def tell(self) -> Iterator[Mapping[str, Any]]:
        """Yield "notice" {text} for each halving that was not told yet."""
        texts, self._notices = self._notices, []
        yield from ({"event": "notice", "text": text} for text in texts)

    def _halve(self, error: Exception) -> None:
        log.warning("memory is short: %s", error)
        if self.size <= 1:
            raise TrainingError(
                "there is not enough memory for one crop: close other programs, or use a machine "
                "with more memory"
            ) from error
        self.size //= 2
        self._notices.append(f"memory was short: crops are computed {self.size} at a time")
