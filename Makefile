# make demo   the main job on the model that the package carries, in a table
# make test   the tests            make test-slow   those on trained models; make test-peers   the same figures from other libraries
# make check  lint, format, types  make bench        how fast quantizing is, beside the library it follows
PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
export HF_HUB_OFFLINE = 1

.PHONY: demo test test-slow test-peers check format bench clean

demo: $(VENV)/.user
	$(BIN)/fewbits quantize demo hqq:uint4g64 -o runs/demo-4bit --force
	$(BIN)/fewbits eval demo --scheme rtn:int8 --scheme nf4g64 --scheme hqq:uint4g64 --scheme hqq:uint3g64 --scheme hqq:uint2g64 \
		runs/demo-4bit --max-tokens 4000 --repeats 3 --new-tokens 16

test: $(VENV)/.dev
	$(BIN)/pytest -m "not slow and not peers and not gpu"

test-slow: $(VENV)/.dev
	$(BIN)/pytest -m "slow and not peers and not gpu"

test-peers: $(PEERS)/.peers
	$(PEERS)/bin/pytest -m peers

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(PEERS)/.peers
	$(PEERS)/bin/python benchmarks/quantizing.py

clean:
	rm -rf $(VENV) $(PEERS) build dist

# A stamp is a set of packages in a virtual environment; constraints.txt pins what the tests ran on.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.user: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q -c constraints.txt -e '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

# The other libraries have an environment of their own: some print to the terminal as soon as transformers finds them.
$(PEERS)/.peers: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install -q -c constraints.txt -e '.[dev,peers]'
	touch $@
