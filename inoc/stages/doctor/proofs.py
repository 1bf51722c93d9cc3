"""What `inoc doctor` has proved in a study: that values of a server which names no tokens belong to their tokens."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from inoc.backends.manifest import read_sealed, sealed
from inoc.backends.protocols import Provable
from inoc.plan import Study
from inoc.stages.work import write_whole

if TYPE_CHECKING:
    from inoc.stages.doctor.agreement import AgreementReport

FILE: Final = "doctor.json"


def keep_proof(study: Study, report: "AgreementReport") -> Path | None:
    """Record, in the study's work folder, a comparison with a reference that found nothing wrong; None where nothing
    had to be proved, or was not."""
    backend = study.backend
    proof = backend.needs_proof() if isinstance(backend, Provable) else None
    if proof is None or report.reference is None or not report.ok:
        return None
    path = study.work / FILE
    said = {"reference": report.reference, "tokens": report.tokens, "difference": report.difference}
    write_whole(path, sealed({"schema": "inoc.doctor/1", "proofs": {**_proofs(path), proof: said}}))
    return path


def accept_proofs(study: Study) -> None:
    """Let the study's backend score if it is a server that was proved in this study; BadInput for a damaged record."""
    if isinstance(study.backend, Provable):
        study.backend.accept_proofs(_proofs(study.work / FILE))


def _proofs(path: Path) -> Mapping[str, object]:
    return cast(Mapping[str, object], read_sealed(path)["proofs"]) if path.exists() else {}
