"""The console, the SDK and an app's page: files that are read once and served from memory."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from hashlib import blake2b
from http import HTTPStatus
from pathlib import Path
from typing import Final

from attrs import field, frozen

from bargein.gateway.page import HTML, Page, Reader

_HERE: Final = Path(__file__).resolve()  # a checkout may be reached through the links in .dev
CONSOLE: Final = _HERE.parent / "console"
SDK: Final = _HERE.parents[1] / "sdk" / "javascript" / "src"
"""In a checkout and in an installed wheel alike: the wheel keeps the folders of the checkout."""

CONSOLE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing inline and nothing of anybody else's; the WebSocket of this origin is `'self'`, too."""

_KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": HTML,
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_TAG_BYTES: Final = 16

# Kept by browsers and asked for each time: a page and its modules are of one version.
_COMMON: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-cache"),
    ("Vary", "Accept-Encoding"),
)
_ENTRY: Final = (
    ("Content-Security-Policy", CONSOLE_POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_PART: Final = (
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
# The code is public, and no cookie goes with it; a page of another origin may import it.
_PUBLIC: Final = (
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Access-Control-Allow-Origin", "*"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)


@frozen
class _Form:
    """One way in which a file is sent.

    Attributes:
        tag: Its strong ETag: equal tags, equal bytes.
        described: The headers that come with the bytes only.
    """

    body: bytes
    tag: str
    described: tuple[tuple[str, str], ...]


@frozen
class Asset:
    """A file in memory, plain and, where that is shorter, compressed."""

    _headers: tuple[tuple[str, str], ...]
    _plain: _Form
    _zipped: _Form | None

    @classmethod
    def of(cls, path: Path, headers: tuple[tuple[str, str], ...]) -> Asset:
        """Read a file, and note how it is to be sent.

        Raises:
            OSError: If it can't be read; the installation is broken.
        """
        body = path.read_bytes()
        kind = ("Content-Type", _KINDS[path.suffix])
        digest = blake2b(body, digest_size=_TAG_BYTES).hexdigest()
        plain = _Form(body, f'"{digest}"', (kind,))
        shorter = gzip.compress(body, mtime=0)
        if len(shorter) >= len(body):
            return cls((*_COMMON, *headers), plain, None)
        zipped = _Form(shorter, f'"{digest}-gzip"', (kind, ("Content-Encoding", "gzip")))
        return cls((*_COMMON, *headers), plain, zipped)

    def page(self, reader: Reader) -> Page:
        """Answer with the bytes, or with 304 where the reader has them."""
        form = self._plain
        if self._zipped is not None and reader.takes_gzip:
            form = self._zipped
        headers = (*self._headers, ("ETag", form.tag))
        if reader.has(form.tag):
            return Page(HTTPStatus.NOT_MODIFIED, b"", headers)
        return Page(HTTPStatus.OK, form.body, (*form.described, *headers))


@frozen
class Site:
    """The files that are served, each under its path.  Lives as long as the process.

    What is not in the list is not there, however a path is spelled: no path is ever looked up on
    the disk.
    """

    assets: dict[str, Asset] = field(factory=dict[str, Asset])

    def page(self, path: str, reader: Reader) -> Page | None:
        """Answer a path without its query; None where no file has it."""
        asset = self.assets.get(path)
        return None if asset is None else asset.page(reader)


def read_site(*, console: bool = True, page: Path | None = None) -> Site:
    """Read all files, once.

    Args:
        console: Whether the console is served; the SDK always is.
        page: The folder of the app's page, served at `/app/`; None where it has none.

    Raises:
        OSError: If one can't be read; the installation is broken.
    """
    found = dict(_of_folder(SDK, "/sdk/", _PUBLIC))
    if console:
        found |= dict(_of_folder(CONSOLE, "/console/", _PART))
        del found["/console/index.html"]
        found["/"] = Asset.of(CONSOLE / "index.html", _ENTRY)
    if page is not None:
        found |= dict(_of_folder(page, "/app/", _PART))
        del found["/app/index.html"]
        found["/app/"] = Asset.of(page / "index.html", _ENTRY)
    return Site(found)


def _of_folder(
    folder: Path, prefix: str, headers: tuple[tuple[str, str], ...]
) -> Iterator[tuple[str, Asset]]:
    # Not what lies in folders below: that is of tools, which put there what they like.
    for path in sorted(folder.iterdir()):
        if path.suffix in _KINDS and path.is_file():
            yield prefix + path.name, Asset.of(path, headers)
