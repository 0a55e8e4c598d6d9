"""The tests: a folder for each of the package, `scripts`, `system` for the whole, `support` for what they share."""
