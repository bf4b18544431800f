"""A run is a folder: `run_dir` is what is in it and how it stays whole, `locate` finds the model that a name means."""
