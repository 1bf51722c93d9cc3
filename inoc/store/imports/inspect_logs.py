"""Importer of Inspect: evaluation logs, as `.eval` (zip) or JSON."""

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from inoc.errors import BadInput
from inoc.reading import MAX_BYTES, parse_json
from inoc.store.imports.log_files import LogFiles
from inoc.store.imports.reading import Node, head, load_json
from inoc.store.imports.rows import LogprobRow, ScoreRow

LETTERS: Final = {"C": 100.0, "P": 50.0, "I": 0.0, "N": 0.0}
"""Inspect's correct, partial, incorrect and no answer."""
ZSTANDARD: Final = 93
"""The method of packing in an archive."""


@dataclass(frozen=True)
class InspectLogs(LogFiles):
    """Scores of samples, or the logprobs of their answers.

    Attributes:
        scale: The largest value of a numeric score; 100 for scores of inoc.
    """

    scale: float = 1.0

    def sniff(self, paths: Sequence[Path]) -> bool:
        """Whether the files are logs of Inspect."""
        return all(_is_zip(path) or ('"version"' in (text := head(path)) and '"eval"' in text) for path in paths)

    def read(self, paths: Sequence[Path]) -> Iterator[LogprobRow | ScoreRow | str]:
        """Rows of all samples; a sentence for each score that is not a number."""
        for path in paths:
            for sample in _samples(path):
                epoch = sample.get("epoch", 1).integer()
                asked = str(sample["id"].value) + (f"#{epoch}" if epoch > 1 else "")
                if self.take == "logprobs":
                    yield self._logprobs(sample, path, asked)
                else:
                    yield from self._scores(sample, path, asked)

    def _scores(self, sample: Node, path: Path, asked: str) -> Iterator[ScoreRow | str]:
        run, prompt, kind = self.run(path)
        found = sample.get("scores")
        for scorer, score in found.items() if found.value else ():
            value = score["value"]
            parts = value.items() if isinstance(value.value, dict) else [("", value)]
            for part, node in parts:
                name = f"{scorer}.{part}" if part else scorer
                number = LETTERS.get(str(node.value))
                if number is None and isinstance(node.value, bool | int | float):
                    number = 100.0 * float(node.value) / self.scale
                    if not 0 <= number <= 100:
                        raise BadInput(
                            f"{node.where} is {node.value}, beyond 0 to {self.scale:g}. "
                            "Fix: name the largest value: --option scale=100."
                        )
                if number is None and node.value is not None:
                    yield f"{path.name}: {name}, whose values are not numbers"
                    continue
                number = float("nan") if number is None else number
                yield ScoreRow(run, asked, name, number, prompt, kind, self.step, self.condition, f"inspect:{scorer}",
                               where=sample.where)  # fmt: skip

    def _logprobs(self, sample: Node, path: Path, asked: str) -> LogprobRow:
        _, prompt, kind = self.run(path)
        choice = sample["output"]["choices"].rows()[:1]
        tokens = choice[0].get("logprobs") if choice else Node(None, sample.where)
        if tokens.value is None:
            raise BadInput(f"{sample.where} has no logprobs. Fix: log them, or take the scores: --option take=scores.")
        given = [token["logprob"].value for token in tokens["content"].rows()]
        content = choice[0]["message"]["content"]
        text = content.value if isinstance(content.value, str) else "".join(
            part["text"].text() for part in content.rows() if "text" in part
        )  # fmt: skip
        values = Node(given, f"{tokens.where}: logprob").logprobs().tolist()
        return LogprobRow(asked, values, prompt, kind, completion_set=self.completion_set, completion=text,
                          where=sample.where)  # fmt: skip


def _is_zip(path: Path) -> bool:
    return path.suffix == ".eval" and head(path, 4).startswith("PK")


def _samples(path: Path) -> Iterator[Node]:
    if not _is_zip(path):
        yield from load_json(path)["samples"].rows()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = sorted((e for e in archive.infolist() if e.filename.startswith("samples/")), key=_place)
            if sum(entry.file_size for entry in entries) > MAX_BYTES:
                raise BadInput(f"{path} unpacks to more than {MAX_BYTES:,} bytes. Fix: import its samples in parts.")
            for entry in entries:
                where = f"{path}, {entry.filename}"
                yield Node(parse_json(_unpacked(path, archive, entry), where), where, ": ")
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError, ValueError) as error:
        raise BadInput(f"{path} cannot be unpacked ({error}). Fix: write it as JSON: `inspect log convert`.") from None


def _place(entry: zipfile.ZipInfo) -> list[tuple[int, str]]:
    """Samples in the order of their ids, whole numbers by value."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", entry.filename)]


def _unpacked(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The content of an entry; Inspect packs with Zstandard, which Python's zipfile does not read before 3.14."""
    if entry.compress_type != ZSTANDARD:
        return archive.read(entry)
    zstandard: Any = import_module("numcodecs").Zstd()
    with path.open("rb") as file:
        file.seek(entry.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
        file.seek(name + extra, 1)
        room = np.empty(entry.file_size, np.uint8)  # what unpacks to more is refused
        content = np.asarray(zstandard.decode(file.read(entry.compress_size), room)).tobytes()
    if zlib.crc32(content) != entry.CRC:
        raise zipfile.BadZipFile(f"wrong checksum of {entry.filename}")
    return content
