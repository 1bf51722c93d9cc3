"""Which build of torch `make install` takes: with and without a CUDA card, and with and without the CPU index."""

import http.server
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "torch"
pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="only Linux has two builds")
CARD = "#!/bin/sh\necho 'GPU 0: NVIDIA H100 (UUID: GPU-1)'\n"
NO_DRIVER = "#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n"
NO_CARD = "#!/bin/sh\necho 'No devices were found'\n"


@pytest.fixture
def index() -> Iterator[str]:
    """The address of a server that answers like a package index."""

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/cpu/torch/" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/cpu"
        server.shutdown()


def choose(folder: Path, index: str, *arguments: str, driver: str | None = None, **more: str) -> tuple[int, str, str]:
    """Run the script where `nvidia-smi` is `driver`, or missing."""
    if driver is not None:
        (folder / "nvidia-smi").write_text(driver)
        (folder / "nvidia-smi").chmod(0o755)
    hidden = ("TORCH", "http_proxy", "HTTP_PROXY")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True,
        env={**kept, "PATH": str(folder), "TORCH_CPU_INDEX": index, **more},
    )  # fmt: skip
    return done.returncode, done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize("driver", [None, NO_DRIVER, NO_CARD])
def test_the_cpu_build_without_a_card(tmp_path: Path, index: str, driver: str | None) -> None:
    code, options, note = choose(tmp_path, index, driver=driver)
    assert (code, options) == (0, f"--extra-index-url {index}")
    assert "the CPU build" in note


def test_the_package_index_with_a_card(tmp_path: Path, index: str) -> None:
    code, options, note = choose(tmp_path, index, driver=CARD)
    assert (code, options) == (0, "")
    assert "CUDA build" in note


def test_the_variable_and_the_argument_decide(tmp_path: Path, index: str) -> None:
    assert choose(tmp_path, index, "cpu", driver=CARD)[1] == f"--extra-index-url {index}"
    assert choose(tmp_path, index, driver=CARD, TORCH="cpu")[1] == f"--extra-index-url {index}"
    assert choose(tmp_path, index, "cuda", driver=NO_CARD)[1] == ""
    code, options, note = choose(tmp_path, index, "rocm")
    assert (code, options) == (1, "")
    assert note.endswith("Fix: TORCH=cpu or TORCH=cuda.")


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/cpu", "http://no.such.host.invalid/cpu", "{index}/elsewhere"])
def test_an_index_that_cannot_be_reached_is_said(tmp_path: Path, index: str, place: str) -> None:
    code, options, note = choose(tmp_path, place.format(index=index))
    assert (code, options) == (0, "")
    assert "cannot be reached; going on with the package index" in note
    assert len(note.splitlines()) == 1


def test_make_passes_the_choice_to_pip(tmp_path: Path) -> None:
    """The commands `make install` would run, with the variable."""
    shown = subprocess.run(
        ["make", "--dry-run", "--always-make", "install", "TORCH=cuda", f"VENV={tmp_path}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (line,) = [line for line in shown.splitlines() if '"torch==' in line]
    assert f"$({tmp_path}/bin/python .ci/torch cuda)" in line
