#!/bin/sh
# setup_venv.sh VENV: make or refresh the virtual environment and install carrysave into it, editable.
# Reads PYTHON (interpreter), TORCH (pip arguments in place of constraints.txt's torch) and CXX from the environment.
set -eu
venv=$1

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# A venv made for another PYTHON= is not the one asked for.
[ "${PYTHON:-}" = "$(cat "$venv/asked_python" 2>/dev/null || true)" ] || rm -rf "$venv"
if ! { [ -x "$venv/bin/python" ] && new_enough "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }
then
    python=
    # Ask each one to run: a name in PATH may be a shim for a version that is not installed.
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if new_enough "$candidate"; then python=$candidate; break; fi
    done
    if [ -z "$python" ]; then
        echo "carrysave needs Python 3.11 or later; tried: ${PYTHON:-python3.11 python3.12 python3.13 python3}." >&2
        echo "Install one (Debian, Ubuntu: apt install python3.11 python3.11-venv; macOS: brew install python@3.12)" >&2
        echo "or name one: make PYTHON=/path/to/python" >&2
        exit 1
    fi
    if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        echo "$python cannot make virtual environments: its venv or ensurepip module is missing." >&2
        echo "Install it (Debian, Ubuntu: apt install python$version-venv) or name another: make PYTHON=/path/to/python" >&2
        exit 1
    fi
    rm -rf "$venv"
    "$python" -m venv "$venv"
    [ -z "${PYTHON:-}" ] || printf '%s' "$PYTHON" > "$venv/asked_python"
fi

if [ -n "${TORCH:-}" ]; then
    grep -v '^torch==' constraints.txt > "$venv/constraints.txt"
else
    TORCH=torch
    cp constraints.txt "$venv/constraints.txt"
fi

echo "Setting up $venv; the first time takes minutes, most of them for torch (the Makefile's TORCH= can name a smaller one)."
pip="$venv/bin/python -m pip --disable-pip-version-check"
$pip install --quiet --upgrade 'pip>=25.1'  # the first to know --group
# The one long download shows its progress; a refresh has nothing to show.
quiet=; [ ! -e "$venv/user.stamp" ] || quiet=--quiet
# shellcheck disable=SC2086  # TORCH holds pip arguments
$pip install $quiet --constraint "$venv/constraints.txt" $TORCH
# Reinstalled each time, for the native module may have changed.
$pip install --quiet --constraint "$venv/constraints.txt" --editable .
"$venv/bin/python" - <<'PYTHON'
from carrysave import native
print("carrysave is installed,", "with its native module" if native.available else "WITHOUT its native module (no C++ compiler worked)")
PYTHON
