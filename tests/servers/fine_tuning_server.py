"""A scripted fine-tuning service: files, jobs, events, checkpoints, chat answers. Standard library only.

Nothing is trained. Assumed of the hosted API, from its documentation, and never checked against it: a job goes from
`queued` to `running` to `succeeded` or `failed`; metrics are events (`step`, `train_loss`), newest first, in pages;
the list of jobs names the training file of each, by which a job is found again; only the last checkpoints are kept,
each under a model name of its own.
"""

import json
import re

from servers.openai_stub import Call, Reply, StubServer, error_reply, json_reply


class FineTuningServer:
    """Jobs advance one update per look at their state. `faults` are played first, one per request that matches.

    `lose_created`: the reply to that many job creations is cut off, though the job exists.
    """

    def __init__(self, updates: int = 5, fail_at: int | None = None, lose_created: int = 0, keep: int = 3) -> None:
        self.updates, self.fail_at, self.keep, self.lose_created = updates, fail_at, keep, lose_created
        self.files: dict[str, bytes] = {}
        self.jobs: dict[str, dict] = {}
        self.stub = StubServer(self._answer)
        self.url = self.stub.url

    def __enter__(self) -> "FineTuningServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stub.__exit__()

    def _answer(self, call: Call) -> Reply:
        path = call.path.removeprefix("/v1").split("?")[0]
        if path == "/files":
            boundary = call.headers["content-type"].split("boundary=")[1].encode()
            part = next(p for p in call.content.split(b"--" + boundary) if b'filename="' in p)
            assert b"fine-tune" in call.content
            name = f"file-{len(self.files)}"
            self.files[name] = part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
            return json_reply({"id": name, "object": "file", "bytes": 1, "created_at": 0, "filename": "x",
                               "purpose": "fine-tune", "status": "processed"})  # fmt: skip
        if path == "/fine_tuning/jobs" and call.method == "POST":
            name = f"ftjob-{len(self.jobs)}"
            self.jobs[name] = {"id": name, "status": "queued", "training_file": call.json["training_file"],
                               "fine_tuned_model": None, "error": None, "request": call.json, "done": 0}  # fmt: skip
            if self.lose_created > 0:
                self.lose_created -= 1
                return Reply(b"{}", cut=0)
            return json_reply(self.jobs[name])
        if path == "/fine_tuning/jobs":
            return json_reply({"data": list(self.jobs.values()), "has_more": False})
        if path == "/chat/completions":
            model, text = call.json["model"], call.json["messages"][-1]["content"]
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": f"{model} to {text}"},
                "finish_reason": "stop",
            }
            return json_reply({"choices": [choice]})
        if path.startswith("/models/"):
            return json_reply({"id": path[8:]}) if path[8:] == "base" else error_reply(404, "The model does not exist")
        found = re.fullmatch(r"/fine_tuning/jobs/(ftjob-\d+)(/events|/checkpoints)?", path)
        if not found or found[1] not in self.jobs:
            return error_reply(404, "not found")
        job = self.jobs[found[1]]
        if found[2] == "/events":
            return self._events(job, call)
        if found[2] == "/checkpoints":
            steps = range(1, self.updates + 1)[-self.keep :]
            rows = [{"step_number": n, "fine_tuned_model_checkpoint": f"ft:base:step-{n}"} for n in steps]
            return json_reply({"data": rows})
        return self._state(job)

    def _state(self, job: dict) -> Reply:
        job["done"] += 1
        job["status"] = "running"
        if self.fail_at is not None and job["done"] >= self.fail_at:
            job |= {"status": "failed", "error": {"code": "invalid", "message": "rows are bad"}}
        elif job["done"] >= self.updates:
            job |= {"status": "succeeded", "fine_tuned_model": "ft:base:final"}
        return json_reply({k: v for k, v in job.items() if k not in ("request", "done")})

    def _events(self, job: dict, call: Call) -> Reply:
        """Newest first, two on a page."""
        events = [{"id": "ev-0", "type": "message", "message": "Created job", "data": {}}]
        events += [
            {"id": f"ev-{n}", "type": "metrics", "message": f"Step {n}", "data": {"step": n, "train_loss": 3.0 / n}}
            for n in range(1, min(job["done"], self.updates) + 1)
        ]
        events = events[::-1]
        after = re.search(r"after=(ev-\d+)", call.path)
        start = [e["id"] for e in events].index(after[1]) + 1 if after else 0
        return json_reply({"data": events[start : start + 2], "has_more": start + 2 < len(events)})

    def rows(self, file: str) -> list[dict]:
        return [json.loads(line) for line in self.files[file].decode().splitlines()]
