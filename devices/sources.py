"""The code that kept results and compiled kernels depend on, as one hash of whole packages: no file is missed."""

import hashlib
from pathlib import Path


def sources_sha256(*packages: Path) -> str:
    """SHA-256 of every Python file below the folders `packages`, with its place there.

    Raises `FileNotFoundError` where one of them has none: a hash of nothing would never change.
    """
    digest = hashlib.sha256()
    for package in packages:
        files = sorted(package.rglob("*.py"))
        if not files:
            raise FileNotFoundError(f"{package} holds no Python files whose change could be noticed")
        for file in files:
            content = file.read_bytes()
            digest.update(f"{file.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()
