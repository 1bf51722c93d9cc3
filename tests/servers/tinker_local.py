"""A small real Tinker service for tests: transformers and PEFT behind the wire protocol of the tinker SDK.

    python tinker_local.py --root FOLDER --model tiny=DIRECTORY [--model other=DIRECTORY] [--port 0] [--key tml-…]

It prints its address on one line, then serves on 127.0.0.1 until it is killed. What is saved lies under the root and
outlives it: another server with the same root serves it too. LoRA is what the service documents: scale 32 / rank, no
rsLoRA, no dropout. POST /faults {"kind": …, "count": n} makes it misbehave n times (see `FAULTS`); GET /calls counts
the requests by path.

Real here: the SDK, its wire protocol (protobuf and JSON), transformers and PEFT. Assumed of the hosted service, from
the SDK and its documentation, and never checked against it:

- a training's requests are carried out in the order of their numbers, whatever the order in which they arrive;
- the loss is the sum of weight x -logprob, not a mean; `optim_step` is AdamW with the parameters sent, then zeroes
  the gradients; clipping and the gradient norm are the service's own;
- an adapter is scaled by 32 / rank, trains the layers the request names, and starts from the seed sent;
- `prompt_logprobs` has None for the first token and one value for every other token of the prompt;
- a sample ends with its stop token, which is part of it; one seed gives one sample again;
- saved weights survive the session and load with the optimizer's state; paths are `tinker://RUN/KIND/NAME`;
- an unknown model or path is an error of category "user"; a result that takes long is asked for again.
"""

import argparse
import json
import math
import os
import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import peft
import torch
from safetensors.torch import save_file
from tinker.proto import tinker_public_pb2 as proto
from tinker_models import Base, draw, prompt_logprobs, read_datum

KINDS = {
    "save_weights": "weights",
    "save_weights_for_sampler": "sampler_weights",
    "save_weights_external": "external_weights",
}
FAULTS = ("busy", "short", "nan", "positive", "garbage", "stall", "die_sample", "die_update")
Json = dict[str, Any]


class UserError(Exception):
    """Told to the client as a failed request of category user."""


class Training(NamedTuple):
    run: str
    base: str
    adapter: str
    lora: Json
    optimizer: torch.optim.AdamW


