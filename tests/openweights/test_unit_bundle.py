"""Archives: the same bytes for the same content, nothing outside the folder, and inoc runs from one. No server."""

import ast
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from inoc.backends.openweights import bundle, prepare
from inoc.errors import BadResult


def test_folders_come_back_whole(tmp_path: Path):
    source = tmp_path / "model"
    source.mkdir()
    (source / "b.txt").write_text("ü")
    (source / "a.bin").write_bytes(bytes(range(256)) * 9)
    (source / ".hidden").write_text("stays")
    content = bundle.zip_folder(source, "name")
    (source / "a.bin").touch()
    assert content == bundle.zip_folder(source, "name")
    bundle.unzip(content, tmp_path / "there")
    found = {f.relative_to(tmp_path / "there").as_posix(): f.read_bytes() for f in (tmp_path / "there").rglob("*.*")}
    assert found == {"name/a.bin": bytes(range(256)) * 9, "name/b.txt": "ü".encode()}


def test_a_folder_that_is_there_is_replaced(tmp_path: Path):
    target = tmp_path / "step-00010"
    bundle.unzip(bundle.make_zip([("old", b"1")]), target)
    bundle.unzip(bundle.make_zip([("new", b"2")]), target)
    assert [file.name for file in target.iterdir()] == ["new"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a\\..\\evil", ".."])
def test_nothing_is_written_outside(tmp_path: Path, name: str):
    target = tmp_path / "in" / "folder"
    with pytest.raises(BadResult, match="outside"):
        bundle.unzip(bundle.make_zip([("good", b""), (name, b"x")]), target)
    assert not target.exists()
    assert [p.name for p in tmp_path.rglob("*") if p.name.startswith("evil")] == []


def test_a_damaged_archive_leaves_what_is_there(tmp_path: Path):
    target = tmp_path / "step"
    good = bundle.make_zip([("file", b"content" * 100)], compress=False)
    bundle.unzip(good, target)
    spoiled = good.replace(b"contentcontent", b"contentcuntent", 1)
    for bad in (spoiled, good[:50], b""):
        with pytest.raises(BadResult, match="damaged"):
            bundle.unzip(bad, target)
    assert (target / "file").read_bytes() == b"content" * 100


def modules(archive: zipfile.ZipFile) -> dict[str, str]:
    """Source text by module of an archive."""
    names = {name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name for name in archive.namelist()}
    return {module: archive.read(name).decode() for module, name in names.items()}


def test_the_source_that_travels_imports_nothing_of_inoc_that_does_not():
    """But for the testbed's model, which travels as a folder."""
    sources = modules(zipfile.ZipFile(io.BytesIO(bundle.zip_source())))
    assert "inoc.backends.openweights.worker" in sources
    assert "inoc.backends.local.train" in sources
    for module, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            lost = [n for n in names if n.split(".")[0] == "inoc" and n not in sources and n != "inoc.testbed"]
            assert not lost or module == "inoc", f"{module} imports {lost}"


def test_inoc_runs_from_the_archive(tmp_path: Path):
    (tmp_path / "inoc.zip").write_bytes(bundle.zip_source())
    modules = "inoc, inoc.backends.local.backend, inoc.backends.openweights.wire"
    command = [sys.executable, "-c", f"import {modules}; print(*(m.__file__ for m in ({modules})))"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path, env={"PYTHONPATH": "inoc.zip"}
    )
    assert len(done.stdout.split()) == 3
    for place in done.stdout.split():
        assert "inoc.zip" in place


def test_an_environment_of_its_own_sees_the_packages_of_the_image(tmp_path: Path):
    """Without packages to install pip does nothing and needs no network."""
    script = tmp_path / "prepare.py"
    script.write_bytes(bundle.prepare_script())
    assert script.read_bytes() == Path(prepare.__file__).read_bytes()
    done = subprocess.run(
        [sys.executable, "prepare.py", "numpy"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    code = "import sys, numpy; print(sys.prefix, numpy.__file__)"
    shown = subprocess.run(
        [tmp_path / "env" / "bin" / "python", "-c", code], capture_output=True, text=True, check=True
    )
    prefix, place = shown.stdout.split()
    import numpy

    assert (Path(prefix).name, place) == ("env", numpy.__file__)
