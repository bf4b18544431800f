"""A run is a folder: `run_dir` is its files and how they stay valid, `events` is what its log holds, `locate` finds the
model that a name means, `manage` lists runs and deletes what they need no longer."""
