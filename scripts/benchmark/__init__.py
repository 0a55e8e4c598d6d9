"""The parts of ``scripts/bench.py``: two baselines, what measures, and what should come out."""
