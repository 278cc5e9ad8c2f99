# Every target sets up .venv by itself; a second call finds it ready.
#   make demo      train and evaluate on the embedded simulator, end with a report page and figures
#   make check     what a change can have broken, in a minute; `make` alone does this
#   make test      everything that is tested            make docs   build the site into site/
#   make bench     measure speed                         make lab    JupyterLab in this environment
#   make soak      long tests                            make clean  remove what can be made again

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := check

PYTHON ?= python3.11
WORKERS ?= 2
PORT ?= 8888
BIN := $(CURDIR)/.venv/bin
READY := .venv/.ready
export OMP_NUM_THREADS ?= 1

.PHONY: demo check test docs bench lab soak notebooks clean

# The stamp is written last: an interrupted installation is taken up again by the next call.
$(READY): constraints.txt settings.ini setup.py
	@echo 'Setting up .venv (1.7 GB, a minute or more) ...'
	rm -f $@
	$(PYTHON) -c 'import sys; v = sys.version_info; v[:2] == (3, 11) or sys.exit("PYTHON: expected Python 3.11, got %d.%d" % v[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -qq -c constraints.txt -e '.[sc2,docs,dev]'
	$(BIN)/python -m pip install --disable-pip-version-check -qq --force-reinstall --no-deps pys2clientprotocol==1.0.2
	$(BIN)/python -m pip check
	$(BIN)/jupyter labextension disable --level=sys_prefix @jupyterlab/apputils-extension:announcements
	touch $@

demo: $(READY)
	$(BIN)/python tools/demo.py --workers $(WORKERS)

check: $(READY)
	$(BIN)/python tools/check.py

test: $(READY)
	$(BIN)/python tools/test.py

docs: $(READY)
	$(BIN)/python tools/site.py
	@echo "The site: python -m http.server --directory site"

bench: $(READY)
	$(BIN)/marl-nb bench

lab: $(READY)
	$(BIN)/jupyter lab --port=$(PORT) nbs/index.ipynb

soak: $(READY)
	$(BIN)/python -m pytest -m soak -n $(WORKERS) --dist=loadfile tests

# Execute every notebook in place and keep its outputs.
notebooks: $(READY)
	$(BIN)/python tools/execute.py $$(find nbs -name '*.ipynb' -not -path '*/.*' | sort)
	$(BIN)/nbdev_export
	$(BIN)/python tools/readme.py

clean:
	rm -rf .venv runs site _docs _proc build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
