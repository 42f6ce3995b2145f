"""evokd grows a small text classifier from a few examples and a local language model.

Importing this package loads nothing heavy: torch, transformers and llama_cpp live behind
`evokd.learner` and `evokd.teacher.llamacpp`.
"""

__version__ = "0.1.0"
