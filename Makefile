# make demo: install, train about a minute, evaluate, sample.   make test: all that CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SOURCES := pyproject.toml constraints.txt $(wildcard native/*.cpp native/*.h native/CMakeLists.txt)

# Tests start the program hundreds of times: it is compiled once, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test parallel test-slow campaign bench scoreboard scoreboard-full cells lint clean

demo: $(INSTALLED)
	$(BIN)/charrnn train --time 75s --overwrite --out checkpoints/demo
	$(BIN)/charrnn show checkpoints/demo
	printf 'The class statement defines a class object.\nqzx vvk jjq wwz xkcd zzyzx\n' \
		| $(BIN)/charrnn eval -m checkpoints/demo --lines
	$(BIN)/charrnn sample -m checkpoints/demo --temp 0.8 --length 600 --seed 1

# the linters run beside the tests, in the time that these leave; then what needs the machine to itself
test:
	$(MAKE) --no-print-directory -j 2 lint parallel
	$(BIN)/python -m pytest -q -m "serial and not slow" $$(grep -rl --include='test_*.py' mark.serial tests)

parallel: $(READY)
	$(BIN)/python -m pytest -q -n 2 -m "not slow and not serial"

test-slow: $(READY)
	$(BIN)/python -m pytest -q -m slow

# half an hour: wrong files and kills, by the thousand and the hundred; test-slow has a part of it
SEED ?= 1
campaign: $(READY)
	$(BIN)/python -m tests.campaign.mutants --count 50000 --seed $(SEED)
	$(BIN)/python -m tests.campaign.kills --count 200 --seed $(SEED)

# the last part compiles KenLM, and says so where it could not
# TEXTS is a folder with tinyshakespeare.txt, names.txt and reviews-zh.txt
TEXTS ?= ../shared/data
bench: $(READY)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/cell_speed.py --without-core
	$(BIN)/python benchmarks/neighbours.py
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/eval.py $(wildcard $(TEXTS)/names.txt)
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/int8.py $(wildcard $(TEXTS)/tinyshakespeare.txt) --records $(wildcard $(TEXTS)/names.txt)
	$(BIN)/python benchmarks/volume.py $(wildcard $(TEXTS)/names.txt)
	$(BIN)/python benchmarks/ranks.py
	$(BIN)/python benchmarks/plan.py $(TEXTS)/tinyshakespeare.txt
	$(BIN)/python benchmarks/two_level.py $(TEXTS)/reviews-zh.txt
	-$(PIP) -e '.[bench]'
	$(BIN)/python benchmarks/versus_kenlm.py

# half an hour
scoreboard: $(READY)
	$(BIN)/python benchmarks/scoreboard.py $(TEXTS)

scoreboard-full: $(READY)
	$(BIN)/python benchmarks/scoreboard.py $(TEXTS) --full --seeds 3

# what the cells learn, and what they need for it: two tables and a picture
cells: $(READY)
	$(PIP) -e '.[bench]'
	$(BIN)/python benchmarks/cells.py $(TEXTS)/tinyshakespeare.txt
	$(BIN)/python benchmarks/ablation.py $(TEXTS)/tinyshakespeare.txt --picture benchmarks/ablation.png

lint: $(READY)
	nice $(BIN)/ruff format --check .
	nice $(BIN)/ruff check .
	nice $(BIN)/mypy

# are there known holes in what constraints.txt pins? needs the network
audit: $(READY)
	$(PIP) pip-audit
	$(BIN)/pip-audit --disable-pip --no-deps -r constraints.txt

# installed once; again only when what is to be installed has changed: for the demo what charrnn runs with, for the
# rest what its developers use besides
$(INSTALLED): $(SOURCES)
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

$(READY): $(SOURCES)
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[dev]'
	touch $@ $(INSTALLED)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
