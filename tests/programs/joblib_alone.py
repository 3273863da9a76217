"""The backend is asked for by a single process."""

import ezmpi.joblib

ezmpi.joblib.register()
