"""Runs `inoc` command lines in forked processes that count what they pay for and can be killed at a chosen count.

Read from stdin, one JSON line per process: {"args": [...], "cache": folder, "paid": file, "kill": [what, n] | null,
"full": n, "said": file}; from the n-th commit on the disk is full, 0 is never. Answers with two lines: the
process id when it has started, its wait status when it has ended.
Forking saves nothing but the imports: every process is a whole `inoc` with its own memory, and dies by SIGKILL.

What is counted: "score" (a scored request), "answer" (a sampled answer), "update" (an optimiser step), and "commit" (a
file or folder about to get its final name), each one byte-sized line in the file `paid`.
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence


def child(order: dict) -> None:
    said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ["XDG_CACHE_HOME"] = order["cache"]
    paid = os.open(order["paid"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    what, when = order["kill"] or ("", 0)
    full = order["full"]
    seen = dict.fromkeys(("score", "answer", "update", "commit"), 0)

    def pay(thing: str) -> None:
        seen[thing] += 1
        os.write(paid, f"{thing}\n".encode())
        if thing == what and seen[thing] == when:
            os.kill(os.getpid(), signal.SIGKILL)
        if thing == "commit" and 0 < full <= seen[thing]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    count(pay)
    sys.argv = ["inoc", *order["args"]]
    from inoc.cli import main

    main()


def count(pay: Callable[[str], None]) -> None:
    """Have everything that costs something tell `pay`; renames before they happen, the others after."""
    import torch

    from inoc.backends.local import LocalBackend

    def counted(method: str, thing: str) -> None:
        original = getattr(LocalBackend, method)

        def replacement(self: LocalBackend, *args: object) -> Iterator[object]:
            for result in original(self, *args):
                pay(thing)
                yield result

        setattr(LocalBackend, method, replacement)

    counted("compute_scores", "score")
    counted("compute_samples", "answer")
    step = torch.optim.AdamW.step

    def counted_step(self: torch.optim.AdamW, *args: object, **kwargs: object) -> object:
        result = step(self, *args, **kwargs)
        pay("update")
        return result

    torch.optim.AdamW.step = counted_step  # type: ignore[method-assign]
    for name in ("rename", "replace"):
        original = getattr(os, name)

        def counted_rename(*args: object, _original: Callable = original, **kwargs: object) -> object:
            pay("commit")
            return _original(*args, **kwargs)

        setattr(os, name, counted_rename)


def preload(modules: Sequence[str]) -> None:
    for name in modules:
        __import__(name)


if __name__ == "__main__":
    preload(["torch", "peft", "transformers.models.qwen2.modeling_qwen2", "zarr", "xarray", "openai", "tenacity"])
    preload(["inoc.cli.run", "inoc.stages.pipeline", "inoc.backends.local", "inoc.store.writer"])
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.close(0)
            child(json.loads(line))
            os._exit(0)
        os.write(1, f"{pid}\n".encode())
        os.write(1, f"{os.waitpid(pid, 0)[1]}\n".encode())
