# Two commands: `make book` builds the book, `make test` checks everything.  `make help` lists the rest.
# Needs Python 3.11 or later, git and make.  Everything is installed into .venv, nothing outside it.

PYTHON ?= python3
VENV   ?= .venv
PORT   ?= 8000

BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready

# One environment for every way the notebooks are run: no start-up files and no plot settings of the
# user's own, no packages from outside .venv, widgets as a page shows them.
export IPYTHONDIR       := $(abspath $(VENV))/ipython
export MPLCONFIGDIR     := $(abspath $(VENV))/matplotlib
export PYTHONNOUSERSITE := 1
export KVLIB_WIDGETS    := page
export PYDEVD_DISABLE_FILE_VALIDATION := 1
unexport PYTHONPATH PYTHONHOME MPLBACKEND MATPLOTLIBRC

.DEFAULT_GOAL := help
.PHONY: help env book serve test notebooks clean clean-env
.PHONY: lint types layers unit guards check-notebooks pages browser

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make book             execute the chapters and build the book; prints where it is
book: $(STAMP)
	@$(BIN)/python scripts/build_book.py

## make test             run every check: lint, types, layers, tests, notebooks, strict build, pages, browser
test: $(STAMP)
	@$(BIN)/python scripts/check.py

## make serve            build the book and serve it on http://localhost:8000 (PORT=... for another)
serve: book
	@echo "The book is at http://localhost:$(PORT)/ - Ctrl-C ends."
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

## make notebooks        execute the chapters again and store their outputs (ONLY="02 03" for some)
notebooks: $(STAMP)
	@$(BIN)/python scripts/execute_notebooks.py $(ONLY)

## make env              create .venv with the pinned packages and kvlib; the commands above do it too
env: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: Python 3.11 or later is needed, but '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." >&2; \
	  echo "make: name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Creating $(VENV) ..."; $(PYTHON) -m venv $(VENV); } || { \
	  rm -rf $(VENV); \
	  echo "make: '$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing the pinned packages into $(VENV) (a minute or so) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

## make lint (or types, layers, unit, guards, check-notebooks, pages, browser)   one check alone
lint types layers unit guards check-notebooks pages browser: $(STAMP)
	@$(BIN)/python scripts/check.py $@

## make clean            remove the built book and its cache; make clean-env removes .venv
clean:
	rm -rf _build book/generated build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find kvlib tests scripts book benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

clean-env:
	rm -rf $(VENV)
