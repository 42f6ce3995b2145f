"""Answers of a trained student over HTTP. Imports neither torch nor transformers."""
