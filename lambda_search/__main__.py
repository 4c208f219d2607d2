"""`python -m lambda_search`: the shell command where no script is on PATH."""

from lambda_search.cli import main

main()
