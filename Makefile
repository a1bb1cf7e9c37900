# `make demo` runs the main job, `make test` all checks; both set up everything they need.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
MMDET3D_VENV ?= .venv-mmdet3d

.PHONY: help setup demo test lint unit test-mmdet3d clean

help: ## show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

setup: $(VENV)/.installed ## create .venv with everything that was tested together

demo: setup ## active learning on a simulated world, made first; with DATA=<SemanticKITTI root>, on real frames
ifdef DATA
	$(BIN)/python train.py experiment=occupancy_kitti data.root=$(DATA) run_dir=runs/demo_kitti
else
	$(BIN)/python train.py run_dir=runs/demo
endif

lint: setup ## ruff, mypy and the import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: setup ## pytest alone
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadscope

test: lint unit ## all checks

$(MMDET3D_VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(MMDET3D_VENV)
	$(MMDET3D_VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,mmdet3d]'
	touch $@

test-mmdet3d: $(MMDET3D_VENV)/.installed ## the tests that need mmdet3d, in an environment of their own
	$(MMDET3D_VENV)/bin/python -m pytest tests/integrations

clean: ## remove the environments and caches, not the runs
	rm -rf $(VENV) $(MMDET3D_VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
