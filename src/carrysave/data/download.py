"""Fetching a file whose content is known: checked, whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import sys
import time
import urllib.request
from pathlib import Path

from carrysave.paths import write_atomically

_CONNECT_SECONDS = 15
_FILE_SECONDS = 300


def download(urls: list[str], path: Path, md5: str) -> None:
    """Write what one of `urls` holds to `path`, if its MD5 is `md5`. OSError names every address and why it failed."""
    failures = []
    for url in urls:
        print(f"downloading {url} to {path}", file=sys.stderr)
        try:
            data = _read(url)
        except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
            failures.append(f"{url}: {error}")
            continue
        found = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if found == md5:
            write_atomically(path, data)
            return
        failures.append(f"{url}: its MD5 is {found}, expected {md5}")
    raise OSError("; ".join(failures))


def _read(url: str) -> bytes:
    end = time.monotonic() + _FILE_SECONDS
    parts = []
    with urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as response:
        while part := response.read(1 << 16):
            parts.append(part)
            if time.monotonic() > end:
                raise TimeoutError(f"not finished after {_FILE_SECONDS} s")
    return b"".join(parts)
