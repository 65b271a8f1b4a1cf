"""Judges JSON files, named as arguments, by the schema that is named first:
for each "valid" or what is wrong."""

import json
import sys

# Where this is installed, jsonschema makes a parser of it that nobody asks for
# here: two seconds of computing for each file that is judged.
sys.modules["rfc3987_syntax"] = None

import jsonschema

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for path in sys.argv[2:]:
    with open(path, encoding="utf-8") as file:
        wrong = next(validator.iter_errors(json.load(file)), None)
    print("valid" if wrong is None else wrong.message.splitlines()[0])
