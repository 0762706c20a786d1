"""Spans of a run for OpenTelemetry: of each round, each recovery and each call to the outside world.

Never of a turn or a message: a span costs more than either. Without an OpenTelemetry SDK set up in the process this
costs a microsecond a span and goes nowhere.
"""

from opentelemetry import trace

tracer = trace.get_tracer("rayswarm")
"""The tracer of the process, whatever it has been set up to do."""
