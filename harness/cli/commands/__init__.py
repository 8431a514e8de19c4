"""The commands, one file for each. What they need is imported when they run: help and lists answer at once."""

# By name, where each is: ``MODULE:FUNCTION`` in ``lockstep.harness.cli``. Nothing of them is imported to list them.
COMMANDS = {
    "adequacy": "commands.adequacy:adequacy",
    "anatomy": "commands.anatomy:anatomy",
    "backends": "commands.backends:backends",
    "cache": "commands.run:cache",
    "cases": "commands.cases:cases",
    "check": "commands.check:check",
    "compare": "commands.compare:compare",
    "convert": "commands.models.convert:convert",
    "explain": "commands.explain:explain",
    "export": "commands.models.export:export",
    "findings": "commands.findings:findings",
    "new": "commands.new:new",
    "record": "commands.record:record",
    "report": "commands.report:report",
    "run": "commands.run:run",
    "schema": "commands.cases:schema",
    "search": "commands.search:search",
    "variables": "commands.variables:variables",
    "--install-completion": "completion:install_completion",
}
