# make demo   the main job on the model that the package carries, in a table
# make test   the tests            make test-slow   those on trained models; make test-peers   the same figures from other libraries
# make test-newest, make test-oldest   the tests that touch other libraries, at both ends of the versions allowed
# make check  lint, format, types  make bench        how fast quantizing is, beside the library it follows
# make studies   the five studies on the models and data of SHARED, with every peer; each goes on where it stopped
PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
export HF_HUB_OFFLINE = 1

.PHONY: demo studies test test-slow test-peers test-newest test-oldest check format bench bench-cpu clean

demo: $(VENV)/.user
	$(BIN)/fewbits quantize demo hqq:uint4g64 -o runs/demo-4bit --force
	$(BIN)/fewbits eval runs/demo-4bit --max-tokens 2000 --measure size --measure ppl --measure kl
	$(BIN)/fewbits study demo -o runs/demo --force

SHARED ?= ../shared
MODELS = $(SHARED)/models
TEXT = --data $(SHARED)/data/peps.txt
IMAGES = --data $(SHARED)/data/cifar10_test.npz
STUDY = $(PEERS)/bin/fewbits study

studies: $(PEERS)/.peers
	test -d runs/phi3-small || $(PEERS)/bin/python studies/phi3_from_llama.py $(MODELS)/llama-28m runs/phi3-small
	$(STUDY) gpt2-bitsandbytes -o runs/gpt2-bitsandbytes --model $(MODELS)/gpt2-9m $(TEXT)
	$(STUDY) mobilenetv2-linear -o runs/mobilenetv2-linear --model $(MODELS)/mobilenetv2-cifar10 $(IMAGES) --max-images 2000
	$(STUDY) llama-wikitext2 -o runs/llama-wikitext2 --model $(MODELS)/llama-28m $(TEXT) --max-tokens 10000
	$(STUDY) phi3-w8a16 -o runs/phi3-w8a16 --model runs/phi3-small $(TEXT) --max-tokens 6000
	$(STUDY) deit-cifar100 -o runs/deit-cifar100 --model $(MODELS)/vit-cifar10 $(IMAGES) --max-images 2000

WORKERS = -n auto --dist worksteal  # a process for each core

test: $(VENV)/.dev
	$(BIN)/pytest $(WORKERS) -m "not slow and not peers and not gpu"

test-slow: $(VENV)/.dev
	$(BIN)/pytest $(WORKERS) -m "slow and not peers and not gpu"

test-peers: $(PEERS)/.peers
	$(PEERS)/bin/pytest -m peers

# Both ends of the range that pyproject.toml allows: the newest release of everything but torch, and the oldest. With the oldest
# only what computes is tested: other rooms' tests quote messages of newer libraries.
ENDS = tests $(addprefix --ignore=tests/,methods search study report peers doctor inspect data)
ENDS_PYTEST = $(WORKERS) -m "not slow and not peers and not gpu" -p no:cacheprovider -W ignore::DeprecationWarning -W ignore::FutureWarning

test-newest: .venv-newest/.end
	.venv-newest/bin/fewbits eval demo --max-tokens 600
	.venv-newest/bin/pytest $(ENDS_PYTEST) $(ENDS)

test-oldest: .venv-oldest/.end
	.venv-oldest/bin/fewbits eval demo --max-tokens 600
	.venv-oldest/bin/pytest $(ENDS_PYTEST) $(ENDS) $(addprefix --ignore=tests/,cli fuzz models storage measure evaluate)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(PEERS)/.peers
	$(PEERS)/bin/python benchmarks/quantizing.py

bench-cpu: $(PEERS)/.cpu
	$(PEERS)/bin/python benchmarks/cpu_kernels.py --threads 1 --batch 1,16,128 --peers torch,ort,ggml --megabytes 192
	$(PEERS)/bin/python benchmarks/cpu_decode.py --float --peers llama

clean:
	rm -rf $(VENV) $(PEERS) build dist

# A stamp is a set of packages in a virtual environment; constraints.txt pins what the tests ran on.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.user: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q -c constraints.txt -e '.[demo,report]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

# torch is held at the release that has a CPU build here; each end has an environment of its own, and the kernels that .dev has built.
TORCH := $(shell grep -E '^(torch|torchvision)==' constraints.txt)
TEST_TOOLS = 'pytest>=8' 'pytest-timeout>=2.3' 'pytest-xdist>=3.6' 'hypothesis>=6.100' 'beartype>=0.20'

.venv-newest/.end: pyproject.toml $(VENV)/.dev
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/pip install -q $(TORCH)
	FEWBITS_KERNELS=0 .venv-newest/bin/pip install -q --upgrade --upgrade-strategy eager $(TORCH) -e '.[demo,vision]' $(TEST_TOOLS)
	touch $@

.venv-oldest/.end: pyproject.toml constraints-oldest.txt $(VENV)/.dev
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install -q $(TORCH)
	FEWBITS_KERNELS=0 .venv-oldest/bin/pip install -q -c constraints-oldest.txt $(TORCH) -e '.[demo,vision]' $(TEST_TOOLS)
	touch $@

# The other libraries have an environment of their own: some print to the terminal as soon as transformers finds them.
$(PEERS)/.peers: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install -q -c constraints.txt -e '.[dev,peers,ray]'
	touch $@

# llama.cpp is built from source, for this machine: minutes, and a C++ compiler
$(PEERS)/.cpu: $(PEERS)/.peers
	CMAKE_ARGS=-DGGML_NATIVE=ON $(PEERS)/bin/pip install -q -c constraints.txt --no-binary llama-cpp-python -e '.[cpu-peers]'
	touch $@
