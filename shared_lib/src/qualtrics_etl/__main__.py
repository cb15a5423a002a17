"""`python -m qualtrics_etl` is `qetl`."""

from __future__ import annotations

from qualtrics_etl.cli.main import main

main()
