"""Judges a bill of materials by CycloneDX's own schema: judge_sbom.py FILE"""

import pathlib
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(pathlib.Path(sys.argv[1]).read_text())
sys.exit(f"{sys.argv[1]}: {wrong}" if wrong else 0)
