"""Work on many items, in threads and processes of this machine or on a Dask cluster, with the results of one thread."""
