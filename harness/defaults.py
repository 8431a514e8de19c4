"""Numbers that hold unless a user says otherwise."""

TIMEOUT = 120.0  # seconds for one run; a static graph of 500 steps takes some 10 on a slow machine
JOBS = 4  # frameworks that run at once: those of the main job
