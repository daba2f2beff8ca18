"""Benchmarks: our time against a peer's for the same work, measured in one run, and the history of the results.

    make bench                                        all of them, printed
    python -m benchmarks.run --only=decode            those whose name begins so
    python -m benchmarks.run --out=results.json       the results as JSON
    python -m benchmarks.run --append                 and one line more in benchmarks/history.jsonl
    python -m benchmarks.run --device=gpu             on the GPU that JAX and torch find
    python -m benchmarks.show [--plot=history.png]    the last complete record as Markdown, or all of them as a picture
    python -m benchmarks.growth --out=growth          how a step's time and memory grow with its sizes

What the numbers mean. `ours` and `peer` are medians over the repeats, in `unit`, always seconds of something. `ratio`
is our time over the peer's, so that below 1 we are the faster: the median over repeats of the ratio within one repeat,
in which both were timed one after the other (measure.py). `goal` is the largest ratio that is good enough, and `holds`
says whether it is so. `ratio_min` and `ratio_max` are the extremes of the repeats: a difference smaller than their
distance is not one. `calls` is how often a repeat called each side. Without a goal a result is told, not judged. `mfu`
and `peer_mfu` are model FLOPs over time and `peak_flops_per_second`, which is measured with them (peak.py); to hold,
`mfu` must reach `mfu_goal` too. More fields are a benchmark's own: docs/performance.md says what each one compares.
Only ratios compare across machines, and only of machines that did nothing else: other work seems to slow torch's
threads more than ours. On two cores the ratio of one training step was 1.05 while the load rose from 2 to 6, and 0.52
at 8: a busy machine flatters us.

How to add one. Write `make_pair(...)` in a file of its own: it sets up both sides, raises AssertionError where they do
not compute the same, and returns a `Pair` of functions that do the work once and wait for its end. Then give it a line
in `ENTRIES` of registry.py; the import of the file goes into a function there, so that only what is chosen is loaded.
Ways of doing the same that are to be compared crosswise are `others` of one pair, and several entries of it. A network
for a peer of transformers, with the same weights, comes from `peers.make_twins`. Say in the file's docstring what
exactly is timed, and on which side which settings make it fast: the peer gets the best that its users would set.

How to read the history. One JSON object a line, in the order of the runs: `date` (UTC), `commit` (`+changes` where
files differed from it), `machine` (the load before the run with it), `versions`, `results` (name to the object above;
`--only` leaves some out).

    import json
    for line in open("benchmarks/history.jsonl"):
        run = json.loads(line)
        print(run["date"], run["machine"]["cpu"], {name: round(r["ratio"], 2) for name, r in run["results"].items()})
"""
