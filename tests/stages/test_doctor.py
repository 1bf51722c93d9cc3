"""`inoc doctor`: a sound backend passes, one whose values belong to a neighbour or to nobody does not."""

import json

import pytest

from .conftest import Lab


def test_a_sound_backend_passes(lab: Lab) -> None:
    done = lab.inoc("doctor", "study.yaml", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["ok"] is True
    assert document["backend"] == "toy"
    assert document["completions"] == 6
    assert document["one_by_one"] == 0.0
    assert document["reference"] is None
    assert document["contradictions"] == []
    assert document["not_compared"] == "the weights of 'toy' are not on this machine"
    assert document["versions"]["inoc"]
    assert document["versions"]["toy-backend"] == "0.1"


@pytest.mark.parametrize(("wrong", "code"), [("shift:Say", 1), ("short:Say", 1), ("unavailable:Say", 2)])
def test_an_unsound_backend_does_not(lab: Lab, wrong: str, code: int) -> None:
    done = lab.inoc("doctor", "study.yaml", TOY_WRONG=wrong)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    if wrong.startswith("shift"):
        assert (
            "NOT ok (wrong tokens): do not use scores of this backend here; values of this size mean wrong tokens"
            in done.stdout
        )
    else:
        assert done.stderr.splitlines()[-1].startswith("inoc: ")


def test_it_lists_what_is_installed(lab: Lab) -> None:
    shown = lab.inoc("doctor", "study.yaml").stdout
    assert "backend toy: ready (package toy-backend)" in shown
    assert "backend local: " in shown
    assert shown.splitlines()[-1] == "ok, compared with itself only"


def test_training_is_refused_by_a_backend_that_does_not_train(lab: Lab) -> None:
    done = lab.inoc("doctor", "study.yaml", "--train")
    assert done.returncode == 2
    assert "the backend 'toy' cannot train" in done.stderr
