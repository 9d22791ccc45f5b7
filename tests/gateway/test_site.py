"""The console and the SDK over a real socket: what is served, to whom, with which headers."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urljoin

import pytest
from prometheus_client import CollectorRegistry

from bargein.gateway.handshake import AllowList
from bargein.gateway.pages import Pages
from bargein.gateway.secret import Secret
from bargein.gateway.settings import Auth
from bargein.gateway.site import CONSOLE, SDK, read_site
from tests.e2e.harness import world
from tests.fakes.tokens import SECRET
from tests.gateway.fetching import get
from tests.gateway.raw_client import Listening, edge_of
from tests.project.tree import ROOT

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PARTS = [path for path in sorted(CONSOLE.iterdir()) if path.suffix in KINDS]
MODULES = sorted(f"/sdk/{path.name}" for path in SDK.glob("*.js"))


@asynccontextmanager
async def serving(*, console: bool = True, **options: object) -> AsyncGenerator[int]:
    pages = Pages(
        lambda: (True, "ready"), CollectorRegistry(), lambda: b"{}", read_site(console=console)
    )
    async with edge_of(Listening(), pages=pages, **options) as edge:
        yield edge.port


async def test_the_console_is_at_the_root_with_a_strict_policy():
    async with serving() as port:
        front = await get(port, "/")
        assert front.status == 200
        assert front.body == (CONSOLE / "index.html").read_bytes()
        del front.headers["date"], front.headers["etag"], front.headers["content-length"]
        assert front.headers == {
            "content-type": "text/html; charset=utf-8",
            "connection": "close",
            "content-security-policy": POLICY,
            "x-content-type-options": "nosniff",
            "cache-control": "no-cache",
            "vary": "Accept-Encoding",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
        }


async def test_the_console_keeps_to_its_own_policy():
    page = (CONSOLE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    assert re.findall(r"<script(?![^>]*\ssrc=)", page) == [], "no inline script"
    named = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert [name for name in named if re.match(r"https?:|//", name)] == []
    async with serving() as port:
        for name in named:
            if name.startswith("/"):
                assert (await get(port, name)).status == 200, name


async def test_every_file_of_the_console_is_served_and_is_for_itself_alone():
    async with serving() as port:
        for path in PARTS:
            answer = await get(port, f"/console/{path.name}")
            assert answer.status == 200
            assert answer.body == path.read_bytes()
            assert answer.headers["content-type"] == KINDS[path.suffix]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert "access-control-allow-origin" not in answer.headers


async def test_what_tools_keep_beside_the_console_is_not_served():
    others = [path for path in CONSOLE.rglob("*") if path not in PARTS and path.is_file()]
    async with serving() as port:
        for path in others[:20]:
            answer = await get(port, f"/console/{path.relative_to(CONSOLE).as_posix()}")
            assert answer.status == 404


async def test_the_modules_of_the_sdk_may_be_imported_by_any_page():
    assert "/sdk/index.js" in MODULES
    async with serving() as port:
        for path in MODULES:
            answer = await get(port, path, Origin="https://elsewhere.example")
            assert answer.status == 200
            assert answer.body == (SDK / path.removeprefix("/sdk/")).read_bytes()
            assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
            assert "access-control-allow-credentials" not in answer.headers


async def test_no_other_path_may_be_read_by_a_page_of_elsewhere():
    async with serving() as port:
        for path in ("/", "/healthz", "/readyz", "/metrics", "/protocol.json", "/sdk/nope.js"):
            answer = await get(port, path, Origin="https://elsewhere.example")
            assert "access-control-allow-origin" not in answer.headers, path


async def test_all_that_a_module_imports_is_served():
    sources = {path: f"/console/{path.name}" for path in PARTS if path.suffix == ".js"}
    sources |= {SDK / path.removeprefix("/sdk/"): path for path in MODULES}
    wanted: set[str] = set()
    for source, served_as in sources.items():
        text = source.read_text(encoding="utf-8")
        for name in re.findall(r'^(?:import|export|\}) .*?from "([^"]+)"', text, re.MULTILINE):
            wanted.add(urljoin(served_as, name))
    assert "/sdk/follower.js" in wanted
    async with serving() as port:
        for path in sorted(wanted):
            assert (await get(port, path)).status == 200, path


@pytest.mark.parametrize("path", ["/", "/sdk/index.js"])
async def test_who_has_a_file_already_is_not_sent_it_again(path: str):
    async with serving() as port:
        first = await get(port, path)
        tag = first.headers["etag"]
        assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
        for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            again = await get(port, path, If_None_Match=known)
            assert (again.status, again.body) == (304, b""), known
            assert again.headers["etag"] == tag
            assert "content-length" not in again.headers
            for name in ("content-security-policy", "cache-control", "vary"):
                assert again.headers[name] == first.headers[name], "what is kept is renewed by it"
        for unknown in ('"other"', tag[1:-1], ""):
            assert (await get(port, path, If_None_Match=unknown)).status == 200


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.5", "deflate, GZIP"])
async def test_a_file_is_sent_compressed_to_whoever_takes_that(accepted: str):
    async with serving() as port:
        plain = await get(port, "/sdk/index.js")
        zipped = await get(port, "/sdk/index.js", Accept_Encoding=accepted)
        assert zipped.headers["content-encoding"] == "gzip"
        assert int(zipped.headers["content-length"]) == len(zipped.body) < len(plain.body)
        assert gzip.decompress(zipped.body) == plain.body
        tag = zipped.headers["etag"]
        assert tag != plain.headers["etag"], "other bytes, another strong tag"
        again = await get(port, "/sdk/index.js", Accept_Encoding=accepted, If_None_Match=tag)
        assert again.status == 304


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "gzip; q=0.000", "gzipped"])
async def test_a_file_is_sent_as_it_is_to_whoever_does_not_take_gzip(accepted: str):
    async with serving() as port:
        answer = await get(port, "/sdk/index.js", Accept_Encoding=accepted)
        assert "content-encoding" not in answer.headers
        assert answer.body == (SDK / "index.js").read_bytes()


async def test_head_is_get_without_the_body_and_other_methods_are_refused():
    async with serving() as port:
        for path in ("/", "/sdk/index.js"):
            got = await get(port, path)
            headed = await get(port, path, method="HEAD")
            assert (headed.status, headed.body) == (200, b"")
            assert {**headed.headers, "date": ""} == {**got.headers, "date": ""}
            posted = await get(port, path, method="POST")
            assert posted.status == 405
            assert posted.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        "/sdk/",
        "/sdk",
        "/sdk/../package.json",
        "/sdk/..%2fpackage.json",
        "/sdk/%2e%2e/package.json",
        "/sdk/./index.js",
        "/sdk//index.js",
        "//sdk/index.js",
        "/sdk\\index.js",
        "/sdk/index.js/",
        "/sdk/index.js%00",
        "/sdk/INDEX.js",
        "/sdk/sub/../index.js",
        "/console",
        "/console/",
        "/console/index.html",
        "/console/../site.py",
        "/console/..%2f..%2fpyproject.toml",
        "/console//etc/passwd",
        "/../gateway/site.py",
        "/index.html",
    ],
)
async def test_only_the_names_of_the_files_lead_to_one(path: str):
    async with serving() as port:
        assert (await get(port, path)).status == 404


async def test_a_query_changes_nothing():
    async with serving() as port:
        assert (await get(port, "/sdk/index.js?v=1")).body == (SDK / "index.js").read_bytes()


async def test_files_are_for_those_who_call_the_server_by_its_name():
    async with serving(allowed=AllowList(hosts=["agent.example"])) as port:
        for path in ("/", "/sdk/index.js"):
            assert (await get(port, path, Host="evil.example")).status == 421
            assert (await get(port, path, Host="agent.example")).status == 200


async def test_the_files_are_public_where_auth_is_on_and_what_is_somebodys_is_not():
    async with world([], auth=Auth(secret=Secret(SECRET))) as w:
        for path in ("/", "/sdk/index.js"):
            assert (await get(w.port, path)).status == 200
        assert (await get(w.port, "/v1/sessions")).status == 401


async def test_a_setting_takes_the_console_off_the_port():
    async with world([], console=False) as w:
        assert b"npx wscat" in (await get(w.port, "/")).body
        for path in PARTS[:1]:
            assert (await get(w.port, f"/console/{path.name}")).status == 404
        assert (await get(w.port, "/sdk/index.js")).status == 200


async def test_without_the_console_the_root_is_a_page_about_terminals():
    async with serving(console=False) as port:
        front = await get(port, "/")
        assert b"npx wscat" in front.body
        for path in PARTS:
            assert (await get(port, f"/console/{path.name}")).status == 404
        assert (await get(port, "/sdk/index.js")).status == 200, "it is for pages of your own"


def test_what_is_served_is_small_enough_to_be_kept_in_memory():
    sizes = [path.stat().st_size for path in (*PARTS, *SDK.glob("*.js"))]
    assert sum(sizes) < 2 * 2**20


def test_the_sdk_that_is_served_is_the_one_of_the_package():
    assert SDK == ROOT / "sdk" / "javascript" / "src"


async def test_an_app_has_its_own_page_and_nothing_beside_it(tmp_path: Path):
    folder = tmp_path / "page"
    (folder / "deep").mkdir(parents=True)
    wrote = {"index.html": "<p>Hello", "talk.js": "0;", "notes.txt": "ours", "deep/own.js": "1;"}
    for name, text in wrote.items():
        (folder / name).write_text(text)
    pages = Pages(
        lambda: (True, "ready"), CollectorRegistry(), lambda: b"{}", read_site(page=folder)
    )
    async with edge_of(Listening(), pages=pages) as edge:
        front, part = await get(edge.port, "/app/"), await get(edge.port, "/app/talk.js")
        assert (front.status, front.body) == (200, b"<p>Hello")
        assert front.headers["content-security-policy"] == POLICY
        assert (part.status, part.body) == (200, b"0;")
        assert part.headers["cross-origin-resource-policy"] == "same-origin"
        for path in ("/app/index.html", "/app/notes.txt", "/app/deep/own.js", "/app/../server.py"):
            assert (await get(edge.port, path)).status == 404, path
        assert b"Conversation" in (await get(edge.port, "/")).body, "the console is where it was"
    async with serving() as port:
        assert (await get(port, "/app/")).status == 404, "an app without a page has none"
