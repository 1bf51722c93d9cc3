"""The suite of importers. Give it a class with `sniff` and `read`, and files that it reads:

class TestImporter(ImporterConformance):
    importer = MyImporter

    @pytest.fixture
    def files(self, tmp_path):
        (tmp_path / "good.log").write_text(...)
        return [tmp_path / "good.log"]
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from inoc.errors import InocError
from inoc.store.imports import Importer
from inoc.store.imports.rows import Gathered, Item, LogprobRow, ScoreRow

OTHERS: Mapping[str, bytes] = {
    "empty": b"", "spaces": b" \n\n", "object.json": b"{}", "list.jsonl": b"[1, 2]\n[3]\n", "deep.json": b"[" * 5000,
    "table.csv": b"a,b\n1,2\n", "text.txt": "What is this? Ça alors !".encode(), "binary": bytes(range(256)) * 4,
    "latin": "déjà vu".encode("latin-1"), "one_line": b"x" * 100_000,
}  # fmt: skip
"""Files of no importer."""


class ImporterConformance:
    """It knows its files from others, says the same of them every time, and damage is an error that says so."""

    importer: ClassVar[type[Importer]]
    """The class."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        """Good files, in a folder of their own; at least one."""
        raise NotImplementedError("the suite needs a fixture `files`: paths of files that the importer reads")

    def read(self, files: list[Path]) -> list[Item]:
        """Everything that a new importer says of files."""
        return list(self.importer().read(files))

    def test_it_knows_its_files(self, files: list[Path]) -> None:
        assert self.importer().sniff(files)
        assert all(self.importer().sniff([file]) for file in files)

    @pytest.mark.parametrize("name", OTHERS)
    def test_it_leaves_other_files_alone(self, files: list[Path], tmp_path: Path, name: str) -> None:
        """A look at them is False and no error, also among its own."""
        (tmp_path / name).write_bytes(OTHERS[name])
        assert not self.importer().sniff([tmp_path / name])
        assert not self.importer().sniff([*files, tmp_path / name])

    def test_the_same_again_and_files_unchanged(self, files: list[Path]) -> None:
        before = [file.read_bytes() for file in files]
        rows = [repr(item) for item in self.read(files)]
        assert rows, "nothing was read"
        assert [repr(item) for item in self.read(files)] == rows
        assert [file.read_bytes() for file in files] == before

    def test_the_order_of_files_does_not_matter(self, files: list[Path]) -> None:
        rows = sorted(repr(item) for item in self.read(files))
        assert sorted(repr(item) for item in self.read(files[::-1])) == rows

    def test_rows_fit_together(self, files: list[Path]) -> None:
        """inoc's own checks: logprobs of at most 0, scores from 0 to 100, every row once, examples of one length."""
        gathered = Gathered(files[0])
        for item in self.read(files):
            if isinstance(item, LogprobRow | ScoreRow):
                assert item.where != "a row", "a row does not say where it comes from"
                gathered.add(item)
        gathered.finish()

    @pytest.mark.parametrize("share", [0.3, 0.9])
    def test_a_cut_file_is_an_error_or_has_less(self, files: list[Path], share: float) -> None:
        """Cut in the middle of a line; what is left is read, or one sentence says what is wrong."""
        whole, content = len(self.read(files)), files[0].read_bytes()
        files[0].write_bytes(content[: int(len(content) * share)])
        try:
            found = self.read(files)
        except InocError:
            return
        assert len(found) < whole, "as many rows are read from a part of a file as from all of it"

    def test_garbage_is_an_error(self, files: list[Path]) -> None:
        """Bytes that are not text, in the middle of a file are never skipped silently."""
        content = files[0].read_bytes()
        middle = len(content) // 2
        files[0].write_bytes(content[:middle] + b"\x00\xff\xfe{\x00" + content[middle + 5 :])
        with pytest.raises(InocError):
            self.read(files)
