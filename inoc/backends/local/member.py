"""One process of a data-parallel training, started by `parallel.py`: an order on stdin, reports on stdout."""

import logging
import os
import sys
import threading
from datetime import timedelta
from typing import BinaryIO

from inoc.backends.local.parallel import ORDER, SAID, Order, Said
from inoc.backends.protocols import Checkpoint, TrainingStep
from inoc.errors import InocError

PATIENCE = timedelta(minutes=30)
"""How long a member waits for the others: the first may be writing a large checkpoint."""


class Reports(logging.Handler):
    """Writes reports; as a logging handler, what the first member logs."""

    def __init__(self, out: BinaryIO) -> None:
        super().__init__(logging.WARNING)
        self.out = out

    def say(self, said: Said) -> None:
        self.out.write(SAID.dump_json(said) + b"\n")
        self.out.flush()

    def emit(self, record: logging.LogRecord) -> None:
        self.say(Said("log", text=record.getMessage()))


def main() -> None:
    """Train as ordered; an error is reported, and ends the process with status 1."""
    # keep what libraries print out of the reports
    reports = Reports(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    order = ORDER.validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logger = logging.getLogger("inoc")
    logger.propagate = False
    logger.addHandler(reports if order.rank == 0 else logging.NullHandler())
    try:
        _train(order, reports)
    except InocError as error:
        reports.say(Said("error", text=str(error), error=type(error).__name__))
    except Exception as error:  # reported in one line; the parent process names the member
        first = next((line for line in str(error).splitlines() if line.strip()), "no message")
        reports.say(Said("error", text=f"{type(error).__name__}: {first[:300]}"))
    else:
        reports.say(Said("done"))
        os._exit(0)  # at once, without waiting for the threads of the libraries
    os._exit(1)


def _train(order: Order, reports: Reports) -> None:
    import torch
    import torch.distributed as dist

    from inoc.backends.local.load import choose_device
    from inoc.backends.local.model import LocalModel
    from inoc.backends.local.team import Team
    from inoc.backends.local.train import train

    model = LocalModel(order.spec, order.options, order.identity)
    cuda = choose_device(order.options.device).type == "cuda"
    if cuda:
        torch.cuda.set_device(order.rank)
    kind, meeting = "nccl" if cuda else "gloo", f"file://{order.meeting}"
    dist.init_process_group(kind, init_method=meeting, rank=order.rank, world_size=order.size, timeout=PATIENCE)
    for event in train(model, order.job, Team(order.rank, order.size)):
        if order.rank > 0:
            continue
        match event:
            case TrainingStep():
                reports.say(Said("step", step=event))
            case Checkpoint():
                reports.say(Said("checkpoint", checkpoint=event))
            case _:
                raise NotImplementedError(f"the trainer has no {type(event).__name__}")


def _end_with_parent() -> None:
    """End with the parent: the pipe on stdin closes however it dies."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
