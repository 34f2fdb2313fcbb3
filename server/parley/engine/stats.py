"""What a node counts."""


class Stats:
    """Counters since the start; the metrics page reads them."""

    def __init__(self) -> None:
        self.batches = 0
        self.batched = 0
        self.commits = 0
        self.loads = 0
        self.mutation_runs = 0
        self.pushed_bytes = 0
        self.pushed_frames = 0
        self.query_runs = 0
