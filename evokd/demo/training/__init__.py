"""How the embedded teacher was made: corpus, conversations, model, training, GGUF, fitness.

Run by `make demo-teacher`; needs a folder of the public data sets (`--data`), which is no part of
the project. The product never imports this package.
"""
