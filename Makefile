# Every target sets itself up in .venv: python3 (3.11 or newer) with venv, and make, are all that must be there.
# pip's own settings (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, ...) are honoured.

VENV    := .venv
BIN     := $(VENV)/bin
RUN     := $(VENV)/.ready
DEV     := $(VENV)/.ready-dev
DOCS    := $(VENV)/.ready-docs
INSTALL := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --no-compile --constraint constraints.txt

# A file's tests stay in one process and share its servers; the order, alphabetical, has the long ones first. They start
# hundreds of processes: bytecode is kept, also where the environment says otherwise, or each would compile its imports.
PYTEST  := PYTHONDONTWRITEBYTECODE= PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak lint format types docs lock bench clean

help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(DEV) ## everything for development, in .venv

demo: $(RUN) ## a synthetic scan, segmented and measured; results in demo/
	@$(BIN)/ps3d demo --workdir demo

test: $(DEV) ## all tests but those of soak; the GPU tests skip themselves where there is none
	@$(PYTEST) -m "not soak" $(TESTS)

soak: $(DEV) ## the tests that take long: kills, cancels, damage, memory, training, on a stack and on S3
	@$(PYTEST) -m soak $(TESTS)

lint: $(DEV) ## style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(DEV) ## mend what lint finds, where that is mechanical
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(DEV) ## strict type check
	@mkdir -p $(VENV)/source/ps3d_app
	@for name in flows tasks deployments; do ln -sfn "$(CURDIR)/$$name" $(VENV)/source/ps3d_app/$$name; done
	@$(BIN)/mypy

docs: $(DOCS) ## the documentation as a site, in site/
	@$(BIN)/python -m docs.build
	@echo "open site/index.html, or with search: $(BIN)/python -m http.server --bind 127.0.0.1 --directory site"

bench: $(DEV) ## benchmarks: ratios against a peer measured in the same run
	@for script in tests/benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

# One lock for every extra. Local versions (torch's "+cpu") name a build, not a release, and torch pins the CUDA
# packages it needs itself: neither belongs into a file that machines with and without a GPU share.
lock: $(DEV) ## resolve pyproject.toml into constraints.txt; UPGRADE=1 takes newer releases
	@CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --all-extras --allow-unsafe --strip-extras \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --annotation-style=line \
		$(if $(UPGRADE),--upgrade) --output-file constraints.txt pyproject.toml
	@sed -i.bak -E -e 's/^([a-z0-9._-]+==[^ +]+)\+[^ ]+/\1/' -e '/^(nvidia-|cuda-|triton==)/d' constraints.txt
	@rm -f constraints.txt.bak

clean: ## remove the environment, caches, the site and demo results
	rm -rf $(VENV) demo site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN): pyproject.toml constraints.txt
	@for python in python3 python3.13 python3.12 python3.11 ""; do \
		if [ -z "$$python" ]; then echo "make: Python 3.11 or newer is needed; found: $$(python3 --version 2>&1)" >&2; exit 1; fi; \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	done; \
	echo "Installing into $(VENV) with $$($$python --version) (once; one to three minutes) ..."; \
	$$python -m venv $(VENV)
	@$(INSTALL) pip setuptools
	@$(INSTALL) --no-build-isolation --editable '.[predict,stack]'
	@touch $@

$(DEV): $(RUN)
	@$(INSTALL) --no-build-isolation --editable '.[all,test,dev]'
	@# Of 2010, needed by nothing; it hides Python's own from programs that put site-packages first, as uvicorn can.
	@rm -f $(VENV)/lib/python*/site-packages/argparse.py
	@touch $@

$(DOCS): $(RUN)
	@$(INSTALL) --no-build-isolation --editable '.[predict,stack,docs]'
	@touch $@
