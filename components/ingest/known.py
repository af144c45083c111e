"""Which samples are known already: 16 bytes for each, so that ten million take 160 MB."""

import hashlib
from collections.abc import Iterable

import numpy as np

SIZE = 16  # bytes of a digest


def digest(text: str) -> bytes:
    """What stands for a text."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=SIZE).digest()


def array(digests: Iterable[bytes]) -> np.ndarray:
    """(n,) of 16 bytes each."""
    return np.frombuffer(b"".join(digests), f"S{SIZE}")


class Known:
    """A set of digests that remembers which of them were seen."""

    def __init__(self, digests: np.ndarray) -> None:
        self._order = np.argsort(digests)
        self._sorted = digests[self._order]
        self.seen = np.zeros(len(digests), bool)  # in the order in which they were given

    def see(self, wanted: bytes) -> bool:
        """Whether it is one of them; from now on it was seen."""
        place = self._sorted.searchsorted(wanted)
        bare, known = wanted.rstrip(b"\0"), False  # as NumPy gives bytes back
        while place < len(self._sorted) and self._sorted[place] == bare:
            self.seen[self._order[place]] = known = True
            place += 1
        return known


class Seen:
    """A growing list of digests, in which those that come twice are found in the end."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        return len(self._bytes) // SIZE

    def add(self, digest: bytes) -> None:
        """One more."""
        self._bytes += digest

    def twice(self) -> set[bytes]:
        """Those that were added more than once."""
        values = np.sort(np.frombuffer(bytes(self._bytes), f"S{SIZE}"))
        return {bytes(value).ljust(SIZE, b"\0") for value in values[1:][values[1:] == values[:-1]]}
