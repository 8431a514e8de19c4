"""How OpenVINO's CPU plugin is asked to compute.

``INFERENCE_PRECISION_HINT`` is f32: by default some processors compute in bfloat16. Source: OpenVINO documentation,
``Core.compile_model``, CPU device.
"""

from __future__ import annotations

from lockstep.harness.adapters.backend_process import THREADS

SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS}
