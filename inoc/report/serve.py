"""The page over stores that are being written: a server on this machine that answers the page's questions.

It listens on the loopback address only. Every address begins with a random token, and the name that a request
asks for must be that of this machine, so that neither other people's processes nor pages of other sites read a study.
"""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from inoc.errors import BadInput, InocError
from inoc.heuristics.frame.rows import records
from inoc.outcomes import compare
from inoc.outcomes.stored_answers import Answer, answers
from inoc.report.answers import AnswerPage, answer_page
from inoc.report.build import Report, build_report
from inoc.report.html import as_json, live_page
from inoc.report.progress import Pace, stages, version
from inoc.store.store import open_store
from inoc.values import Recipe

HOST = "127.0.0.1"
PARTS: Mapping[str, tuple[str, ...]] = {
    "summary": ("title", "about", "summary", "missing"),
    "table": ("prompts", "row_prompt", "row_prefix_type", "columns"),
    **{
        name: (name,) for name in ("curves", "angles", "outcomes", "leaks", "emergence", "answers", "tokens", "figures")
    },
}
"""The fields of a report that each part of the page needs."""
QUICK = 1.0
"""Seconds that a report may take to be made again at every change."""
REST = 3.0
"""After a slower one nothing new is read for this many times as long: watching leaves the machine to the run."""
HEADERS = {
    "Cache-Control": "no-cache, private",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Watched:
    """One store: its report is made again when it is asked for and the files have changed."""

    def __init__(self, path: Path, completion_set: str, recipe: Recipe, tokenizer: Path | None, seed: int) -> None:
        self.path = path
        self._options = (completion_set, recipe, tokenizer, seed)
        self._lock = threading.Lock()
        self._pace: dict[str, Pace] = {}
        self._made: tuple[str, Report] | None = None
        self._rests_until = 0.0
        self._answers: tuple[str, list[Answer]] = ("", [])

    def status(self) -> dict[str, object]:
        """Name, version, seconds since the last change, and the stages with their time left."""
        found, changed = version(self.path)
        made = self._made
        shown = made[0] if made and time.monotonic() < self._rests_until else found
        about: dict[str, object] = {"name": self.path.name, "version": shown, "age": time.time() - changed}
        try:
            now = time.monotonic()
            with self._lock:
                told = [
                    replace(stage, left=self._pace.setdefault(stage.name, Pace()).left(stage, now))
                    for stage in stages(open_store(self.path))
                ]
            return {**about, "stages": told}
        except InocError as error:
            return {**about, "stages": [], "error": str(error)}

    def part(self, name: str) -> dict[str, object]:
        """The fields of a part of the page."""
        with self._lock:
            _, report = self._report()
            return {field: getattr(report, field) for field in PARTS[name]}

    def answers(self, asked: Mapping[str, str]) -> AnswerPage:
        """Some of all answers: the arguments of `answer_page`, as text.

        Raises:
            BadInput: The page offers no such argument.
        """
        with self._lock:
            found, report = self._report()
            if self._answers[0] != found:
                self._answers = (found, answers(open_store(self.path), every_judge=True))
            try:
                return answer_page(self._answers[1], report.answers, most=int(asked["most"]), **{
                    name: asked.get(name, "") for name in ("question", "run", "condition", "order", "find")
                })  # fmt: skip
            except (KeyError, ValueError, IndexError):
                raise BadInput("no answers are asked for in this way. Fix: load the page again.") from None

    def _report(self) -> tuple[str, Report]:
        """The report and its version: made again when the store has changed and the last one is not too recent."""
        found, _ = version(self.path)
        begun = time.monotonic()
        if self._made is None or (self._made[0] != found and begun >= self._rests_until):
            completion_set, recipe, tokenizer, seed = self._options
            report = build_report(
                open_store(self.path), completion_set=completion_set, recipe=recipe, tokenizer=tokenizer, seed=seed
            )
            ended = time.monotonic()
            self._made = (found, report)
            self._rests_until = ended + (REST * (ended - begun) if ended - begun > QUICK else 0.0)
        return self._made


def application(stores: Sequence[Watched], token: str) -> Starlette:
    """The server of some stores, in the order they are listed; every address begins with `token`."""

    def page(request: Request) -> Response:
        text, policy = live_page(stores[0].path.name)
        return Response(text, media_type="text/html", headers={**HEADERS, "Content-Security-Policy": policy})

    def status(request: Request) -> Response:
        return _answer(request, {"stores": [store.status() for store in stores]})

    def part(request: Request) -> Response:
        i, name = int(request.path_params["i"]), str(request.path_params["name"])
        if i >= len(stores) or name not in PARTS:
            return Response("not found", 404, HEADERS)
        return _tried(request, lambda: stores[i].part(name))

    def differences(request: Request) -> Response:
        i, j = int(request.path_params["i"]), int(request.path_params["j"])
        if max(i, j) >= len(stores):
            return Response("not found", 404, HEADERS)
        return _tried(request, lambda: _differences(stores[i].path, stores[j].path))

    def page_of_answers(request: Request) -> Response:
        i = int(request.path_params["i"])
        if i >= len(stores):
            return Response("not found", 404, HEADERS)
        return _tried(request, lambda: vars(stores[i].answers(request.query_params)))

    routes = [
        Route(f"/{token}/", page),
        Route(f"/{token}/status", status),
        Route(f"/{token}/stores/{{i:int}}/{{name}}", part),
        Route(f"/{token}/answers/{{i:int}}", page_of_answers),
        Route(f"/{token}/compare/{{i:int}}/{{j:int}}", differences),
    ]
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return Starlette(routes=routes, middleware=[trusted])


def serve(stores: Sequence[Watched], port: int = 0, token: str | None = None) -> tuple[str, "Server"]:
    """A server that is ready to run, and its address. `port`: 0 for any free one, BadInput for one that is taken;
    `token`: the secret part of the address, a random one by default."""
    secret = token or secrets.token_urlsafe(18)
    try:
        place = socket.create_server((HOST, port))
    except OSError as error:
        raise BadInput(f"port {port} cannot be used ({error.strerror}). Fix: leave --port out.") from None
    return f"http://{HOST}:{place.getsockname()[1]}/{secret}/", Server(application(stores, secret), place)


class Server:
    """Runs an application on a socket until it is stopped or interrupted."""

    def __init__(self, app: Starlette, place: socket.socket) -> None:
        import uvicorn

        config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False, lifespan="off")
        self._server, self._place = uvicorn.Server(config), place

    def run(self) -> None:
        """Answer until the process is interrupted."""
        self._server.run(sockets=[self._place])

    def stop(self) -> None:
        """End `run` of another thread."""
        self._server.should_exit = True


def _differences(first: Path, second: Path) -> dict[str, object]:
    table = compare(open_store(first), open_store(second))
    return {"rows": records(table), **{name: table.attrs[name] for name in ("settings", "left_out")}}


def _tried(request: Request, make: Callable[[], Mapping[str, object]]) -> Response:
    """The answer, or the sentence of an error."""
    try:
        return _answer(request, make())
    except InocError as error:
        return Response(as_json({"error": str(error)}), 409, HEADERS, "application/json")


def _answer(request: Request, content: Mapping[str, object]) -> Response:
    """JSON with its hash; 304 where the page has it already."""
    text = as_json(content).encode("utf-8", "replace")
    tag = f'"{sha256(text).hexdigest()[:24]}"'
    headers = {**HEADERS, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(None, 304, headers)
    return Response(text, 200, headers, "application/json")
