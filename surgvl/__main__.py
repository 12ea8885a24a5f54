"""`python -m surgvl`."""

from surgvl.cli.main import main

raise SystemExit(main())
