# %% [markdown]
# Somebody in a notebook who wants a better heatmap within minutes. Each `# %%` is a cell; an editor
# or `jupytext` opens the file as a notebook, and Python runs it as it is.
# Set `network`, `layer` and `images` to yours: a module, the name of a layer, a tensor `[N,C,H,W]`.

# %%
import os

import sycam
from sycam.data import demo

network, layer, images = demo.network(), demo.LAYER, demo.scenes("search", 24)
unseen = demo.scenes("heldout", 24)
images, masks = demo.normalise(images.images), images.masks
heldout = sycam.ImageSet.from_arrays(demo.normalise(unseen.images), masks=unseen.masks)

# %% A bar and the best formula so far, while it searches
found = sycam.synthesize(
    network, layer, images, "iou", masks=masks, heldout=heldout, max_cost=2,
    budget=int(os.environ.get("SYCAM_CANDIDATES", "60")), out="runs/first-look", progress=True,
)  # fmt: skip

# %% The tables and the verdict; as the last line of a cell, `found` shows them as HTML
print(found)

# %% Every formula that was scored, to sort and plot
frame = found.to_pandas()
print(frame.sort_values("mean", ascending=False)[["expression", "name", "cost", "mean"]].head())

# %% The winner as a reusable object
with found.best.cam(network, layer) as cam:
    heatmaps = cam(heldout.images[:4])
print(tuple(heatmaps.shape), float(heatmaps.min()), float(heatmaps.max()))

# %% Figures against formulas, to show or to save
found.plot("front").save("front.png")
