"""The same jobs on a Dask cluster: its workers keep frameworks warm, and outlive what these do."""
