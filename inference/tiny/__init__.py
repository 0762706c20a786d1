"""A tiny real model: the conversations it learns, its tokenizer and template, its training, and where it lies.

`inference.tiny.place.tiny_model` gives its folder, `python -m inference.tiny.train` makes it.
"""
