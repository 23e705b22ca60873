"""A real nginx with the configurations that docs/deploy.md shows."""

import datetime
import ipaddress
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.server import START_SECONDS, free_port

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy.md"
BLOCK = re.compile(r"```nginx\n# ([\w-]+)\n(.*?)```", re.DOTALL)
PROXIED = "http://127.0.0.1:7860"
HTTP = """user root;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """A running nginx. `ports` has the port of each configuration."""

    ports: Mapping[str, int]
    folder: Path

    def paths(self) -> list[str]:
        """The paths of all requests."""
        log = (self.folder / "access.log").read_text()
        return [line.split('"')[1].split()[1] for line in log.splitlines()]


def configurations() -> dict[str, str]:
    """The `server` blocks of docs/deploy.md by their names."""
    return dict(BLOCK.findall(DEPLOY.read_text(encoding="utf-8")))


@contextmanager
def nginx(folder: Path, upstreams: Mapping[str, str]) -> Iterator[Nginx]:
    """Run nginx in front of servers, each with one configuration of docs/deploy.md.

    Args:
        folder: Where its files lie.
        upstreams: The address of the server behind each configuration.
    """
    certificate(folder)
    shown = configurations()
    ports = {name: free_port() for name in upstreams}
    servers = [
        placed(shown[name], port=ports[name], upstream=upstream, folder=folder)
        for name, upstream in upstreams.items()
    ]
    with running(folder, "\n".join(servers), ports.values()):
        yield Nginx(ports, folder)


@contextmanager
def running(folder: Path, servers: str, ports: Iterable[int]) -> Iterator[None]:
    """Run nginx with a configuration, until the block ends; it listens when the block starts.

    Args:
        folder: Where its files lie.
        servers: `server` blocks and other directives of the http block.
        ports: Those that the servers listen on.
    """
    config = folder / "nginx.conf"
    config.write_text(HTTP.format(folder=folder, servers=servers))
    binary = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert binary, "nginx is missing: install Debian's package nginx-light"
    process = subprocess.Popen([binary, "-c", str(config)], stderr=subprocess.PIPE, text=True)
    try:
        for port in ports:
            wait_until_open(port, process)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)


def placed(block: str, *, port: int, upstream: str, folder: Path) -> str:
    """A documented configuration with the ports and certificate of a test."""
    for shown, here in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/ssl/certs/review.pem", f"{folder}/review.pem"),
        ("/etc/ssl/private/review.key", f"{folder}/review.key"),
        (PROXIED, upstream),
    ):
        block = block.replace(shown, here)
    assert str(port) in block
    assert upstream in block
    return block


def wait_until_open(port: int, process: subprocess.Popen[str]) -> None:
    """Wait until a port accepts connections; raise nginx's message if it ends."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(process.communicate()[1]) from None
            time.sleep(0.05)
        else:
            return


def certificate(folder: Path) -> None:
    """Write a self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "review.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "review.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
