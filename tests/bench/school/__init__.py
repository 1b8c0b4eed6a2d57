"""The pieces of the Drive of a teacher: see `tests.bench.school_folder`."""
