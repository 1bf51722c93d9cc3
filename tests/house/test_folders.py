"""The tests of a folder run in one process, whatever file they are in."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_a_folder_has_one_process(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    for folder in ("one", "two", "study"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            lines = (f"def test_{folder}_{name}{i}(): pass" for i in range(5))
            (tmp_path / folder / f"test_{folder}_{name}.py").write_text("\n".join(lines))
    asked = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); import pytest; pytest.main()"]
    words = ["-p", "tests.folders", "-n", "2", "--dist", "loadscope", "-v", "-p", "no:cacheprovider", "-c", "/dev/null"]
    done = subprocess.run([*asked, *words, "."], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    ran = re.findall(r"\[(gw\d)\] .* PASSED (\w+)/", done.stdout)
    assert len(ran) == 30, done.stdout + done.stderr
    assert len(set(ran)) == 3, "the tests of a folder ran in two processes"
    assert len({worker for worker, _ in ran}) == 2
