"""Reads a page of metrics on standard input with Prometheus' own parser, and
prints each sample as JSON: its name with its labels, and its value."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

samples = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, f"{family.name} has no HELP"
    assert family.type != "unknown", f"{family.name} has no TYPE"
    for sample in family.samples:
        labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
        key = f"{sample.name}{{{labels}}}" if labels else sample.name
        assert key not in samples, f"{key} comes twice"
        samples[key] = sample.value
print(json.dumps(samples))
