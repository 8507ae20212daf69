"""The name of what is embedded: the demo's images, and the network that reads them."""

DEMO = "demo"
