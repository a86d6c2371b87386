"""Videos behind https: only from hosts that are switched on, and only what they say they give."""

import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.errors import EngineError, NotFoundError, ObjectError, UsageError, VideoError
from engine.ingesting.discover import discover
from engine.objects.address import Address, read_address
from engine.objects.blocks import blocks
from engine.objects.remote import RemoteFile, head_of
from engine.video.container import content_hash
from engine.video.decode import get_frame_at
from engine.video.gop import index_gops


@dataclass
class Site:
    """A server of one file, and how it behaves."""

    port: int = 0
    content: bytes = b""
    etag: str | None = '"1"'
    ranges: bool = True
    status: int = 0  # of all answers, where it is not 0
    broken: int = 0  # answers that end half way
    drip: bool = False  # a byte at a time, for ever
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/films/a b.mp4"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", f"{path}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def site(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            state.asked.append(f"{self.command} {self.path}")
            body, status, told = state.content, state.status or 200, dict[str, str]()
            if state.ranges:
                told["Accept-Ranges"] = "bytes"
                span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                if span and status == 200:
                    body, status = body[int(span[1]) : int(span[2]) + 1], 206
            if state.etag:
                told["ETag"] = state.etag
            if 300 <= status < 400:
                told["Location"] = "http://169.254.169.254/latest/meta-data"
            self.send_response(status)
            for name, value in {**told, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.send(body)

        def send(self, body: bytes) -> None:
            self.close_connection = True
            try:
                if state.broken:
                    state.broken -= 1
                    body = body[: len(body) // 2]
                for at in range(0, len(body), 1 if state.drip else len(body)):
                    self.wfile.write(body[at : at + 1] if state.drip else body)
                    self.wfile.flush()
                    if state.drip:
                        time.sleep(0.05)
            except OSError:
                pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Say nothing of those who hang up on the certificate."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_address[1]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("DEJAVU_OBJECT_HOSTS", f"example.com, localhost:{state.port}")
    monkeypatch.setenv("DEJAVU_OBJECT_PAUSE_SECONDS", "0.001")
    blocks.cache_clear()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()


def test_a_file_of_a_host_that_is_on_is_read_by_ranges(site: Site, street_clip: Path) -> None:
    site.content = street_clip.read_bytes()
    [found] = discover([site.url])
    assert (found.name, str(found.path)) == ("a b.mp4", site.url)
    site.broken = 2
    gops = index_gops(site.url)
    assert gops == index_gops(street_clip)
    seen, expected = (get_frame_at(x, 3.25, gops=gops).image for x in (site.url, street_clip))
    assert (seen == expected).all()
    assert {line.partition(" ")[2] for line in site.asked} == {"/films/a%20b.mp4"}
    before = content_hash(site.url)
    site.etag = '"2"'
    assert content_hash(site.url) != before


def test_a_change_under_way_is_noticed(site: Site, street_clip: Path) -> None:
    site.content = street_clip.read_bytes()
    file = RemoteFile(read_address(site.url))
    site.etag = '"2"'
    with pytest.raises(ObjectError, match="has changed while it was read"):
        file.read(9)


@pytest.mark.parametrize("hosts", ["", "example.com", "*.host", "localhost:1"])
def test_a_host_that_is_not_on_is_not_asked(
    site: Site, monkeypatch: pytest.MonkeyPatch, hosts: str
) -> None:
    monkeypatch.setenv("DEJAVU_OBJECT_HOSTS", hosts)
    monkeypatch.setattr(socket, "getaddrinfo", None)  # not even its name is looked up
    with pytest.raises(UsageError, match=r"localhost is not switched on.*DEJAVU_OBJECT_HOSTS"):
        discover([site.url])
    assert site.asked == []


@pytest.mark.parametrize("hosts", ["*", "*.example.com"])
@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"]
)
def test_a_name_that_leads_inside_is_not_spoken_to(
    monkeypatch: pytest.MonkeyPatch, hosts: str, address: str
) -> None:
    monkeypatch.setenv("DEJAVU_OBJECT_HOSTS", hosts)
    monkeypatch.setenv("DEJAVU_OBJECT_TRIES", "1")
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", None)
    with pytest.raises(ObjectError, match="which is not public"):
        head_of(read_address("https://media.example.com/a.mp4"))


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ({"status": 302}, ObjectError, "leads elsewhere"),
        ({"status": 404}, NotFoundError, "no file https://localhost"),
        ({"status": 403}, ObjectError, "no right to read .*403"),
        ({"status": 500}, ObjectError, "answers 500"),
        ({"ranges": False}, ObjectError, "gives no parts of it"),
        ({"etag": None}, ObjectError, "no ETag and no Last-Modified"),
    ],
)
def test_what_it_does_not_give_is_said(
    site: Site, how: dict[str, object], kind: type[EngineError], said: str
) -> None:
    for name, value in how.items():
        setattr(site, name, value)
    with pytest.raises(kind, match=said):
        discover([site.url])


def test_one_who_answers_a_byte_at_a_time_is_left(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.content = bytes(10_000)
    file = RemoteFile(read_address(site.url))
    monkeypatch.setenv("DEJAVU_OBJECT_SECONDS", "0.5")
    monkeypatch.setenv("DEJAVU_OBJECT_TRIES", "1")
    site.drip = True
    with pytest.raises(ObjectError, match="does not answer"):
        file.read(9)


def test_a_certificate_that_nobody_vouches_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ObjectError, match=r"does not answer: .*certificate"):
        discover([site.url])
    assert site.asked == []


def test_other_addresses_of_it_are_refused(site: Site) -> None:
    with pytest.raises(UsageError, match="hosts list none"):
        discover([f"https://localhost:{site.port}/*.mp4"])
    for bucket in ("localhost:0", "localhost:x", "localhost:99999"):
        with pytest.raises((UsageError, VideoError)):
            head_of(Address("https", bucket, "a.mp4"))
