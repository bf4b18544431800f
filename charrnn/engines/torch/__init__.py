"""PyTorch: `layers`, the `model` made of them, its `inference` and its `optimizer`."""
