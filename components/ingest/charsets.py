"""In which encoding texts are that are not UTF-8: what a detector is sure of, or what a person says."""

import codecs
import contextlib
import re
from collections.abc import Collection

from components.shared.errors import CannotRun

# What systems write, in the order in which readings are offered; of encodings that read alike, the first counts.
_USUAL = ("cp437", "cp850", "cp932", "gb18030", "big5", "cp949", "cp866", "cp1251", "cp1252", "cp1250", "cp1253", "cp1254", "cp1256",
          "koi8_r")  # fmt: skip
_SURE = 0.1  # by how much a reading must look less like noise than any other (charset-normalizer's `chaos`, 0 to 1)


def checked(encoding: str) -> str:
    """A name of an encoding, or of none. Raises CannotRun."""
    try:
        return encoding and codecs.lookup(encoding).name
    except LookupError:
        raise CannotRun(f"--name-encoding {encoding!r}: no such encoding; there are {', '.join(_USUAL)} and others") from None


def detected(words: Collection[bytes]) -> str:
    """The encoding in which words that are not ASCII read most like a language, or least like noise; none where two are near."""
    from charset_normalizer import from_bytes

    usual = list(readings(words))
    found = from_bytes(b"\n".join(words), cp_isolation=usual, threshold=1) if usual else []
    by_language = sorted(((match.coherence, match.encoding) for match in found), reverse=True)
    if by_language and by_language[0][0] > 2 * max((coherence for coherence, _ in by_language[1:]), default=0):
        return by_language[0][1]
    # Less is known of a few short names than of a text: what two encodings read equally well is for a person to say.
    by_noise = sorted((match.chaos, match.encoding) for match in found)
    near = [encoding for chaos, encoding in by_noise if chaos < by_noise[0][0] + _SURE]
    return near[0] if len(near) == 1 else ""


def readings(words: Collection[bytes]) -> dict[str, str]:
    """Each usual encoding in which all are letters -> how one looks in it, for each look the first encoding."""
    found: dict[str, str] = {}
    for encoding in _USUAL:
        with contextlib.suppress(UnicodeDecodeError):
            texts = [word.decode(encoding) for word in words]
            if all(re.fullmatch(r"[\w\s!-/:-@[-`{-~]+", text) for text in texts) and texts[0] not in found.values():
                found[encoding] = texts[0][:40]
    return found
