"""`make bench`: the results of every recipe on the real data; see `benchmarks.results`."""

from benchmarks.results import main

main()
