# make demo    the main job on real digits: accuracy against cost, in the terminal and in report.html
# make test    the tests           make check   lint, types and tests           make bench   the benchmarks
# make check-native   the C++ kernels' own tests under AddressSanitizer and UBSan, on each instruction set there is
#
# Each target first sets .venv up if it is missing or stale; nothing else needs to be typed.
#   PYTHON=...  the interpreter to build .venv with (default: the first of python3.11, 3.12, 3.13, python3 that is >= 3.11)
#   TORCH=...   another torch, as pip's arguments:  make demo TORCH="torch==2.11.0"
#               make demo TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
#   CXX=...     the C++ compiler of the native module; without a working one carrysave runs without it, slower

VENV := .venv
BIN := $(VENV)/bin
NATIVE := CMakeLists.txt $(wildcard src/carrysave/native/*.cpp src/carrysave/native/*.h)
REPORT ?= report.html

# What the environment was built with; rewritten only when it changes, so that a stamp can depend on it.
SETTINGS := TORCH=$(TORCH) PYTHON=$(PYTHON) CXX=$(if $(filter default,$(origin CXX)),,$(CXX))
ifneq ($(SETTINGS),$(shell cat .venv-settings 2>/dev/null))
$(shell printf '%s\n' '$(SETTINGS)' > .venv-settings)
endif

.PHONY: demo test check check-native bench clean

demo: $(VENV)/user.stamp
	$(BIN)/carrysave explore studies/quickstart.toml --report $(REPORT)

test: $(VENV)/developer.stamp
	$(BIN)/python -m pytest -q

check: $(VENV)/developer.stamp
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -q

check-native:
	cmake -S . -B build/check-native -DCARRYSAVE_CHECK_NATIVE=ON -DCARRYSAVE_SANITIZE=ON >/dev/null
	cmake --build build/check-native --parallel
	sh tools/check_native.sh build/check-native

bench: $(VENV)/user.stamp
	$(BIN)/carrysave bench

clean:
	rm -rf $(VENV) .venv-settings build

# The install is editable: a changed or new Python file is seen at once, only these need a new set-up.
$(VENV)/user.stamp: pyproject.toml constraints.txt tools/setup_venv.sh .venv-settings $(NATIVE)
	PYTHON='$(PYTHON)' TORCH='$(TORCH)' sh tools/setup_venv.sh $(VENV)
	@touch $@

$(VENV)/developer.stamp: $(VENV)/user.stamp
	$(BIN)/python -m pip install --quiet --group dev --constraint $(VENV)/constraints.txt
	@touch $@
