# On a fresh machine with Python 3.10+: `make demo` and `make test` install what they need into .venv.
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
FUZZ_CASES ?= 1000

.PHONY: demo test fuzz lint types docs web bench structure clean

demo: $(STAMP)
	$(BIN)/python -m jambatalk demo -o out/demo.mp4

# Tests run side by side, each program on one thread: more threads would compete for the same cores.
test fuzz: export OMP_NUM_THREADS = 1
test fuzz: export NUMBA_NUM_THREADS = 1
test: $(DEV_STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --durations=20

# The same tests of hostile and damaged input as in `make test`, with many more cases each.
fuzz: export FUZZ_CASES := $(FUZZ_CASES)
fuzz: $(DEV_STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS) tests/fuzz

lint: $(DEV_STAMP)
	$(BIN)/python -m ruff check src tests tools benchmarks examples
	$(BIN)/python -m ruff format --check src tests tools benchmarks examples

types: $(DEV_STAMP)
	$(BIN)/python -m mypy

docs: $(DEV_STAMP)
	$(BIN)/python -m mkdocs build --strict --quiet --site-dir out/site

# Builds the server's page from web/ into the package; needs node.
web: $(STAMP)
	$(BIN)/python tools/page_data.py
	cd web && npm ci && npm run lint && npm test && npm run build

structure: $(DEV_STAMP)
	$(BIN)/python tools/structure.py

bench: $(DEV_STAMP)
	$(BIN)/python benchmarks/speed/speed.py

$(BIN)/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'Python 3.10 or newer is needed, this is ' + sys.version)"
	$(PYTHON) -m venv $(VENV)

# torch first and by itself: with its exact version in place, nothing else asks for another (much larger) build.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	$(BIN)/python -c "open('$@', 'w').close()"

$(DEV_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -c "open('$@', 'w').close()"

clean:
	$(PYTHON) -c "import shutil; [shutil.rmtree(p, ignore_errors=True) for p in ('$(VENV)', 'out', 'build')]"
