"""Which samples are known already: 16 bytes for each, so that ten million take 160 MB."""

import hashlib
from collections.abc import Iterable

import numpy as np

SIZE = 16  # bytes of a digest


class Known:
    """What `data/` has, in order, as digests; it remembers which of them were seen."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._sorted, self._places = np.unique(np.fromiter(map(_digest, texts), f"S{SIZE}"), return_inverse=True)
        self._seen = np.zeros(len(self._sorted), bool)

    def see(self, text: str) -> bool:
        """Whether it is one of them; from now on it was seen."""
        wanted = _digest(text)
        place = self._sorted.searchsorted(wanted)
        known = place < len(self._sorted) and self._sorted[place] == wanted
        if known:
            self._seen[place] = True
        return known

    @property
    def seen(self) -> np.ndarray:
        """bool (n,): whether each was seen, in the order in which they were given."""
        return self._seen[self._places]


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=SIZE).digest().rstrip(b"\0")  # as NumPy has bytes
