"""Measuring and judging: rows, probes, the view of the whole network, verdicts."""
