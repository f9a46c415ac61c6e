"""Files and folders have the rights that the umask leaves, never wider, whoever makes them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from app.recorder.client import enqueue_result
from tests.recording import result

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("umask", ["027", "077"])
def test_nothing_has_wider_rights_than_the_umask_leaves(
    redis_url: str, connection: Redis, tmp_path: Path, umask: str
) -> None:
    for data in (result("one"), result("one", result="newer"), result("two"), {"no": "job_id"}):
        enqueue_result(data, connection=connection)
    out, state = tmp_path / "out", tmp_path / "counts"
    code = (
        "import os, sys; os.umask(int(sys.argv[1], 8)); from app.recorder.utils import record_result\n"
        "record_result({'job_id': 'direct'}); from app.recorder.cli import app; app(['--burst'])"
    )
    env = {**os.environ, "REDIS_URL": redis_url, "OUTPUT_DIR": str(out), "PROMETHEUS_MULTIPROC_DIR": str(state)}
    subprocess.run([sys.executable, "-c", code, umask], env=env, cwd=ROOT, check=True, capture_output=True)
    found = [path for folder in (out, state) for path in (folder, *folder.rglob("*")) if not path.is_symlink()]
    names = {path.name for path in found}
    assert {"one.json", "summary.json", ".journal", "quarantine", "superseded", "counter_recorder-0.db"} <= names
    for path in found:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o777 if path.is_dir() else 0o666) & ~int(umask, 8), path
