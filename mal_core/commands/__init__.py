"""One module a command of `python -m mal_core`: its flags, and what it prints and writes."""
