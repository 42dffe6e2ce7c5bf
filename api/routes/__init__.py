"""The routes: each module turns Services into Operations; each endpoint parses, asks and answers."""
