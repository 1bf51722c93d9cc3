"""Start the stack with one worker by hand, print the environment a client needs, and wait for Ctrl-C.

`python tests/openweights/stack [--no-worker]`; `eval` or `source` takes the lines that begin with `export`.
"""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from stack import Stack

if __name__ == "__main__":
    stack = Stack()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        if "--no-worker" not in sys.argv:
            stack.start_worker()
        for name, value in stack.env.items():
            print(f"export {name}={value}", flush=True)
        print(f"# logs in {stack.folder}; Ctrl-C ends everything", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        stack.close()
