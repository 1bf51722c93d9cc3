"""A process with everything imported, and forks of it that run tests on changed code."""

import contextlib
import gc
import importlib
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

PASSED, FAILED, ELSEWHERE = 0, 1, 3  # ELSEWHERE: this change needs a fresh import
MEMORY = 8 << 30  # bytes that a mutant may take beyond what is there
OPTIONS = ["-q", "--tb=no", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist"]


def forked(action: Callable[[], int], limit: float, output: Path) -> int | None:
    """Call `action` in a fork. Returns its number (1 where it raises), None after `limit` seconds."""
    start, child = time.monotonic(), os.fork()
    if child == 0:
        os.setsid()
        for number in (1, 2):
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
        code = FAILED
        with contextlib.suppress(BaseException):
            code = action()
        os._exit(code)
    pause = 0.002
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done or time.monotonic() - start > limit:
            break
        time.sleep(pause := min(2 * pause, 0.05))
    with contextlib.suppress(ProcessLookupError):  # servers and children that the tests left
        os.killpg(child, signal.SIGKILL)
    if not done:
        os.waitpid(child, 0)
        return None
    return os.waitstatus_to_exitcode(status)


def blamed(output: Path) -> str:
    """The test that failed, from what a fork wrote."""
    found = re.findall(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", output.read_text(errors="replace"), re.MULTILINE)
    return found[-1] if found else ""


def narrow(module: str | None) -> None:
    """Check types at run time in one module only: decorating all of the package takes longer than most tests."""
    import jaxtyping

    install = jaxtyping.install_import_hook
    jaxtyping.install_import_hook = lambda _, checker: install(module or "nothing", checker)


def module_name(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class Quick:
    """What all runs have: no search for the smallest example, no fault for a slow machine, a limit for each test."""

    def __init__(self, limits: dict[str, float]) -> None:
        self.limits = limits

    def pytest_collection(self) -> None:
        from hypothesis import HealthCheck, Phase, settings

        phases, fixed = (Phase.explicit, Phase.generate), settings.get_profile("fixed")
        settings.register_profile("quick", fixed, phases=phases, suppress_health_check=list(HealthCheck))
        settings.load_profile("quick")

    def order(self, items: list[pytest.Item], limits: dict[str, float]) -> list[pytest.Item]:
        by_name = {item.nodeid: item for item in items}
        found = [by_name[name] for name in limits if name in by_name]
        for item in found:
            item.add_marker(pytest.mark.timeout(limits[item.nodeid]), append=False)
        return found

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.limits:
            items[:] = self.order(items, self.limits)


def _codes(code: CodeType) -> Iterable[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


class Server(Quick):
    """Collects tests, then runs some of them in a fork for each job, where a function has other code."""

    def __init__(self, jobs: Connection, files: list[str], copy: Path) -> None:
        super().__init__({})
        self.jobs, self.files, self.copy = jobs, files, copy

    def functions(self) -> dict[tuple[str, str, int], list[FunctionType]]:
        """(file, qualified name, first line) -> the functions made from it."""
        found: dict[tuple[str, str, int], list[FunctionType]] = {}
        for one in gc.get_objects():
            if isinstance(one, FunctionType) and (code := one.__code__).co_filename.startswith(str(self.copy / "inoc")):
                found.setdefault((code.co_filename, code.co_qualname, code.co_firstlineno), []).append(one)
        return found

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for file in self.files:
            importlib.import_module(module_name(file))
        functions = self.functions()
        gc.freeze()
        self.jobs.send(len(session.items))
        for file, function, source, limits, total in iter(self.jobs.recv, None):

            def run(file: str = file, function: Any = function, source: bytes = source, limits: Any = limits) -> int:
                path = str(self.copy / file)
                code = sys.modules[module_name(file)].__loader__.source_to_code(source, path)
                new = [one for one in _codes(code) if (one.co_qualname, one.co_firstlineno) == function]
                old = functions.get((path, *function), [])
                if len(new) != 1 or not old or any(one.__code__.co_freevars != new[0].co_freevars for one in old):
                    return ELSEWHERE
                for one in old:
                    one.__code__ = new[0]
                items = self.order(session.items, limits)
                for item, following in zip(items, [*items[1:], None], strict=True):
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                    if session.testsfailed:
                        (self.copy / "output.txt").write_text(f"FAILED {item.nodeid}\n")
                        return FAILED
                return PASSED

            self.jobs.send(forked(run, total, self.copy / "output.txt"))
        return True


def fresh(file: str, limits: dict[str, float], options: list[str]) -> int:
    """In a fork of a process without inoc: import all anew and run these tests."""
    narrow(module_name(file))
    files = list(dict.fromkeys(name.split("::")[0] for name in limits))
    return int(pytest.main(["-x", *options, *files], plugins=[Quick(limits)]))
