"""The ground floor: errors, settings, addresses, events, threads, counters."""
