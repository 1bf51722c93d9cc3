"""The documented claims, `docs/claims.md`: each is on its page and has a test; and what CI runs."""

import re
from pathlib import Path

import pytest
from make.claims import ROOT, Claim, claims, node_exists, said_there

from ..report.browser import Browser

CLAIMS = claims()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.page}-{claim.words[:40]}")
def test_a_claim_is_on_its_page_and_has_a_check(claim: Claim) -> None:
    assert said_there(claim), f"{claim.page} no longer says: {claim.words}. Fix: update docs/claims.md, and the check."
    assert claim.by_hand or node_exists(claim.check), f"there is no test {claim.check}"


def test_most_claims_are_checked_by_a_test() -> None:
    assert len(CLAIMS) >= 40
    assert len(set(CLAIMS)) == len(CLAIMS)
    assert sum(claim.by_hand for claim in CLAIMS) <= 4


def test_a_lost_claim_and_a_lost_test_are_found() -> None:
    assert not said_there(Claim("inoc makes coffee", "README.md", CLAIMS[0].check))
    assert not node_exists("tests/house/test_claims.py::test_of_nothing")
    assert not node_exists("tests/house/test_nothing.py::test_of_nothing")


def test_every_suite_runs_somewhere() -> None:
    """Each `test` target of the Makefile is run by CI: on every push, or on a schedule and by label."""
    targets = set(re.findall(r"^(test[\w-]*):", (ROOT / "Makefile").read_text(), re.M))
    workflows = {path.name: path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml")}
    assert "make test\n" in (ROOT / ".ci" / "run").read_text()
    assert ".ci/run" in workflows["ci.yml"]
    services = workflows["services.yml"]
    listed = re.search(r"target: \[(.*)\]", services)
    assert listed is not None
    assert set(listed[1].split(", ")) == targets - {"test"}
    assert "schedule:" in services
    assert "labels.*.name, 'services'" in services


def test_a_promised_browser_is_not_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where INOC_BROWSER is set, a missing browser is a failure."""
    assert 'INOC_BROWSER: "1"' in (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("INOC_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no chromium"):
        Browser(tmp_path)
    monkeypatch.setenv("INOC_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="INOC_BROWSER promises a browser"):
        Browser(tmp_path)
