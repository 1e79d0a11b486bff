"""`make bench`: see `benchmarks.speed`."""

from benchmarks.speed.__main__ import main

main()
