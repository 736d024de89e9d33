"""nginx in front of a service, with TLS by a certificate of its own, as README's deployment has it."""

import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.running import DEADLINE_S, POLL_S, lasting_port

PROGRAM = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")

_CONFIGURATION = """
daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  client_max_body_size 32m;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate cert.pem; ssl_certificate_key key.pem;
    location = {prefix}/clicks.js {{ alias {folder}/clicks.js; }}
    location {prefix}/ {{
      proxy_pass http://127.0.0.1:{upstream}{path};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header Accept-Encoding "";
      proxy_buffering off;
      sub_filter_once on;
      sub_filter '</body>' '<script src="clicks.js"></script></body>';
    }}
  }}
}}
"""
CLICKS = """
function found(selector) { return document.querySelector(selector); }
function next(steps) {
  if (!steps.length) return;
  const element = found(steps[0]);
  if (element) element.click();
  setTimeout(next, 100, element ? steps.slice(1) : steps);
}
next(["#operations-predict-predict button.opblock-summary-control", "#operations-predict-predict button.execute"]);
"""
"""What a person clicks on the page: the call, and Execute."""


@contextmanager
def proxied(folder: Path, upstream: int, prefix: str, *, strips: bool) -> Iterator[httpx.Client]:
    """Run nginx until the end of the block, and yield a client of it, whose paths begin behind the prefix.

    ``strips``: whether it takes the prefix off. A script that clicks comes with every page.
    """
    assert PROGRAM is not None
    folder.mkdir()
    port = lasting_port()
    asked = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    alternative = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *asked, *alternative, *files], check=True, capture_output=True)
    (folder / "clicks.js").write_text(CLICKS)
    path = "/" if strips else ""
    text = _CONFIGURATION.format(port=port, upstream=upstream, prefix=prefix, path=path, folder=folder)
    (folder / "nginx.conf").write_text(text)
    words = [PROGRAM, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    trusted = ssl.create_default_context(cafile=folder / "cert.pem")
    with httpx.Client(base_url=f"https://127.0.0.1:{port}{prefix}", verify=trusted, timeout=DEADLINE_S) as client:
        try:
            _await(client, process)
            yield client
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


def _await(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert process.poll() is None
        with suppress(httpx.TransportError):
            if client.get("/health/live").status_code == httpx.codes.OK:
                return
        time.sleep(POLL_S)
    raise TimeoutError("nginx does not answer")
