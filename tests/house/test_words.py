"""One word, one meaning, in ordinary American technical English: what words.txt forbids is nowhere.

Code is checked in its strings (errors, help), docstrings, comments and identifiers, pages in all their text.
"""

from pathlib import Path

import pytest

from .words import Finding, in_code, in_text

ROOT = Path(__file__).parents[2]
TEXTS = {".md", ".yaml", ".html", ".js", ".css", ".mplstyle"}


def rooms() -> list[str]:
    """What is checked one by one: pages, packages, and modules at the top."""
    places = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "examples", *(ROOT / "inoc").glob("*")]
    names = [place.relative_to(ROOT).as_posix() for place in places if place.suffix in {"", ".md", ".py"}]
    return sorted(name for name in names if "__pycache__" not in name)


def findings(room: str) -> list[Finding]:
    place = ROOT / room
    found: list[Finding] = []
    for path in [place] if place.is_file() else sorted(place.rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py":
            found += in_code(name, path.read_text(encoding="utf-8"))
        elif path.suffix in TEXTS:
            found += in_text(name, path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("room", rooms())
def test_words(room):
    found = findings(room)
    assert not found, "\n".join(map(str, found))


CODE = [
    ("raise BadInput(f'{path} is no store.')", "is no"),
    ("raise BadInput('the pool is empty;'\n    ' mend the path')", "mend"),
    ('def f():\n    """Sample, and sample anew."""', "anew"),
    ("x = click.option('--a', help='The twin of --b.')", "twin"),
    ("x = 1  # it goes on where\n# it stopped", "goes on where it stopped"),
    ("raise BadInput(f'{name} is an'\n    f'other {kind}; there are so'\n    f' many')", "so many"),
    ("def f():\n    'Check the alignment of a backend.'", "alignment"),
    ("def normalise(): ...", "normalise"),
    ("centred_rows = 1", "centred"),
    ("class ColourMap: ...", "colour"),
    ("x = 'the optimiser\\'s state'", "optimiser"),
    ("x = {'modelled': 1}", "modelled"),
    ("def f():\n    'Judgements of one answer.'", "judgements"),
]


@pytest.mark.parametrize(("source", "word"), CODE)
def test_a_planted_word_is_found(source, word):
    assert word in {finding.word for finding in in_code("inoc/planted.py", source)}


@pytest.mark.parametrize(
    "text",
    [
        "There is no such run, and there are none left.",
        "raise_error, otherwise_noise, our four hours, precise exercises, a contour, controlled",
        "The store is no longer open. The analyses stand; a dialogue.",
    ],
)
def test_ordinary_words_pass(text):
    assert not list(in_text("docs/planted.md", text))


def test_words_of_stored_data_pass_in_their_place_only():
    assert not list(in_text("inoc/testbed/world.py", "chaise"))
    assert list(in_text("inoc/store/world.py", "chaise"))
