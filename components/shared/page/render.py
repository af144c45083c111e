"""A template and values in, one whole HTML page out."""

import base64
import hashlib
import re
from pathlib import Path

from components.shared import screen

HERE = Path(__file__).parent
# Nothing is fetched and no strange script runs, whatever got into the page. Pictures are in it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_ROWS = 600  # of one table: a page of ten thousand classes would not open


def render(template: Path, *, server: bool = False, **values: object) -> str:
    """Fill in a template that extends `base.html`. Every value is escaped; `| plain` also spells out what cannot be seen.

    A script runs only if it stands in the template itself, word for word; it may ask the page's `server`, where there is one.
    """
    import jinja2

    own = re.findall(r"<script>(.*?)</script>", template.read_text(encoding="utf-8"), re.S)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in own]
    policy = _POLICY + (f"; script-src {' '.join(hashes)}" if own else "") + ("; connect-src 'self'" if server else "")

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, HERE]), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {"plain": lambda value: plain(str(value)), "number": screen.number}
    return environment.get_template(template.name).render(**values, policy=policy)


def plain(text: str) -> str:
    """Control characters, bad bytes and what turns the direction of writing become escapes; other letters stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def picture(content: bytes) -> str:
    """PNG, WebP or JPEG bytes as an address that needs no file; empty for none."""
    kind = "png" if content.startswith(b"\x89PNG") else "webp" if content.startswith(b"RIFF") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}" if content else ""


def tables(title: str, rows: dict[str, list[dict]], pictures: dict[str, bytes]) -> str:
    """A page of tables (name -> rows, each column -> value) and pictures (name -> PNG or JPEG bytes)."""
    shown = {name: picture(content) for name, content in pictures.items()}
    return render(HERE / "tables.html", title=title, tables=rows, pictures=shown, shown=_ROWS)
