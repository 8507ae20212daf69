# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: demo test lint clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	# The peers that tests compare with. Without their own dependencies: theirs would bring a
	# second torch; what the tests use of them needs none.
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps \
		grad-cam torchvision ttach torchcam captum quantus timm torchmetrics lightning-utilities \
		onnx onnxscript onnxruntime onnx-ir ml_dtypes protobuf flatbuffers
	touch $@

demo: $(VENV)/.installed
	$(BIN)/sycam synthesize --metric road --budget 90s --search-images 64 --heldout-images 256

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

clean:
	rm -rf $(VENV) build dist
