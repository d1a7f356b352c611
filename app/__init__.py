"""The studio around mal_core: store, pages, canvas, jobs."""
