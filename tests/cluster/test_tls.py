"""A cluster that speaks TLS alone: `--cluster FILE.json` with the certificates of dask's own configuration."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inoc.cluster.place import Place, connected
from inoc.errors import BackendUnavailable

from .conftest import ENVIRONMENT, Cluster, Lab, contents

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]
TLS = "DASK_DISTRIBUTED__COMM__TLS__"


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """A self-signed certificate that all sides show and trust, as dask's configuration in the environment."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run(["openssl", *make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    found = {f"{TLS}CA_FILE": str(certificate)}
    for side in ("SCHEDULER", "WORKER", "CLIENT"):
        found |= {f"{TLS}{side}__CERT": str(certificate), f"{TLS}{side}__KEY": str(key)}
    encrypted = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True", "DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME": "tls"}
    return found | encrypted


def test_a_cluster_with_tls(cluster: Cluster, lab: Lab, certificates: dict[str, str]) -> None:
    """The same bytes as without a cluster; a command without the certificate, and one in the clear, are refused."""
    cluster.start_scheduler(**certificates)
    cluster.start_worker(**certificates)
    address = cluster.file.read_text()
    assert "tls://127.0.0.1" in address
    assert "tcp://" not in address
    words = ["score", str(lab.study), "--store", str(lab.folder / "tls.zarr"), "--cluster", str(cluster.file)]
    done = subprocess.run(
        [sys.executable, "-m", "inoc", *words], env=ENVIRONMENT | certificates, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "cluster: 1 worker" in done.stderr
    code, _, err = lab.inoc("score")
    assert code == 0, err
    alone, encrypted = (contents(lab.folder / name / "logprobs") for name in ("run.zarr", "tls.zarr"))
    assert alone == encrypted
    plain = address.split("tls://")[1].split('"')[0]
    for place in (str(cluster.file), f"tcp://{plain}"):
        with (
            pytest.raises(BackendUnavailable, match=r"no dask scheduler answers at .*\. Fix: "),
            connected(Place(place)),
        ):
            pass
