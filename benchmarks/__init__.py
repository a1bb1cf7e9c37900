"""Timings of what the framework claims to do fast, each beside the way it is usually done.

A benchmark is a module of this package: its docstring is one line, and ``run(full)`` returns its results. Sizes of
seconds without ``full``, those of the documentation with it. What is timed is also held against
its peer: equal, or as far as the peer gets in seconds.
"""
