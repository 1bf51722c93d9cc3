"""`inoc doctor` on the fake backend: with a local reference, without one, and with --train."""

from importlib.resources import as_file, files
from unittest.mock import patch

from inoc.backends.protocols import ModelSpec
from inoc.errors import InocError
from inoc.experiment import Experiment, load_experiment
from inoc.stages.doctor.agreement import check_agreement
from inoc.stages.doctor.reference import FoundReference, Reference
from inoc.stages.doctor.training import check_trainer

from .fake import FakeBackend


def experiment() -> Experiment:
    """The template's: the rows of the testbed."""
    with as_file(files("inoc.experiment").joinpath("template.yaml")) as template:
        return load_experiment(template)


def examined(backend: FakeBackend, study: Experiment, *, reference: bool) -> str | None:
    """What `inoc doctor` says is wrong; None where it says ok."""
    sound = FakeBackend()
    found = FoundReference(Reference(sound, sound, ModelSpec("fake")), "another")
    place, other = "inoc.stages.doctor.agreement.find_reference", "inoc.stages.doctor.causes.with_dtype"
    with (
        patch(place, lambda *_: found if reference else FoundReference(None, "no weights here")),
        patch(other, lambda *_: sound),
    ):
        try:
            report = check_agreement(study, backend, 6)
        except InocError as error:
            return type(error).__name__
    return None if report.ok else str(report.cause)


def trained(backend: FakeBackend, study: Experiment) -> str | None:
    """What `inoc doctor --train` says is wrong; None where it says ok."""
    try:
        fault = check_trainer(study, backend).fault
    except InocError as error:
        return type(error).__name__
    return fault and fault.removeprefix("losses are not those of the scores: ")
