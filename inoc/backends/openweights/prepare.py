"""Runs first on a worker, alone: `python prepare.py PACKAGE...` makes `env/`, the image's Python with these packages.

The image itself is not changed, because other jobs of the same worker depend on it. Packages of the image that are new
enough are used and not installed again.
"""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ENVIRONMENT = "env"


def main(packages: list[str]) -> None:
    """Make the environment in the current folder; pip's messages are in the job's log."""
    venv.create(ENVIRONMENT, system_site_packages=True, with_pip=False)
    python = Path(ENVIRONMENT, "bin", "python").absolute()
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    # the image's Python may be an environment itself, whose packages are not the system's
    image = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    own.joinpath("image.pth").write_text("".join(f"{path}\n" for path in image))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *packages]
    sys.exit(subprocess.run(pip).returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
