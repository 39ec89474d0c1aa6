"""The native module is there wherever it can be, and missed without harm elsewhere."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from carrysave import native

CPUINFO_X86 = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512bw avx512vbmi avx512_vnni rdpid\n"
CPUINFO_ARM = "processor\t: 0\nFeatures\t: fp asimd aes sve\n"


def working_compiler(folder: Path) -> str | None:
    """The C++ compiler that a build here would use, if it compiles and links a C++17 program."""
    named = os.environ.get("CXX")
    source = folder / "probe.cpp"
    source.write_text('#include <string_view>\nint main() { return std::string_view("").size(); }\n')
    for compiler in [named] if named else ["c++", "g++", "clang++"]:
        command = [*compiler.split(), "-std=c++17", str(source), "-o", str(folder / "probe")]
        if shutil.which(command[0]) and subprocess.run(command, capture_output=True, timeout=60).returncode == 0:
            return compiler
    return None


def test_the_native_module_is_built_where_a_compiler_works(tmp_path):
    try:
        importlib.metadata.distribution("carrysave")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("carrysave is not installed, it runs from its sources: make test builds the native module")
    compiler = working_compiler(tmp_path)
    if compiler is None:
        pytest.skip("no working C++ compiler: the fallback is legitimate")
    assert native.available, f"{compiler} works, but carrysave._native is missing: pip install --verbose -e . says why"


def test_the_processor_and_the_system_agree():
    if not native.available:
        pytest.skip("the native module is not installed")
    told = native._features_told_by_the_system(Path("/proc/cpuinfo"), os.uname().machine)
    if not told:
        pytest.skip("this system tells no processor features")
    assert native.cpu_features() == tuple(name for name in native.FEATURES if name in told)


@pytest.mark.parametrize(
    ("text", "machine", "expected"),
    [
        (CPUINFO_X86, "x86_64", {"avx2", "avx512f", "avx512bw", "avx512_vbmi", "avx512_vnni"}),
        (CPUINFO_ARM, "aarch64", {"neon"}),
        (None, "arm64", {"neon"}),
        (None, "riscv64", set()),
        ("no flags here", "x86_64", set()),
    ],
)
def test_features_without_the_native_module(tmp_path, text, machine, expected):
    cpuinfo = tmp_path / "cpuinfo"
    if text is not None:
        cpuinfo.write_text(text)
    assert native._features_told_by_the_system(cpuinfo, machine) & set(native.FEATURES) == expected


def test_without_the_native_module_one_warning_at_first_use():
    program = (
        "import warnings; from carrysave import native; native.available = False\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    features = [native.cpu_features(), native.cpu_features()]; native.warn_if_missing()\n"
        "assert features[0] == features[1]\n"
        "print(len(caught), caught[0].category.__name__, caught[0].message)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("1 RuntimeWarning carrysave runs without its native module"), done.stderr
