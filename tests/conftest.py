from hypothesis import HealthCheck, settings

# A busy machine is no fault of an example; pytest's own timeout ends what hangs.
settings.register_profile("refold", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("refold")
