"""The pages: layout and event wiring, no logic."""
