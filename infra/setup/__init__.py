"""What a machine needs before the first command: virtual environment, Docker Engine, browser."""
