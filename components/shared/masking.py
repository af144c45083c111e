"""Secrets taken out of a text that a person or a log will see."""

import re

# A password may hold a slash, which a database's driver does not mind; a port is none.
_USER = re.compile(r"([A-Za-z][\w+.-]*://)(?:[^/\s:@'\"]*:(?!\d+/)[^\s'\"]*@|[^/\s'\"]*@)")
_NAMES = "token|secret|password|passwd|signature|credential|api[_-]?key"
_VALUE = re.compile(rf"(?i)((?<!\w)(?:[\w-]{{0,40}}(?:{_NAMES})[\w-]{{0,40}}|sig)=)[^&\s'\"]+")
_BEARER = re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{8,}")


def masked(text: str) -> str:
    """The text without users and passwords in addresses, without values that are named like secrets, without bearer tokens."""
    return _BEARER.sub(r"\1***", _VALUE.sub(r"\1***", _USER.sub(r"\1***@", text)))
