"""Studies: models x plans x measures from one YAML file, resumable, ending in a report."""
