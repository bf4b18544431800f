"""NumPy float32: `inference`, and the layers and cells it runs, `cells`."""
