"""Small recurrent language models over characters: train, sample, score."""

__version__ = "0.1.0"
