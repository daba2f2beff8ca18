# `make` lists the targets. Each makes or updates .venv when it must.

PYTHON = .venv/bin/python
RUNTIME = .venv/.installed
DEV = .venv/.installed-dev
BENCH = .venv/.installed-bench
BEAM = .venv-beam/.installed

.PHONY: help venv quickstart miniature bench test slow beam docs margins measures reliability lint types coverage clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

venv: $(RUNTIME) ## make or update .venv with what the programs need

quickstart: $(RUNTIME) ## pretrain with pauses, and see them win on a task: about five minutes on two cores
	$(PYTHON) -m launch.quickstart

miniature: $(RUNTIME) ## the paper's method in small: two sweeps and a report (a quarter of an hour on two cores)
	$(PYTHON) -m launch.miniature

bench: $(BENCH) ## measure our speed against peers in torch, on the CPU (minutes, on a machine that does nothing else)
	$(PYTHON) -m benchmarks.run

test: $(DEV) ## run the fast tests
	$(PYTHON) -m pytest -m "not slow" -n 2 --dist=worksteal

slow: $(DEV) ## run the slow tests: several processes, kills and resumes, whole programs
	$(PYTHON) -m pytest -m slow -n 2 --dist=worksteal

beam: $(BEAM) ## run the tests of Apache Beam, whose pins want an environment of their own
	.venv-beam/bin/python -m pytest tests/data/test_beam.py

docs: $(DEV) ## build the pages of docs/ as a site in site/; a warning is a failure
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

margins: $(DEV) ## run the fast tests and list comparisons of numbers that come near their bounds
	$(PYTHON) -m pytest -p tests.margins -m "not slow" -n 2 --dist=worksteal

measures: $(DEV) ## print how the code reads, in numbers beside their goals
	$(PYTHON) -m tests.measures

reliability: $(DEV) ## break runs in every way that they must survive, and print how that went (a quarter of an hour)
	@table=$$(mktemp); code=0; \
	PAUSE_JAX_RELIABILITY=$$table $(PYTHON) -m pytest tests/reliability -n 2 --dist=worksteal || code=$$?; \
	printf '| fault | tried | survived | lost work |\n|---|---|---|---|\n'; sort $$table; rm $$table; exit $$code

lint: $(DEV) ## check style and formatting
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types: $(DEV) ## check types
	$(PYTHON) -m mypy

coverage: $(DEV) ## run all tests and show which lines of pause_jax none of them reaches
	rm -f .coverage .coverage.*
	PYTEST_ADDOPTS="--cov --cov-append --cov-report=" $(MAKE) test slow
	$(PYTHON) -m coverage report --show-missing --skip-covered

clean: ## remove .venv and caches; runs/ stays
	rm -rf site .venv .venv-beam .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -not -path './runs/*' -prune -exec rm -rf {} +

# The stamps are newer than the files that they were installed from; an interrupted installation leaves none.
$(RUNTIME): requirements.txt
	@$(PYTHON) -c 'import pip, sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null || \
	  { found=$$(launch/find_python.sh) && echo "making .venv with $$found" && $$found -m venv --clear .venv; }
	@echo "installing $< into .venv: some minutes the first time, 3 GB"
	$(PYTHON) -m pip install --progress-bar=off -r $<
	@touch $@

$(DEV): requirements-dev.txt requirements-docs.txt $(RUNTIME)
	@echo "installing $< into .venv: some minutes the first time, 6 GB more where torch comes with CUDA"
	$(PYTHON) -m pip install --progress-bar=off -r $<
	@touch $@

$(BENCH): requirements-bench.txt $(RUNTIME)
	@echo "installing $< into .venv: some minutes the first time, 6 GB more where torch comes with CUDA"
	$(PYTHON) -m pip install --progress-bar=off -r $<
	@touch $@

$(BEAM): requirements-beam.txt
	@echo "installing $< into .venv-beam: some minutes the first time"
	@found=$$(launch/find_python.sh) && $$found -m venv --clear .venv-beam
	.venv-beam/bin/python -m pip install --progress-bar=off -r $< -r requirements-test.txt
	@touch $@
