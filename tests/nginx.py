"""A real nginx for tests: deploy/nginx.conf with other ports and a certificate of its own, in front of a server."""

import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.running import DEADLINE_S, POLL_S, ROOT, lasting_port, until

CONFIGURATION = ROOT / "deploy" / "nginx.conf"
SITE, FARM = "orchard.example.com", "farm.example.com"
"""The host names in that file: of Orchard's own, and of the site with a path for it."""
AROUND = """daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{ access_log off;
client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
include {folder}/orchard.conf; }}
"""


def programs() -> bool:
    """Say whether nginx, and what makes a certificate, are installed."""
    return None not in (shutil.which("nginx", path=path_of_programs()), shutil.which("openssl"))


def path_of_programs() -> str:
    """Where programs are: Debian has nginx where only root looks by itself."""
    return f"{os.environ['PATH']}:/usr/sbin"


@dataclass(frozen=True)
class Front:
    """A running nginx."""

    folder: Path
    port: int
    plain_port: int

    def client(self, name: str = SITE, address: str = "127.0.0.1") -> httpx.Client:
        """Return a client at one of this machine's addresses that asks for a host name, and checks its certificate."""
        trusted = ssl.create_default_context(cafile=str(self.folder / "cert.pem"))
        transport = _Named(verify=trusted, local_address=address)
        transport.name = name
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}", headers={"Host": name}, transport=transport, timeout=DEADLINE_S
        )


class _Named(httpx.HTTPTransport):
    """Names the host in the TLS handshake too, where the address has only a number."""

    name = ""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on."""
        request.extensions = {**request.extensions, "sni_hostname": self.name}
        return super().handle_request(request)


@contextmanager
def in_front(upstream: int, folder: Path) -> Iterator[Front]:
    """Run nginx before the server on a port of this machine, until the end of the block."""
    front = Front(folder, lasting_port(), lasting_port())
    _certify(folder)
    (folder / "orchard.conf").write_text(_adapted(CONFIGURATION.read_text(), front, upstream))
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
    command = [
        shutil.which("nginx", path=path_of_programs()) or "nginx",
        "-p",
        str(folder),
        "-c",
        str(folder / "nginx.conf"),
    ]
    with (folder / "stderr.log").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        until(lambda: process.poll() is not None or _answers(front))
        assert process.poll() is None, (folder / "stderr.log").read_text()
        yield front
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _adapted(text: str, front: Front, upstream: int) -> str:
    """Return the file with free ports and the certificate that was made; without IPv6, which not all machines have."""
    for old, new in (
        (r"\n *listen \[::\][^\n]*", ""),
        (r"listen 80;", f"listen 127.0.0.1:{front.plain_port};"),
        (r"listen 443 ", f"listen 127.0.0.1:{front.port} "),
        (r"server 127\.0\.0\.1:8000;", f"server 127.0.0.1:{upstream};"),
        (r"/etc/letsencrypt/live/[\w.]+/fullchain\.pem", f"{front.folder}/cert.pem"),
        (r"/etc/letsencrypt/live/[\w.]+/privkey\.pem", f"{front.folder}/key.pem"),
    ):
        text, count = re.subn(old, new, text)
        assert count, f"nothing in {CONFIGURATION.name} is like {old}"
    return text


def _certify(folder: Path) -> None:
    """Make a certificate for both names that signs itself."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = f"subjectAltName=DNS:{SITE},DNS:{FARM}"
    command = [
        "openssl",
        *words,
        "-keyout",
        str(key),
        "-out",
        str(certificate),
        "-subj",
        f"/CN={SITE}",
        "-addext",
        names,
    ]
    subprocess.run(command, capture_output=True, check=True)


def _answers(front: Front) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{front.plain_port}/", timeout=POLL_S * 50)
    except httpx.TransportError:
        return False
    return True
