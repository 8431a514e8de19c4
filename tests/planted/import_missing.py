"""Imports a framework that is not there."""

import no_such_framework
