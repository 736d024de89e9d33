"""What a connection may do and how long it may take, over real connections.

What becomes of each byte is looked at without a network, in tests/api/test_door.py.
"""

import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.hurried import HURRIED
from tests.running import (
    ONE_REGION,
    ROOT,
    Running,
    copy_store,
    environment,
    lasting_port,
    peak_mb,
    serving,
    until,
)
from tests.talking import Answer, chunked, request, talk

pytestmark = pytest.mark.measured

SPECIAL = request(ONE_REGION, b"X-Other: 1")
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
ROWS = 100_000
COLUMNS = {"temperature": [75.0] * ROWS, "rainfall": [80.0] * ROWS, "humidity": [55.0] * ROWS}


@pytest.fixture(scope="module")
def hurried(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server whose clocks run fast; it must still answer at the end, and have logged no error."""
    store = copy_store(trained, tmp_path_factory.mktemp("hurried") / "store")
    settings = {"ORCHARD_KEEP_ALIVE_S": "2", "ORCHARD_BODY_TIMEOUT_S": "1"}
    with serving(store, through=HURRIED, **settings) as running:
        yield running
        with talk(running) as one:
            assert one.ask(request()).code == 200
    log = (store.parent / "store.log").read_text()
    assert "[error" not in log
    assert "Traceback" not in log


@pytest.mark.parametrize("sent", [b"", b"\r\n", request(), SPECIAL])
def test_who_sends_nothing_is_left(hurried: Running, sent: bytes) -> None:
    """Before a first request after a second here, after another one after two: the connection is closed."""
    with talk(hurried) as one:
        began = time.monotonic()
        one.send(sent)
        if sent.strip():
            assert one.answer().code == 200
        assert one.is_closed()
        assert (1.9 if sent.strip() else 0.9) < time.monotonic() - began < 5


def test_a_head_that_trickles_in_is_not_waited_for(hurried: Running) -> None:
    """A byte now and then does not help: 408 a second after its first byte."""
    with talk(hurried) as one:
        began = time.monotonic()
        with suppress(OSError):
            for byte in b"POST /predict HTTP/1.1\r\nHost: x\r\n":
                one.send(bytes([byte]))
                time.sleep(0.05)
        answer = one.answer()
        assert (answer.code, b"body_timeout" in answer.body) == (408, True)
        assert answer.header(b"x-content-type-options") == b"nosniff"
        assert one.is_closed()
        assert 0.9 < time.monotonic() - began < 4


@pytest.mark.parametrize("more", [b"", b"X-Other: 1"])
def test_a_body_that_trickles_in_is_408(hurried: Running, more: bytes) -> None:
    """On the lane as on the general path, and by its clock."""
    with talk(hurried) as one:
        began = time.monotonic()
        one.send(request(ONE_REGION[:5], *[more] * bool(more), length=len(ONE_REGION)))
        with suppress(OSError):
            for byte in ONE_REGION[5:25]:
                time.sleep(0.05)
                one.send(bytes([byte]))
        answer = one.answer()
        assert (answer.code, b"body_timeout" in answer.body) == (408, True)
        assert one.is_closed()
        assert 0.9 < time.monotonic() - began < 4


def _is_cut_off(connection: socket.socket, within_s: float) -> bool:
    """Say whether the other side gives a connection up, without reading from it."""
    waiting = select.poll()
    waiting.register(connection, 0)
    return bool(waiting.poll(1e3 * within_s))


def test_who_reads_nothing_is_cut_off(hurried: Running) -> None:
    """An answer of megabytes is held no longer than that."""
    with talk(hurried) as one:
        one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        body = httpx.Request("POST", "http://x/", json=COLUMNS).content
        one.send(request(body))
        assert _is_cut_off(one.socket, 20)


LONG = [pytest.param(asked, marks=pytest.mark.long) for asked in (SPECIAL, HEALTH, request(b"{}"), request() + HEALTH)]


@pytest.mark.parametrize("asked", [request(), *LONG])
def test_an_endless_pipeline_that_is_not_read(hurried: Running, asked: bytes) -> None:
    """It is not taken in without end, by no path, and then it is cut off."""
    with talk(hurried) as one:
        one.send(asked)
        one.answers(asked.count(b"HTTP/1.1"))
        before = peak_mb(hurried.process.pid)
        sent, many = 0, asked * (65_536 // len(asked))
        began = time.monotonic()
        with suppress(ConnectionError):
            while sent < 100_000_000:
                sent += one.socket.send(many)
        assert sent < 100_000_000  # of which the system holds a part, on both sides
        assert time.monotonic() - began < 15
    assert peak_mb(hurried.process.pid) - before < 20


ENDLESS = {
    "headers": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n"),
    "one header": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", b"x"),
    "trailers": (chunked(ONE_REGION)[:-2], b"X-A: b\r\n"),
    "trailers of a long body": (chunked(b" " * 3_000_000, size=10_000)[:-2], b"X-A: b\r\n"),
    "what extends a chunk": (chunked(ONE_REGION)[:-5] + b"1;", b"x"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_is_around_a_body_takes_no_memory(hurried: Running, name: str) -> None:
    """However much of it is sent: 431, which arrives although all is not read, and nothing is kept."""
    begin, more = ENDLESS[name]
    assert hurried.client.post("/predict", content=ONE_REGION + b" " * 3_000_000).status_code == 200
    before = peak_mb(hurried.process.pid)
    with talk(hurried) as one, ThreadPoolExecutor(1) as threads:
        answer = threads.submit(one.answer)
        with suppress(OSError):
            one.send(begin)
            for _ in range(60):
                one.send(more * (1_000_000 // len(more)))
        with suppress(ConnectionResetError):  # it stands in nobody's power that an answer is read before a reset
            assert answer.result().code == 431
    assert peak_mb(hurried.process.pid) - before < 20


def test_a_refusal_arrives(hurried: Running) -> None:
    """Also while more is being sent, for a moment."""
    for _ in range(5):
        with talk(hurried) as one:
            one.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 50_000)
            assert one.answer().code == 431
            assert one.is_closed()


def test_many_headers_are_431(hurried: Running) -> None:
    """A hundred are taken, beside those that have to be there; in a form that the path decides."""
    for count, code in ((90, 200), (120, 431), (5_000, 431)):
        with talk(hurried) as one:
            answer = one.ask(request(ONE_REGION, *[b"X-A: b"] * count))
            assert answer.code == code
            assert answer.code == 200 or b"the limit is 100" in answer.body


@contextmanager
def _stopping(trained: Path, tmp_path: Path) -> Iterator[Running]:
    with serving(copy_store(trained, tmp_path / "store"), ORCHARD_GRACE_S="5") as running:
        yield running


def test_a_body_that_is_half_here_at_the_end(trained: Path, tmp_path: Path) -> None:
    """On the lane as elsewhere it is waited for and answered, and its connection is closed; idle ones are at once."""
    with _stopping(trained, tmp_path) as running, ExitStack() as open_ones:
        idle, *halves = (open_ones.enter_context(talk(running)) for _ in range(4))
        whole = [request(), request(), SPECIAL]
        assert [one.ask(request()).code for one in (idle, halves[0])] == [200, 200]
        for one, each in zip(halves, whole, strict=True):
            one.send(each[:-20])
        time.sleep(0.2)
        running.process.send_signal(signal.SIGTERM)
        assert idle.is_closed()
        for one, each in zip(halves, whole, strict=True):
            answer = one.ask(each[-20:])
            assert (answer.code, answer.header(b"connection")) == (200, b"close")
            assert one.is_closed()


def _curl(*words: str, url: httpx.URL) -> subprocess.CompletedProcess[str]:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    return subprocess.run([curl, "-sS", "-m", "10", *words, str(url)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("option", ["--http1.0", "--http1.1", "--http2"])
@pytest.mark.parametrize("path", ["/predict", "/predict?level=0.8"])
def test_curl_is_answered(reading: Running, option: str, path: str) -> None:
    """Also where it would rather speak HTTP/2: its wish is passed over, its body is not lost."""
    url = reading.client.base_url.join(path)
    sent = ["-d", ONE_REGION.decode(), "-H", "Content-Type: application/json"]
    for more in ([], ["-H", "Transfer-Encoding: chunked"] if option != "--http1.0" else []):
        done = _curl(option, *sent, *more, "-w", "%{http_code}", url=url)
        assert (done.stderr, done.stdout[-3:]) == ("", "200")
        assert '"mango"' in done.stdout


CLIENT = """
import java.net.URI;
import java.net.http.*;

public class Client {
    public static void main(String[] words) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int turn = 0; turn < 3; turn++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(words[0]))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(words[1])).build();
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version() + " " + answer.body().length());
        }
    }
}
"""


@pytest.mark.long
@pytest.mark.skipif(shutil.which("javac") is None, reason="no JDK is installed")
def test_java_is_answered(reading: Running, tmp_path: Path) -> None:
    """Its client asks for HTTP/2 with every first request, body and all."""
    program = tmp_path / "Client.java"
    program.write_text(CLIENT)
    words = [str(reading.client.base_url.join("/predict")), ONE_REGION.decode()]
    java = shutil.which("java") or ""
    done = subprocess.run([java, str(program), *words], capture_output=True, text=True, timeout=60, check=False)
    length = len(reading.client.post("/predict", content=ONE_REGION).content)
    assert done.stdout.splitlines() == [f"200 HTTP_1_1 {length}"] * 3, done.stderr


@contextmanager
def _plain_uvicorn(store: Path) -> Iterator[Running]:
    """Serve as anybody might, by a server that knows nothing of this application."""
    port = lasting_port()
    words = ["-m", "uvicorn", "app.main:create_app", "--factory", "--port", str(port), "--no-server-header"]
    log = store.parent / "uvicorn.log"
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=environment(store), stderr=output)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:

        def answers() -> bool:
            with suppress(httpx.TransportError):
                return client.get("/health/ready").status_code == 200
            return False

        try:
            until(answers)
            yield Running(process, client, store, {})
        finally:
            process.terminate()
            process.wait(20)
    assert "Traceback" not in log.read_text()


def test_another_server_gives_the_same_answers(reading: Running, trained: Path, tmp_path: Path) -> None:
    """By the general path alone: plain requests, invalid ones, in chunks, many at once."""
    same = b"X-Request-ID: same"
    asked = [
        request(ONE_REGION, same),
        request(b"{}", same),
        chunked(ONE_REGION, same),
        request(ONE_REGION, same, host=b"Host: elsewhere.example\r\n"),
        request(ONE_REGION, same, target=b"POST /predict?level=0.8 HTTP/1.1"),
        request(b"", same, target=b"GET /nothing HTTP/1.1"),
    ]
    found: list[list[Answer]] = []
    with _plain_uvicorn(copy_store(trained, tmp_path / "store")) as plain:
        for running in (reading, plain):
            with talk(running) as one:
                alone = [one.ask(each) for each in asked]
                one.send(b"".join(asked))
                assert one.answers(len(asked)) == alone
                found.append(alone)
    assert found[0] == found[1]


BUSY = 2_000


@pytest.mark.long
def test_a_new_connection_among_thousands(trained: Path, tmp_path: Path) -> None:
    """While two thousand connections ask all the time, health on a new one is answered within half a second."""
    program = ROOT / "tests" / "crowd.py"
    with serving(copy_store(trained, tmp_path / "store"), ORCHARD_MAX_CONCURRENCY="10000") as running:
        port = running.client.base_url.port
        crowd = subprocess.Popen([sys.executable, str(program), str(port), str(BUSY)], stdout=subprocess.PIPE)
        try:
            assert crowd.stdout is not None
            crowd.stdout.readline()  # all are connected and have been answered once
            took = []
            for _ in range(20):
                began = time.monotonic()
                with talk(running) as one:
                    assert one.ask(HEALTH).code == 200
                took.append(time.monotonic() - began)
                time.sleep(0.05)
        finally:
            crowd.kill()
            crowd.communicate()
    assert sorted(took)[10] < 0.5, took


def test_threads_may_connect_at_once(reading: Running) -> None:
    """Each of two hundred connections made in one moment is answered."""
    codes: list[int] = []

    def ask() -> None:
        with talk(reading) as one:
            codes.append(one.ask(request()).code)

    threads = [threading.Thread(target=ask) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [200] * 200
