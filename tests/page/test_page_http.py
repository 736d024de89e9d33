"""GET / and the page's files over HTTP: what they may be kept for, what they may do, and nothing else beside them."""

import gzip
import re
import socket

import pytest

from app.settings import OWN
from tests.browsing import NEEDED, require_browser
from tests.running import ROOT, Running

FOLDER = ROOT / "app" / "page"
POLICY = "Content-Security-Policy"
GZIP = {"Accept-Encoding": "gzip"}


def _files(running: Running) -> str:
    """Return the path below which the page says its files are, without a slash at its beginning."""
    found = re.search(r'"(page/[0-9a-f]+)/icon\.svg"', running.client.get("/").text)
    assert found is not None
    return found[1]


def test_it_is_asked_for_again_and_then_the_same(served: Running) -> None:
    """`/` has a tag and no age; who has it is told 304, by which the same policy holds."""
    answer = served.client.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["cache-control"] == "no-cache"
    same = served.client.get("/", headers={"If-None-Match": answer.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    for name in (POLICY, "Cross-Origin-Opener-Policy", "Referrer-Policy", "ETag", "X-Content-Type-Options"):
        assert same.headers[name] == answer.headers[name]
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_its_policy(served: Running) -> None:
    """Nothing inline, nothing from elsewhere, no frame around it, and text that becomes HTML only by lit."""
    policy = dict(part.strip().split(" ", 1) for part in served.client.get("/").headers[POLICY].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "lit-html")
    assert not any("unsafe" in sources or "*" in sources or "http" in sources for sources in policy.values())


def test_its_files_are_kept_for_ever(served: Running) -> None:
    """Those under the digest that the page names; under another one the same are sent, and not kept."""
    below = _files(served)
    for name, media_type in (
        ("main.js", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("ask/view.js", "text/javascript; charset=utf-8"),
    ):
        plain = served.client.get(f"/{below}/{name}", headers={"Accept-Encoding": "identity"})
        assert (plain.status_code, plain.headers["content-type"]) == (200, media_type)
        assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert plain.content == (FOLDER / name).read_bytes()
        assert plain.headers[POLICY] == "default-src 'none'; frame-ancestors 'none'"  # by itself it may do nothing
        other = served.client.get(f"/page/0123456789abcdef/{name}")
        assert (other.content, other.headers["cache-control"]) == (plain.content, "no-store")


def test_they_are_sent_compressed(served: Running) -> None:
    """To who takes gzip, and as they are to who does not; caches are told that there are two."""
    below = _files(served)
    with served.client.stream("GET", f"/{below}/page.css", headers=GZIP) as sent:
        raw = b"".join(sent.iter_raw())
    assert (sent.headers["content-encoding"], sent.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(raw) == (FOLDER / "page.css").read_bytes()
    plain = served.client.get(f"/{below}/page.css", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "Accept-Encoding"


def test_head(served: Running) -> None:
    """HEAD of the page and of a file is answered without a body."""
    for path in ("/", f"/{_files(served)}/main.js"):
        answer = served.client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers[POLICY] == served.client.get(path).headers[POLICY]


@pytest.mark.parametrize(
    "path",
    [
        "nothing.js",
        "",
        "vendor",
        "vendor/",
        "vendor.sha256",
        "vendor/d3.LICENSE",
        "../api/page.py",
        "../../pyproject.toml",
        "ask/../../settings.py",
        "..%2Fsettings.py",
        "%2e%2e/settings.py",
        "/etc/passwd",
        "main.js%00",
        "ask\\view.js",
    ],
)
def test_nothing_else_is_sent(served: Running, path: str) -> None:
    """A path that is none of the files, written whatever way, is a 404; the path is sent as it stands."""
    address = served.client.base_url.host, served.client.base_url.port or 0
    with socket.create_connection(address) as connection:
        head = f"GET /{_files(served)}/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 404 "), answer[:200]
    assert b"[project]" not in answer
    assert b"import" not in answer


def test_its_path_belongs_to_the_service() -> None:
    """A prefix cannot begin with it."""
    assert "page" in OWN


@pytest.mark.parametrize(("setting", "ends"), [("1", pytest.fail.Exception), (None, pytest.skip.Exception)])
def test_tests_of_the_page_are_not_skipped_where_they_are_needed(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, ends: type[BaseException]
) -> None:
    """Without a browser they are skipped, and fail in continuous integration, which .ci/run says it is."""
    monkeypatch.setattr("tests.browsing.shutil.which", lambda _: None)
    monkeypatch.delenv(NEEDED, raising=False)
    if setting is not None:
        monkeypatch.setenv(NEEDED, setting)
    with pytest.raises(ends, match="installed"):
        require_browser()
    assert f"export {NEEDED}=1" in (ROOT / ".ci" / "run").read_text()
