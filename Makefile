# `make demo` and `make test` need only Python (3.11 or later), make and git; everything else goes into .venv.
# On Windows, or without make: see "Install" in README.md.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The sources are checked as they are installed: attacks/ is privaudit.attacks, synth/ is privaudit.synth.
COPY := build/check

export OMP_NUM_THREADS := 1

.PHONY: demo test test-slow check docs constraints clean

demo: $(VENV)/.installed
	rm -rf demo
	$(BIN)/privaudit run --demo --no-fail --out demo

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build
	$(PIP_INSTALL) --no-deps --no-build-isolation --target $(COPY) .
	cp -R tests benchmarks $(COPY)/
	cd $(COPY) && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache \
		privaudit tests benchmarks

# The site, in build/docs; building it needs no network once the packages are there.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -f docs/mkdocs.yml

# The newest versions of everything, which `make test` then has to pass with.
constraints:
	rm -rf build/newest
	$(PYTHON) -m venv build/newest
	build/newest/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	sed -n '/^#/p' constraints.txt > build/constraints.txt
	build/newest/bin/python -m pip freeze --exclude privaudit >> build/constraints.txt
	mv build/constraints.txt constraints.txt

# What was made from the sources. .venv stays (delete it to start anew), and so does .privaudit, the store.
clean:
	rm -rf build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find privaudit attacks synth benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is what a complete environment has last: one that was interrupted half-way is completed.
$(BIN)/pip:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed (make PYTHON=...)")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml setup.py | $(BIN)/pip
	$(PIP_INSTALL) -e .
	touch $@

$(VENV)/.installed-test: pyproject.toml setup.py constraints.txt | $(BIN)/pip
	$(PIP_INSTALL) --constraint constraints.txt -e '.[test]'
	touch $(VENV)/.installed $@

$(VENV)/.installed-docs: pyproject.toml setup.py | $(BIN)/pip
	$(PIP_INSTALL) -e '.[docs]'
	touch $(VENV)/.installed $@