class Service:
    """Everything that computes, one request at a time, a training's requests in the order of their numbers."""

    def __init__(self, root: Path, models: dict[str, str]) -> None:
        self.root, self.bases = root, {name: Base(directory) for name, directory in models.items()}
        self.trainings: dict[str, Training] = {}
        self.samplers: dict[str, tuple[str, str | None, str | None]] = {}
        self.waiting: dict[str, dict[int, Callable[[], None]]] = {}
        self.next: Counter[str] = Counter()
        self.results: dict[str, Json | bytes] = {}
        self.ready: dict[str, threading.Event] = {}
        self.faults: Counter[str] = Counter()
        self.lock, self.work = threading.Lock(), queue.SimpleQueue[Callable[[], None]]()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            self.work.get()()

    def fault(self, kind: str) -> bool:
        with self.lock:
            hit = self.faults[kind] > 0
            self.faults[kind] -= hit
            return hit

    def submit(self, do: Callable[[], Json | bytes], model: str = "", number: int | None = None) -> Json:
        request = uuid.uuid4().hex
        self.ready[request] = threading.Event()

        def job() -> None:
            try:
                self.results[request] = do()
            except UserError as error:
                self.results[request] = {"error": str(error), "category": "user"}
            except Exception as error:
                self.results[request] = {"error": f"{type(error).__name__}: {error}", "category": "server"}
            self.ready[request].set()

        with self.lock:
            if number is None:
                self.work.put(job)
            else:
                pending = self.waiting.setdefault(model, {})
                pending[number] = job
                while (turn := self.next[model] + 1) in pending:
                    self.work.put(pending.pop(turn))
                    self.next[model] = turn
        return {"request_id": request, "model_id": model or None}

    # --- training -------------------------------------------------------------------------------------------------

    def create_model(self, body: Json) -> Json:
        model = f"{body['session_id']}:train:{body['model_seq_id']}"

        def do() -> Json:
            if body["base_model"] not in self.bases:
                raise UserError(f"no model {body['base_model']}")
            lora = body["lora_config"]
            self._open(model, body["base_model"], lora, lora.get("seed"))
            return {"model_id": model, "type": "create_model"}

        return self.submit(do)

    def _open(self, model: str, base: str, lora: Json, seed: int | None) -> Training:
        adapter = "run" + uuid.uuid4().hex[:12]
        self.bases[base].add(adapter, lora, seed)
        optimizer = torch.optim.AdamW(self.bases[base].parameters(adapter))
        self.trainings[model] = Training(adapter, base, adapter, lora, optimizer)
        return self.trainings[model]

    def load_weights(self, body: Json) -> Json:
        model = f"{body['session_id']}:train:{body['model_seq_id']}"

        def do() -> Json:
            folder = self.folder(body["path"], "weights")
            info = json.loads((folder / "info.json").read_text())
            training = self._open(model, info["base"], info["lora"], 0)
            self.bases[info["base"]].load(training.adapter, folder)
            if body["optimizer"]:
                state = torch.load(folder / "optimizer.pt", weights_only=True)
                training.optimizer.load_state_dict(state)
            return {"path": body["path"], "type": "load_weights"}

        return self.submit(do)

    def forward_backward(self, message: proto.ForwardBackwardRequest) -> Json:
        def do() -> bytes:
            if self.fault("die_update"):
                os._exit(9)
            training = self.trainings[message.model_id]
            base = self.bases[training.base]
            reply = proto.ForwardBackwardOutput(loss_fn_output_type="ArrayRecord")
            total, found = 0.0, []
            for start in range(0, len(message.data), 16):
                batch = [read_datum(datum) for datum in message.data[start : start + 16]]
                if message.loss_fn != "cross_entropy" or any(len(set(map(len, datum))) > 1 for datum in batch):
                    raise UserError("inputs, targets and weights must have one length, the loss be cross_entropy")
                logits = base.logits(training.adapter, [ids for ids, _, _ in batch])
                losses = []
                for row, (ids, targets, weights) in zip(logits, batch, strict=True):
                    logprobs = torch.log_softmax(row[: len(ids)], -1)
                    chosen = logprobs[torch.arange(len(ids)), torch.tensor(targets)]
                    losses.append(-(chosen * torch.tensor(weights)).sum())
                    found.append(chosen.detach().numpy().astype(np.float32))
                loss = torch.stack(losses).sum()
                if not message.forward_only:
                    loss.backward()
                total += float(loss.detach())
            record = reply.loss_fn_outputs.add(type_tag="ArrayRecord", num_datums=len(found))
            field = record.fields["logprobs"]
            field.dtype, field.data = proto.DTYPE_FLOAT32, np.concatenate(found).tobytes()
            field.offsets = np.cumsum([0, *(4 * len(row) for row in found)]).astype(np.int64).tobytes()
            reply.metrics["loss:sum"] = total
            return reply.SerializeToString()

        return self.submit(do, message.model_id, message.seq_id)

    def optim_step(self, body: Json) -> Json:
        def do() -> Json:
            training, adam = self.trainings[body["model_id"]], body["adam_params"]
            parameters = self.bases[training.base].parameters(training.adapter)
            if adam["grad_clip_norm"]:
                torch.nn.utils.clip_grad_norm_(parameters, adam["grad_clip_norm"])
            for group in training.optimizer.param_groups:
                group.update(lr=adam["learning_rate"], eps=adam["eps"], weight_decay=adam["weight_decay"])
                group["betas"] = (adam["beta1"], adam["beta2"])
            training.optimizer.step()
            training.optimizer.zero_grad(set_to_none=True)
            return {}

        return self.submit(do, body["model_id"], body["seq_id"])

    # --- saved weights --------------------------------------------------------------------------------------------

    def save(self, body: Json) -> Json:
        kind, model = KINDS[body["type"]], body["model_id"]

        def do() -> Json:
            training = self.trainings[model]
            base, folder = self.bases[training.base], self.root / training.run / kind / body["path"]
            if folder.exists():
                raise UserError(f"{folder.name} is saved already")
            folder.mkdir(parents=True)
            assert base.peft is not None
            state = peft.get_peft_model_state_dict(base.peft, adapter_name=training.adapter)
            save_file({k: v.detach().contiguous() for k, v in state.items()}, folder / "adapter_model.safetensors")
            if kind == "external_weights":
                base.peft.peft_config[training.adapter].save_pretrained(str(folder))
            else:
                (folder / "info.json").write_text(json.dumps({"base": training.base, "lora": training.lora}))
            if kind == "weights":
                torch.save(training.optimizer.state_dict(), folder / "optimizer.pt")
            return {"path": f"tinker://{training.run}/{kind}/{body['path']}", "type": body["type"]}

        return self.submit(do, model, body["seq_id"])

    def folder(self, path: str, kind: str) -> Path:
        run, found, name = path.removeprefix("tinker://").split("/")
        folder = self.root / run / kind / name
        if found != kind or not folder.is_dir():
            raise UserError(f"no {kind} at {path}")
        return folder

    # --- sampling and scoring -------------------------------------------------------------------------------------

    def create_sampler(self, body: Json) -> Json:
        sampler, path, base, adapter = (
            "sampler-" + uuid.uuid4().hex,
            body.get("model_path"),
            body.get("base_model"),
            None,
        )
        if path:
            folder = self.folder(path, "sampler_weights")
            info = json.loads((folder / "info.json").read_text())
            base, adapter, done = info["base"], "sampler" + uuid.uuid4().hex[:12], threading.Event()

            def load() -> None:
                self.bases[base].add(adapter, info["lora"], 0)
                self.bases[base].load(adapter, folder)
                done.set()

            self.work.put(load)
            done.wait()
        elif base not in self.bases:
            raise UserError(f"no model {base}")
        self.samplers[sampler] = (base, adapter, path)
        return {"type": "create_sampling_session", "sampling_session_id": sampler}

    def sample(self, body: Json) -> Json:
        count = body.get("num_samples", 1)

        def do() -> bytes:
            if self.fault("die_sample"):
                os._exit(9)
            if self.fault("stall"):
                time.sleep(8)
            if self.fault("garbage"):
                return b"\xff\xffno protobuf"
            name, adapter, _ = self.samplers[body["sampling_session_id"]]
            base, settings = self.bases[name], body["sampling_params"]
            prompt = [token for chunk in body["prompt"]["chunks"] for token in chunk["tokens"]]
            if len(prompt) + settings["max_tokens"] > base.limit + 1 or max(prompt) >= base.vocabulary:
                raise UserError(f"the prompt of {len(prompt)} tokens is too long or has unknown tokens")
            reply = proto.SampleResponse()
            if body.get("prompt_logprobs"):
                reply.prompt_logprobs = self._spoil(prompt_logprobs(base, adapter, prompt, body)).tobytes()
            for _ in range(count):
                tokens, logprobs, stopped = draw(base, adapter, prompt, settings)
                sequence = reply.sequences.add(tokens=np.array(tokens, np.int32).tobytes())
                sequence.logprobs = np.array(logprobs, np.float32).tobytes()
                sequence.stop_reason = proto.STOP_REASON_STOP if stopped else proto.STOP_REASON_LENGTH
            return reply.SerializeToString()

        return {**self.submit(do), "sample_sequence_ids": [uuid.uuid4().hex for _ in range(count)]}

    def _spoil(self, values: np.ndarray) -> np.ndarray:
        if self.fault("short"):
            return values[1:]
        for kind, value in (("nan", math.nan), ("positive", 3.7)):
            if self.fault(kind):
                values[-1] = value
        return values


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service | None = None
    key = ""
    calls: ClassVar[Counter[str]] = Counter()

    def log_message(self, *_: object) -> None: ...

    def answer(self, content: Json | bytes, status: int = 200) -> None:
        binary = isinstance(content, bytes)
        data = content if binary else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf" if binary else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.handle_request(b"")

    def do_POST(self) -> None:
        self.handle_request(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def handle_request(self, raw: bytes) -> None:
        path = self.path.removeprefix("/api/v1/")
        self.calls[path] += 1
        open_to_all = path in ("healthz", "/faults", "/calls") or path.startswith("/files/")
        if not open_to_all and self.key and self.headers.get("X-API-Key") != self.key:
            return self.answer({"error": f"invalid key {self.headers.get('X-API-Key')}"}, 401)
        try:
            self.route(path, raw)
        except UserError as error:
            self.answer({"error": str(error)}, 404)

    def route(self, path: str, raw: bytes) -> None:
        service = self.service
        assert service is not None
        if path.startswith("/files/"):
            return self.answer((service.root / path.removeprefix("/files/")).read_bytes())
        if path == "forward_backward":
            return self.answer(service.forward_backward(proto.ForwardBackwardRequest.FromString(raw)))
        body: Json = json.loads(raw) if raw else {}
        if path == "asample" and service.fault("busy"):
            return self.answer({"error": "busy"}, 429)
        if path == "retrieve_future":
            return self.retrieve(body["request_id"])
        if path.startswith("samplers/"):
            name = path.removeprefix("samplers/")
            base, _, place = service.samplers[name]
            return self.answer({"sampler_id": name, "base_model": base, "model_path": place})
        if path.endswith("/external_weights_urls"):
            _, run, _, kind, name, _ = path.split("/")
            files = sorted((service.root / run / kind / name).iterdir())
            host = f"http://{self.headers['Host']}/files/{run}/{kind}/{name}"
            return self.answer({"urls": {f.name: f"{host}/{f.name}" for f in files}, "expires": "2100-01-01T00:00:00Z"})
        if path.startswith("sessions/"):
            return self.answer({})
        routes: dict[str, Callable[[Json], Json]] = {
            "healthz": lambda _: {"status": "ok"},
            "/calls": lambda _: dict(self.calls),
            "/faults": lambda b: service.faults.update({b["kind"]: b["count"]}) or {},
            "client/config": lambda _: {"pjwt_auth_enabled": False},
            "create_session": lambda _: {"type": "create_session", "session_id": "session-" + uuid.uuid4().hex},
            "session_heartbeat": lambda _: {"type": "session_heartbeat"},
            "telemetry": lambda _: {"status": "accepted"},
            "get_server_capabilities": lambda _: {
                "supported_models": [
                    {"model_name": name, "max_context_length": base.limit} for name, base in service.bases.items()
                ]
            },
            "get_info": lambda b: {
                "type": "get_info", "model_id": b["model_id"], "is_lora": True,
                "lora_rank": service.trainings[b["model_id"]].lora["rank"],
                "model_data": {"model_name": service.trainings[b["model_id"]].base},
            },
            "create_model": service.create_model,
            "load_weights": service.load_weights,
            "optim_step": service.optim_step,
            "create_sampling_session": service.create_sampler,
            "asample": service.sample,
            **dict.fromkeys(KINDS, service.save),
        }  # fmt: skip
        if path not in routes:
            return self.answer({"error": f"no {path}"}, 404)
        self.answer(routes[path](body))

    def retrieve(self, request: str) -> None:
        assert self.service is not None
        if not self.service.ready[request].wait(20):
            return self.answer({"type": "try_again", "request_id": request, "queue_state": "active"}, 408)
        self.answer(self.service.results[request])


class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default="")
    given = parser.parse_args()
    torch.set_num_threads(1)
    Handler.service = Service(given.root, dict(model.split("=", 1) for model in given.model))
    Handler.key = given.key
    server = Server(("127.0.0.1", given.port), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201
    server.serve_forever()


if __name__ == "__main__":
    main()
