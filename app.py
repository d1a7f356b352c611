"""MAL Studio's launcher: `python app.py`, or `make run`."""

if __name__ == "__main__":
    from app.cli import main

    raise SystemExit(main())
