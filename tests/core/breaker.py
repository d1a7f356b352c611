"""A decoder that dies of one image: what a hostile file does to Pillow, at will and for real."""

from pathlib import Path

# Python runs a module of this name at its start; only the decoder's own program is touched.
SITE = """
import os, signal, sys
if "mal_core.decode" in sys.orig_argv:
    import PIL.Image
    genuine = PIL.Image.open
    def trapped(file, **options):
        if file.getvalue().startswith(b"DEADLY"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return genuine(file, **options)
    PIL.Image.open = trapped
"""
DEADLY = b"DEADLY" + bytes(100)


def arm(folder: Path) -> dict[str, str]:
    """The environment in which the decoder dies of DEADLY by SIGSEGV."""
    (folder / "sitecustomize.py").write_text(SITE)
    return {"PYTHONPATH": str(folder)}
