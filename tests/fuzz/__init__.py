"""Damaged, greedy and hostile files of every format that is read, each in a process of its own.

`python -m tests.fuzz --help` says how a fresh corpus is tried. A format is one module in
`tests.fuzz.formats`, which offers

    NAME            of the format
    healthy(folder) writes a file that is read, and returns its path
    cases(rng)      endless (what was done, file name, content) from a seeded `random.Random`;
                    content is bytes, or {name: bytes} for a folder
    read(path)      reads a file as the product does; raises LambdaSearchError for what it refuses

and is found by being there.
"""
